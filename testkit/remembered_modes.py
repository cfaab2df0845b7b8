"""Reads the modes of a judge once for all apps of a process whose judge is the same, as far as its modes go.

They are 37 ms of the 48 ms of processor time in which an app of the tests starts, they never change once they are read,
and the suite starts thousands of apps.

Guarantees: What is refused is refused again. Modes are those of the same arguments, down to each setting of theirs.
"""

from collections.abc import Collection

from service.engine.base import EngineIdentity
from service.modes.registry import MOST_TOKENS, judging_modes
from service.modes.served_modes import JudgingModes
from service.prompting.tokenization import ChatTokenizer
from service.settings import ModeSettings

_MOST = 64
_found: dict[tuple[object, ...], tuple[ChatTokenizer, JudgingModes]] = {}


def remembered_modes(
    identity: EngineIdentity,
    tokenizer: ChatTokenizer,
    settings: ModeSettings,
    grader: str | None = None,
    unserved: Collection[str] = (),
    limit_tokens: int = MOST_TOKENS,
) -> JudgingModes:
    """As `judging_modes`. Raises ConfigurationError where that does."""
    chosen = tuple(repr(getattr(settings, name)) for name in ModeSettings.model_fields)
    # The tokenizer is kept, so that no other gets its id.
    key = (repr(identity), id(tokenizer), chosen, grader, tuple(sorted(unserved)), limit_tokens)
    if key not in _found:
        if len(_found) >= _MOST:
            del _found[next(iter(_found))]
        _found[key] = tokenizer, judging_modes(identity, tokenizer, settings, grader, unserved, limit_tokens)
    return _found[key][1]
