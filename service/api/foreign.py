"""Bodies of other systems' score routes, recognised so that their sender is told instead of left to guess.

`/v1/score` is also a route of vLLM and SGLang, with other contracts.
"""

import json
from collections.abc import Mapping

_SYSTEMS: Mapping[str, frozenset[str]] = {
    "vLLM's pooling `/v1/score`": frozenset({"text_1", "text_2", "data_1", "data_2", "queries"}),
    "a rerank route (`query` and `documents`)": frozenset({"documents", "texts"}),
    "the `/v1/score` of SGLang or vLLM's `/generative_scoring`": frozenset(
        {"label_token_ids", "apply_softmax", "item_first", "query"}
    ),
    "a chat completion": frozenset({"messages"}),
    "OpenRLHF's `/get_reward`": frozenset({"prompts", "labels"}),
    "slime's remote reward model": frozenset({"label"}),
    "an OpenAI decisions route": frozenset({"questions"}),
}


def recognise(body: bytes) -> str | None:
    """Which other system's request this is, if its top-level keys say so."""
    try:
        data = json.loads(body)
    except (ValueError, RecursionError):
        return None
    if not isinstance(data, dict):
        return None
    return next((system for system, keys in _SYSTEMS.items() if keys & data.keys()), None)
