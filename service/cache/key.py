"""Makes one key from everything that a verdict depends on.

A key is a digest of digests, so that a text that many queries share, of whatever length, is read once for all of them.

Guarantees: different queries have different keys, because every field is written with its length in front, in a fixed
order, absence is distinct from emptiness, and digests have one length. The judge's fingerprint is one of the fields.
"""

import hashlib
from collections.abc import Sequence

SCHEMA = "rubricd-verdict-3"


def _field(value: str) -> bytes:
    raw = value.encode("utf-8")
    return len(raw).to_bytes(8, "big") + raw


def _optional(value: str | None) -> bytes:
    return b"\x00" if value is None else b"\x01" + _field(value)


def conversation_digest(turns: Sequence[tuple[str, str]], reference: str | None) -> bytes:
    """The digest of what the responses of a group have in common, 32 bytes. `turns` are (role, content) pairs."""
    digest = hashlib.sha256(len(turns).to_bytes(8, "big"))
    for role, content in turns:
        digest.update(_field(role))
        digest.update(_field(content))
    digest.update(_optional(reference))
    return digest.digest()


def context_digest(
    *, scope: str, fingerprint: str, conversation: bytes, response: str, trajectory: Sequence[tuple[str, str]] = ()
) -> bytes:
    """The digest of what a response's criteria have in common, 32 bytes. `scope` names who may share the verdict.
    `trajectory` are (role, content) pairs where the response has turns."""
    digest = hashlib.sha256(conversation)
    for value in (SCHEMA, scope, fingerprint, response):
        digest.update(_field(value))
    for role, content in trajectory:
        digest.update(_field(role))
        digest.update(_field(content))
    return digest.digest()


def texts_digest(*texts: str, vote: int = 0) -> bytes:
    """The digest of what one query asks about a response, 32 bytes. `texts` are its criterion, or a whole rubric as
    weights and texts; `vote` tells independent answers to one query apart."""
    digest = hashlib.sha256(len(texts).to_bytes(8, "big") + vote.to_bytes(8, "big"))
    for text in texts:
        digest.update(_field(text))
    return digest.digest()


def verdict_key(context: bytes, texts: bytes) -> bytes:
    """The key of one query about a response, 32 bytes, from the digests of both."""
    return hashlib.sha256(context + texts).digest()
