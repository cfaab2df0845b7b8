"""What stands around a value in a store that others can write to.

Always true: a value opens only under the key it was sealed for, whole and unchanged, in this version of the schema.
It guards against accidents, not against somebody who may write to the store and knows the key.
"""

from hashlib import blake2b

VERSION = b"\x01"
_DIGEST_BYTES = 16
_HEAD_BYTES = len(VERSION) + _DIGEST_BYTES


def seal(key: bytes, payload: bytes) -> bytes:
    """Version, digest, payload. `key` has 1 to 64 bytes."""
    return VERSION + _digest(key, payload) + payload


def unseal(key: bytes, sealed: bytes) -> bytes:
    """The payload. Raises ValueError for anything that `seal` did not make of this key."""
    payload = sealed[_HEAD_BYTES:]
    if sealed[:_HEAD_BYTES] != VERSION + _digest(key, payload):
        raise ValueError("not a sealed value of this key")
    return payload


def _digest(key: bytes, payload: bytes) -> bytes:
    return blake2b(payload, digest_size=_DIGEST_BYTES, key=key).digest()
