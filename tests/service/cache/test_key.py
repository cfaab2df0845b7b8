"""Law 8: two different questions never share a key."""

import random
from collections.abc import Sequence

import pytest

from service.cache.key import context_digest, conversation_digest, texts_digest, verdict_key


def key(
    scope: str = "s",
    fingerprint: str = "f",
    turns: Sequence[tuple[str, str]] = (("user", "u"),),
    reference: str | None = None,
    response: str = "r",
    criterion: str = "c",
    vote: int = 0,
) -> bytes:
    conversation = conversation_digest(turns, reference)
    context = context_digest(scope=scope, fingerprint=fingerprint, conversation=conversation, response=response)
    return verdict_key(context, texts_digest(criterion, vote=vote))


def test_the_same_question_has_the_same_key() -> None:
    assert key() == key()
    assert len(key()) == 32


@pytest.mark.parametrize(
    "other",
    [
        key(scope="t"),
        key(fingerprint="g"),
        key(turns=[("assistant", "u")]),
        key(turns=[("user", "v")]),
        key(turns=[("user", "u"), ("user", "")]),
        key(turns=[]),
        key(reference=""),
        key(reference="r", response=""),
        key(response=""),
        key(response="c", criterion="r"),
        key(criterion="d"),
        key(vote=1),
    ],
)
def test_a_change_of_any_part_changes_the_key(other: bytes) -> None:
    assert other != key()


def test_100_000_ways_to_split_one_text_into_fields_do_not_collide() -> None:
    """Naive concatenation gives all of these one key."""
    rng = random.Random(3)
    text = "".join(rng.choice("ab|") for _ in range(60))
    seen: dict[bytes, tuple[str, ...]] = {}
    while len(seen) < 100_000:
        cuts = sorted(rng.randrange(len(text) + 1) for _ in range(5))
        fields = tuple(text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True))
        scope, fingerprint, turn, reference, response, criterion = fields
        found = key(scope, fingerprint, [("user", turn)], reference, response, criterion)
        assert seen.setdefault(found, fields) == fields
