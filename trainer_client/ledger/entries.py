"""Defines a line of a ledger of verdicts: digests of what was judged, and what was said of it.

Guarantees: a line holds no text of a request, only digests of texts. What is not known is null; a criterion without a
verdict has `met` and `p` null, whatever the reason.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from trainer_client import wire

DIGEST_DIGITS = 32
Entry = dict[str, Any]


class Said(Protocol):
    """What is known of one criterion: `wire.CriterionResult`, or the service's own judgement."""

    @property
    def status(self) -> str: ...
    @property
    def met(self) -> bool | None: ...
    @property
    def p(self) -> float | None: ...
    @property
    def p_raw(self) -> float | None: ...
    @property
    def source(self) -> str | None: ...
    @property
    def level(self) -> int | None: ...
    @property
    def extracted(self) -> str | None: ...


def digest(text: str) -> str:
    """The first 32 hexadecimal digits of the SHA-256 of a text."""
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()[:DIGEST_DIGITS]


def turns_digest(turns: str | Sequence[wire.Message]) -> str:
    """The digest of a conversation, the same for a text and for one turn of the user with it."""
    listed = [{"role": "user", "content": turns}] if isinstance(turns, str) else [_turn(one) for one in turns]
    return digest(json.dumps(listed, ensure_ascii=False, separators=(",", ":")))


def response_digest(response: wire.Response) -> str:
    """The digest of a response's text, or of a trajectory's turns."""
    return digest(response) if isinstance(response, str) else turns_digest(response)


def _turn(message: wire.Message) -> Mapping[str, Any]:
    return message.model_dump(mode="json", exclude_none=True)


def of_item(item: wire.Item) -> list[Entry]:
    """For each response of the item what its lines share."""
    shared: Entry = {"prompt": turns_digest(item.prompt)}
    if item.reference is not None:
        shared["reference"] = digest(item.reference)
    if item.documents:
        shared["documents"] = digest(json.dumps(item.documents, ensure_ascii=False, separators=(",", ":")))
    responses = item.responses if item.responses is not None else ["" if item.response is None else item.response]
    return [{**shared, "response": response_digest(response)} for response in responses]


def of_criterion(text: str | None, said: Said) -> Entry:
    """One criterion, or with `text` None a rating of the whole response. A graded one has the place of its level, and a
    value that was extracted is a digest, as all texts."""
    graded = {} if said.level is None else {"level": said.level}
    extracted = {} if said.extracted is None else {"extracted": digest(said.extracted)}
    return {
        "criterion": None if text is None else digest(text),
        "status": said.status,
        "met": said.met,
        "p": said.p,
        "p_raw": said.p_raw,
        "source": said.source,
        **graded,
        **extracted,
    }
