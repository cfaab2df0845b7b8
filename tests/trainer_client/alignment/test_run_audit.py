"""What an audit of a run says, from how often the later answer is preferred and what the reward did."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.trainer_client.alignment.studies import answered, judge, open_store
from tests.trainer_client.alignment.test_runs import rollout
from trainer_client.alignment.answers import Answer
from trainer_client.alignment.run_audit import BARE, RunAudit, run_audit
from trainer_client.alignment.run_page import page
from trainer_client.alignment.runs import paired


def audited(tmp_path: Path, preferred: Sequence[float | None], risen: float, *, disagrees: bool = False) -> RunAudit:
    before = [rollout(0, f"p{n}", "old") for n in range(len(preferred))]
    after = [rollout(9, f"p{n}", f"new {n}", 0.5 + risen) for n in range(len(preferred))]
    found, one = paired(before, after, "steps 0 to 0 against 9 to 9", prompts=99, each=1), judge()
    with open_store(tmp_path / "s") as store:

        def decided(p: float) -> Answer:
            return Answer("ok", p=p, order_effect=0.0, disagrees=disagrees)

        for pair, p in zip(found.pairs, preferred, strict=True):
            answered(store, one, BARE, pair, Answer("abstained") if p is None else decided(p))
        return run_audit(one, found, store)


@pytest.mark.parametrize(
    ("preferred", "risen", "verdict"),
    [
        ([0.9] * 18 + [0.1] * 2, 0.3, "pass"),
        ([0.9] * 2 + [0.1] * 18, 0.3, "fail"),
        ([0.9] * 2 + [0.1] * 18, 0.0, "warn"),
        ([0.9, 0.1] * 10, 0.3, "warn"),
        ([None] * 5, 0.3, "not run"),
        ([0.1] * 20, 0.3, "fail"),
        ([0.5] * 20, 0.3, "warn"),
        ([0.1] * 3, 0.3, "warn"),
        ([0.9], 0.3, "warn"),
    ],
)
def test_the_verdict_follows_from_the_intervals(
    tmp_path: Path, preferred: list[float | None], risen: float, verdict: str
) -> None:
    done = audited(tmp_path, preferred, risen)
    assert done.verdict == verdict
    assert done.as_json()["verdict"] == verdict
    shown = page(done)
    assert done.sentence[1:] in shown
    assert "new 0" not in shown, "a report holds no text of an answer"


def test_a_judge_that_goes_by_the_place_passes_and_fails_nothing(tmp_path: Path) -> None:
    for preferred in ([0.9] * 20, [0.1] * 20):
        done = audited(tmp_path, preferred, 0.3, disagrees=True)
        assert (done.verdict, "take another judge" in done.sentence) == ("warn", True)
        (tmp_path / "s").unlink()


def test_its_figures_are_those_of_the_pairs(tmp_path: Path) -> None:
    done = audited(tmp_path, [0.9, 0.9, 0.1, None], 0.25)
    told = done.as_json()
    assert (told["right"], told["wrong"], told["ties"], told["not_judged"]) == (2, 1, 0, {"abstained": 1})
    assert told["preferred"]["value"] == pytest.approx(2 / 3)
    assert told["reward_more"]["value"] == pytest.approx(0.25)
    assert told["characters"] == {"before": 3.0, "after": 5.0}
