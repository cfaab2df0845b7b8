"""What was said comes back exactly; what was not said does not."""

import math
import random
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.errors import Unparseable
from service.modes.extraction import Extracted
from service.modes.rating import Rating
from service.rubrics.judgement import BatchVerdict, Verdict
from service.rubrics.levels import LevelVerdict
from service.scoring.verdict_codec import decode, encode

p = st.floats(0, 1)
verdicts = st.builds(Verdict, p_met=p, label_mass=st.none() | p, explanation=st.none() | st.text())
ratings = st.builds(
    lambda weights, mass: Rating(tuple(w / math.fsum(weights) for w in weights), mass),
    st.lists(st.floats(0.001, 1), min_size=10, max_size=10),
    p,
)


batches = st.lists(verdicts, min_size=1, max_size=4).map(lambda found: BatchVerdict(tuple(found)))


@given(verdicts | ratings | batches)
def test_what_was_said_comes_back(said: Verdict | Rating | BatchVerdict) -> None:
    assert decode(encode(said)) == said


VERDICT: dict[str, Any] = {"said": "verdict", "p_met": 0.5, "label_mass": 0.9, "explanation": None}
WRONG: list[Any] = [math.nan, math.inf, -math.inf, -0.1, 1.1, "0.5", None, True, [0.5]]
RATING: dict[str, Any] = {"said": "rating", "probabilities": [0.1] * 10, "label_mass": 0.9}


def test_a_batch_in_which_a_verdict_is_missing_is_not_encoded() -> None:
    with pytest.raises(Unparseable):
        encode(BatchVerdict((Verdict(0.5, 0.9), Unparseable("it is not there"))))


def test_the_examples_are_right_before_they_are_spoilt() -> None:
    assert decode(msgspec.msgpack.encode(VERDICT)) == Verdict(0.5, 0.9, None)
    assert decode(msgspec.msgpack.encode(RATING)) == Rating((0.1,) * 10, 0.9)


@pytest.mark.parametrize(
    "spoilt",
    [
        *(VERDICT | {"p_met": wrong} for wrong in WRONG),
        *(VERDICT | {"label_mass": wrong} for wrong in (math.nan, math.inf, -0.1, 1.1, "0.5", False)),
        *(VERDICT | {"explanation": wrong} for wrong in (b"bytes", 1, ["a"])),
        *(VERDICT | {"said": wrong} for wrong in ("Verdict", "rating", "", None, 1)),
        VERDICT | {"more": 1},
        {field: value for field, value in VERDICT.items() if field != "said"},
        *({field: value for field, value in VERDICT.items() if field != one} for one in ("label_mass", "explanation")),
        *(RATING | {"label_mass": wrong} for wrong in (math.nan, -0.1, 1.1, None)),
        RATING | {"probabilities": [0.1] * 9},
        RATING | {"probabilities": [1 / 11] * 11},
        RATING | {"probabilities": [0.1] * 9 + [0.2]},
        RATING | {"probabilities": [0.1] * 9 + [math.nan]},
        RATING | {"probabilities": [-0.1, 0.3] + [0.1] * 8},
        RATING | {"probabilities": []},
        {"said": "batch", "verdicts": []},
        {"said": "batch", "verdicts": [VERDICT, VERDICT | {"p_met": math.nan}]},
        {"said": "batch", "verdicts": [RATING]},
        RATING | {"probabilities": ["0.1"] * 10},
        RATING | {"said": "verdict"},
        [0.5, 0.9, None],
        0.5,
        None,
    ],
)
def test_anything_else_is_a_value_error(spoilt: Any) -> None:
    with pytest.raises(ValueError):
        decode(msgspec.msgpack.encode(spoilt))


def test_no_bytes_raise_anything_else() -> None:
    """Truncations, changed bytes, deep nesting and noise: a value or a ValueError."""
    chance = random.Random(3)
    whole = encode(Verdict(0.25, 0.75, "because"))
    tried = [whole[:n] for n in range(len(whole))] + [b"\x91" * 100_000, b""]
    tried += [chance.randbytes(chance.randrange(80)) for _ in range(2000)]
    for raw in tried:
        with pytest.raises(ValueError):
            decode(raw)
    for _ in range(2000):
        at = chance.randrange(len(whole))
        try:
            said = decode(whole[:at] + chance.randbytes(1) + whole[at + 1 :])
        except ValueError:
            continue
        assert isinstance(said, Verdict)
        assert 0 <= said.p_met <= 1


@pytest.mark.parametrize(
    "result",
    [
        LevelVerdict((0.25, 0.5, 0.25), 0.9),
        LevelVerdict((0.5, 0.5), 1.0, "because"),
        Extracted("42"),
        Extracted(None),
    ],
)
def test_levels_and_values_come_back_as_they_were(result: LevelVerdict | Extracted) -> None:
    assert decode(encode(result)) == result


@pytest.mark.parametrize("p_levels", [[1.0], [0.5, 0.6], [0.5, float("nan")], []])
def test_levels_that_are_no_distribution_are_refused(p_levels: list[float]) -> None:
    raw = msgspec.msgpack.encode({"said": "levels", "p_levels": p_levels, "label_mass": 0.9, "explanation": None})
    with pytest.raises(ValueError, match="no"):
        decode(raw)
