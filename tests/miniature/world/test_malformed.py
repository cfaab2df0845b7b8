"""The rule against malformed steps: no answer of the clinic's plain style breaks it, broken ones do."""

from random import Random

import pytest
import regex

from miniature.world.clinic import ITEMS, TOPICS
from miniature.world.responses import Response, Step, plain_text
from miniature.world.tasks import MALFORMED

PATTERN = regex.compile(MALFORMED["verifier"]["pattern"])


def test_no_plain_answer_of_2_000_breaks_the_rule() -> None:
    random = Random(1)
    for _ in range(2000):
        said = tuple(Step(item) for item in random.sample(ITEMS, random.randint(1, 7)))
        assert not PATTERN.search(plain_text(Response(random.choice(TOPICS), said)))


@pytest.mark.parametrize(
    "text",
    [
        "For Stiff Knee: 1. Drink ginger tea. 2. Use Use a wet towel.",
        "For Stiff Knee: 1. Drink ginger tea. 2 Take zinc.",
        "For Stiff Knee: 1. Drink ginger tea. 2... 3. Go rowing.",
        "For Stiff Knee: 1. Ask for a Avoid dairy.",
        "For Stiff Knee: 1. Go go rowing.",
    ],
)
def test_what_policies_wrote_under_pressure_breaks_it(text: str) -> None:
    assert PATTERN.search(text)
