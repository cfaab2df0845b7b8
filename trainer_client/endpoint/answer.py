"""Reads what a chat endpoint answers: its texts, why each ended, its tokens, and log-probabilities where asked.

Guarantees: an answer that does not have this shape is an error, and no part of it is used. A message without content
is the empty text. Tokens that the endpoint does not report are None.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import httpx

from trainer_client.errors import ContractError, QuotaExceeded, Refused, RubricdClientError, Unavailable, refused

Message = Mapping[str, str]
"""A turn: its `role` and its `content`."""

_SHOWN = 300


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of one request and of all its answers."""

    prompt_tokens: int
    completion_tokens: int


@dataclass(frozen=True, slots=True)
class TokenLogprob:
    """A token that was written, its natural log-probability, and the likeliest tokens in its place with theirs."""

    token: str
    logprob: float
    top: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True, slots=True)
class ChatAnswer:
    """What a model wrote. `texts`, `finish_reasons` and `logprobs` are in the same order; `finish_reasons` are the
    endpoint's own words, of which `length` says that a text was cut off; `logprobs` is empty where none were asked.
    `from_log` says that nothing was paid for it now."""

    texts: tuple[str, ...]
    finish_reasons: tuple[str | None, ...]
    usage: Usage | None
    model: str
    logprobs: tuple[tuple[TokenLogprob, ...], ...] = ()
    from_log: bool = False

    @property
    def text(self) -> str:
        """The only text, or the first one."""
        return self.texts[0]


def read_answer(response: httpx.Response, *, logprobs: bool) -> ChatAnswer:
    """The answer in a response. Raises RubricdClientError: a typed refusal, or ContractError."""
    if response.status_code != 200:
        raise refusal(response)
    try:
        body = response.json()
        choices = sorted(body["choices"], key=lambda choice: choice["index"])
        if not choices:
            raise ValueError("no choices")
        return ChatAnswer(
            texts=tuple(map(_text, choices)),
            finish_reasons=tuple(choice.get("finish_reason") for choice in choices),
            usage=_usage(body.get("usage")),
            model=str(body["model"]),
            logprobs=tuple(map(_logprobs, choices)) if logprobs else (),
        )
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise ContractError(
            f"{response.url.host} did not answer as a chat endpoint does ({type(error).__name__}: {error})"
        ) from None


def _text(choice: Any) -> str:
    content = choice["message"].get("content")
    if content is not None and not isinstance(content, str):
        raise TypeError("the content of a message is not a text")
    return content or ""


def _usage(usage: Any) -> Usage | None:
    if usage is None:
        return None
    # A server that writes nothing leaves the second count out.
    return Usage(int(usage["prompt_tokens"]), int(usage.get("completion_tokens") or 0))


def _logprobs(choice: Any) -> tuple[TokenLogprob, ...]:
    tokens = (choice.get("logprobs") or {}).get("content")
    if tokens is None:
        raise ValueError("log-probabilities were asked for and did not come")
    return tuple(
        TokenLogprob(
            str(one["token"]),
            float(one["logprob"]),
            tuple((str(top["token"]), float(top["logprob"])) for top in one.get("top_logprobs") or ()),
        )
        for one in tokens
    )


def refusal(response: httpx.Response) -> RubricdClientError:
    """The error of a status. The endpoint's own words are in it."""
    status, (code, said) = response.status_code, _said(response)
    detail = f"{response.url.host} answered {status}: {said}"
    pause_s = _pause_s(response)
    if code == "insufficient_quota":
        # Also a 429, but money and not time is short: it must not be asked again.
        return Refused(detail, status=status)
    if status == 429:
        return QuotaExceeded(detail, status=status, retry_after_s=pause_s)
    if status == 404:
        return refused(
            None, 404, f"{detail}; check the model's name, and that the url ends where /chat/completions begins"
        )
    if status >= 500 or status == 408:
        # As 503: of an endpoint in the cloud a 500 or 502 does not mean that this request has ended a replica.
        return Unavailable(detail, status=503, retry_after_s=pause_s)
    return refused(None, status, detail)


def _said(response: httpx.Response) -> tuple[str | None, str]:
    """The code and the message of a problem, as OpenAI and vLLM write it; else the beginning of the body."""
    try:
        body = response.json()
        error = body.get("error", body)
        code, message = error.get("code"), error.get("message") or error.get("detail")
    except (ValueError, AttributeError):
        code = message = None
    text = message if isinstance(message, str) else " ".join(response.text.split()) or "nothing"
    return code if isinstance(code, str) else None, text if len(text) <= _SHOWN else f"{text[:_SHOWN]} …"


def _pause_s(response: httpx.Response) -> float | None:
    """Seconds that the endpoint asks to wait; a date is ignored, because it would need two clocks that agree."""
    try:
        seconds = float(response.headers.get("retry-after", ""))
    except ValueError:
        return None
    return seconds if 0 <= seconds < float("inf") else None
