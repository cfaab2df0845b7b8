"""A fault that is met more often is red, as is something wanted that is met less often."""

import re

import pytest

from tests.trainer_client.viewer.made import rollout, verdict
from trainer_client.training.report.criteria import criteria, signs


def _logs(first: float, last: float) -> list[dict[str, float]]:
    return [{"step": n, "reward": 0.5, "criteria/x": first if n < 5 else last} for n in range(10)]


@pytest.mark.parametrize(
    ("sign", "first", "last", "kind"),
    [
        (-1, 0.1, 0.4, "n worse"),
        (-1, 0.4, 0.1, "n better"),
        (1, 0.1, 0.4, "n better"),
        (1, 0.4, 0.1, "n worse"),
        (0, 0.1, 0.4, "n"),
        (-1, 0.4, 0.401, "n"),
    ],
)
def test_the_change_has_the_colour_of_its_sign(sign: int, first: float, last: float, kind: str) -> None:
    found = criteria(_logs(first, last), {"x": sign})
    assert re.findall(r'<td class="([^"]*)">[^<]*</td>', found)[-1] == kind
    assert ("a fault" in found.split("</p>")[1]) is (sign < 0) and ('"spark worse"' in found) is (sign < 0)


def test_a_sign_is_that_of_all_rubrics_or_none() -> None:
    found = signs(
        [
            rollout(
                0,
                verdict("kind", True, 2.0, tags={"axis": "tone"}),
                verdict("rude", False, -1.0, tags={"axis": "tone"}),
            ),
            rollout(1, verdict("kind", None, 1.0), verdict("0", True, 1.0), verdict("watched", True, 0.0)),
            rollout(2, verdict("0", True, -1.0), verdict("odd", True, 0.0)),
        ]
    )
    assert found == {"kind": 1, "axis:tone": 0, "rude": -1, "0": 0}


def test_a_criterion_without_values_is_left_out() -> None:
    assert criteria([{"step": 1, "reward": 0.5, "criteria/x": None}], {}) == ""
