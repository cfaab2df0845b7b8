"""Knows how an OpenAI-compatible `/v1/completions` refuses a call, and which prompts may share one.

Guarantees: no text of a server's error is passed on, because it may quote the prompt.
"""

from collections.abc import Iterable, Sequence

import httpx

from service.engine.base import Prompt
from service.engine.upstream.calls import Dialect, parse_json, retry_after_s
from service.errors import EngineFailed, JudgementError, TooLong

# Phrases of a length error: of OpenAI and most others; of vLLM for a prompt that leaves no room for an answer.
_TOO_LONG_PHRASES = ("context length", "maximum model length", "max_tokens must be at least 1")


def split_into_calls(prompts: Sequence[Prompt], indexes: Iterable[int], size: int) -> list[list[int]]:
    """Splits the indexes into calls of at most `size`; a call holds prompts of one salt and one priority."""
    groups: dict[tuple[str, int], list[int]] = {}
    for index in indexes:
        groups.setdefault((prompts[index].salt, prompts[index].priority), []).append(index)
    return [members[i : i + size] for members in groups.values() for i in range(0, len(members), size)]


def _error_from(response: httpx.Response, prompts: int) -> JudgementError:
    """A status other than 200 as a failure. Its text may quote the prompt, so it is searched but never passed on."""
    code = response.status_code
    if code in (400, 413, 422) and any(phrase in response.text.lower() for phrase in _TOO_LONG_PHRASES):
        if prompts == 1:
            return TooLong("the judge's server says that the prompt exceeds its context length")
        # Which of them it was is not known, and the others are innocent: not TooLong, which is final.
        return EngineFailed("the server says that a prompt of this call exceeds its context: lower `max_model_len`")
    if code in (400, 422) and "logprobs" in response.text:
        return EngineFailed(
            "the judge's server refuses to report so many log-probabilities: raise its limit (vLLM: `--max-logprobs`)"
        )
    return EngineFailed(f"the judge's server answered {code}")


COMPLETIONS = Dialect(path="/v1/completions", pause_s=retry_after_s, error=_error_from, read=parse_json)
