"""Makes one key from everything that a verdict depends on.

Guarantees: different queries have different keys, because every field is written with its length in front, in a fixed
order, and absence is distinct from emptiness. The judge's fingerprint is one of the fields.
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
    """The digest of what a response's criteria have in common, 32 bytes. `turns` are (role, content) pairs; `scope`
    names who may share the verdict."""
    digest = hashlib.sha256()
    for value in (SCHEMA, scope, fingerprint):
        digest.update(_field(value))
    digest.update(len(turns).to_bytes(8, "big"))
    for role, content in turns:
        digest.update(_field(role) + _field(content))
    digest.update(_optional(reference) + _field(response))
    return digest.digest()


def verdict_key(context: bytes, *texts: str, vote: int = 0) -> bytes:
    """The key of one query about a response, 32 bytes. `texts` are its criterion, or a whole rubric as weights and
    texts; `vote` tells independent answers to one query apart."""
    count = len(texts).to_bytes(8, "big") + vote.to_bytes(8, "big")
    return hashlib.sha256(context + count + b"".join(map(_field, texts))).digest()
