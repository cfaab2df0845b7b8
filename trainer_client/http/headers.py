"""Which calls should reach the same replica: those about one prompt, which share its prefix there. Pure.

Always true: nothing but where a request is judged depends on it; it tells an onlooker twelve bits of a hash of the
prompt, keyed by the caller's token where there is one, and nothing of responses, rubrics or references.
"""

import hashlib
import json
from collections.abc import Sequence

from trainer_client import wire

HEADER = "x-session-id"
"""The name by which proxies know what belongs together: Ray Serve's own, and one to set in nginx and Envoy."""
_DIGITS = 3


def affinity(items: Sequence[wire.Item], token: str | None) -> str | None:
    """The same for all items with this prompt, in every process that holds this token; None where prompts differ.

    Three hexadecimal digits place prompts evenly on some hundred replicas, and are the same for so many prompts that
    none can be told by them.
    """
    first = items[0].prompt
    if any(item.prompt != first for item in items[1:]):
        return None
    turns = [("user", first)] if isinstance(first, str) else [(turn.role, turn.content) for turn in first]
    key = hashlib.sha256((token or "").encode()).digest()
    text = json.dumps(turns).encode()
    return hashlib.blake2b(text, key=key, digest_size=8, person=b"rubricd-affinity").hexdigest()[:_DIGITS]
