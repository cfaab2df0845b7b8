"""What a verdict depends on, as one key.

Always true: two different questions never share a key, because every field is written with its length in front, in a
fixed order, with absence distinct from emptiness; and a question asked of another judge is a different question.
"""

import hashlib
from collections.abc import Sequence

SCHEMA = "rubricd-verdict-2"


def _field(value: str) -> bytes:
    raw = value.encode("utf-8")
    return len(raw).to_bytes(8, "big") + raw


def _optional(value: str | None) -> bytes:
    return b"\x00" if value is None else b"\x01" + _field(value)


def context_digest(
    *,
    scope: str,
    fingerprint: str,
    turns: Sequence[tuple[str, str]],
    reference: str | None,
    response: str,
) -> bytes:
    """What a response's criteria have in common. `turns` are (role, content); `scope` is who may share the verdict."""
    digest = hashlib.sha256()
    for value in (SCHEMA, scope, fingerprint):
        digest.update(_field(value))
    digest.update(len(turns).to_bytes(8, "big"))
    for role, content in turns:
        digest.update(_field(role) + _field(content))
    digest.update(_optional(reference) + _field(response))
    return digest.digest()


def verdict_key(context: bytes, *asked: str, vote: int = 0) -> bytes:
    """The key of what is asked of a response, 32 bytes: a criterion, or a whole rubric as weights and texts. Votes are
    told apart by their number."""
    count = len(asked).to_bytes(8, "big") + vote.to_bytes(8, "big")
    return hashlib.sha256(context + count + b"".join(map(_field, asked))).digest()
