"""Reads the response of an OpenAI-compatible `/v1/completions` call strictly. Pure; used by the remote engine alone.

Guarantees: a number comes from what the server reported. Choices are matched to prompts by their `index`. A response
that does not hold exactly one choice for each prompt, or that counts other prompt tokens than were sent, is rejected as
a whole. A label that the server did not report gets no guessed probability: `upstream/label_bound.py` bounds it, and
where the bound leaves P(met) open the prompt is Unparseable.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from service.engine.base import Generation, GenerationOutcome, LabelLogprobs, Outcome, Prompt
from service.engine.upstream.label_bound import read_logprobs
from service.errors import EngineFailed, JudgementError

_BY_ID = "token_id:"


def read_labels(
    response: object, prompts: Sequence[Prompt], label_ids: tuple[int, ...], texts: tuple[str, ...] | None, top_k: int
) -> list[Outcome]:
    """One outcome for each prompt, in order. Raises EngineFailed where the response as a whole cannot be trusted.

    `texts`: how the server prints the labels; None where it names tokens by id.
    """
    choices = _choices_in_order(response, len(prompts))
    cached = _cached_tokens(response, prompts)
    labels = texts or tuple(f"{_BY_ID}{label}" for label in label_ids)
    outcomes: list[Outcome] = []
    for choice, tokens in zip(choices, cached, strict=True):
        try:
            logprobs = read_logprobs(_top_logprobs(choice, by_id=texts is None), labels, top_k)
            outcomes.append(LabelLogprobs(logprobs=logprobs, cached_tokens=tokens))
        except JudgementError as error:
            outcomes.append(error)
    return outcomes


def read_generations(response: object, prompts: Sequence[Prompt], max_tokens: Sequence[int]) -> list[GenerationOutcome]:
    """One text for each prompt, in order. Raises EngineFailed where the response as a whole cannot be trusted."""
    choices = _choices_in_order(response, len(prompts))
    cached = _cached_tokens(response, prompts)
    alone = at_path(response, "usage", "completion_tokens") if len(prompts) == 1 else None
    texts: list[GenerationOutcome] = []
    for choice, tokens, most in zip(choices, cached, max_tokens, strict=True):
        try:
            texts.append(_generation(choice, tokens, most, alone))
        except JudgementError as error:
            texts.append(error)
    return texts


def at_path(value: object, *path: str) -> Any:
    """The value at the path of keys in parsed JSON; None where there is none."""
    for key in path:
        value = value.get(key) if isinstance(value, dict) else None
    return value


def _generation(choice: object, cached_tokens: int, max_tokens: int, counted: object) -> Generation:
    text, ending, ids = at_path(choice, "text"), at_path(choice, "finish_reason"), at_path(choice, "token_ids")
    if not isinstance(text, str) or not _is_unicode(text):
        raise EngineFailed("the server's answer holds no text")
    if ending not in ("stop", "length"):
        raise EngineFailed("the server does not say that it finished the answer or ran out of tokens")
    tokens = len(ids) if isinstance(ids, list) else counted
    if type(tokens) is not int or not 0 <= tokens <= max_tokens:
        raise EngineFailed(f"the server does not count the answer's tokens, or counts more than {max_tokens}")
    return Generation(text=text, finished=ending == "stop", tokens=tokens, cached_tokens=cached_tokens)


def _is_unicode(text: str) -> bool:
    """JSON can name half a character (a lone surrogate), which nothing after this could store or send."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _top_logprobs(choice: object, by_id: bool) -> Mapping[str, object]:
    """The log-probabilities of the one answer token and its alternatives, by the server's name of each."""
    top = at_path(choice, "logprobs", "top_logprobs")
    if not isinstance(top, list) or len(top) != 1 or not isinstance(top[0], dict) or not top[0]:
        raise EngineFailed("the server reported no log-probabilities for the answer token")
    if by_id and not all(key.startswith(_BY_ID) for key in top[0]):
        # No fallback to texts: two tokens may print the same, so that is for the operator to choose.
        raise EngineFailed("the server names tokens by text, not by id: set `remote_token_ids` to false")
    return top[0]


def _choices_in_order(response: object, n: int) -> list[object]:
    choices = at_path(response, "choices")
    if not isinstance(choices, list) or len(choices) != n:
        raise EngineFailed(f"the server's answer does not hold one choice for each of {n} prompts")
    placed: dict[int, object] = {}
    for choice in choices:
        index = at_path(choice, "index")
        if type(index) is not int or not 0 <= index < n or index in placed:
            raise EngineFailed("the server's choices do not number the prompts one to one")
        placed[index] = choice
    return [placed[index] for index in range(n)]


def _cached_tokens(response: object, prompts: Sequence[Prompt]) -> list[int]:
    """Cached prompt tokens for each prompt. Servers report one number a call, so only the sum means anything.

    (vLLM 0.32 reports the last prompt's number alone, so for it the sum is too small.)
    """
    counted = at_path(response, "usage", "prompt_tokens")
    sent = sum(map(len, prompts))
    if type(counted) is int and counted != sent:
        raise EngineFailed(f"the server read {counted} prompt tokens where {sent} were sent: it cut or added some")
    cached = at_path(response, "usage", "prompt_tokens_details", "cached_tokens")
    left = cached if type(cached) is int and cached > 0 else 0
    shares = []
    for prompt in prompts:
        shares.append(min(left, len(prompt)))
        left -= shares[-1]
    return shares
