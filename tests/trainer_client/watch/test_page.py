"""The page of watched rewards shows alarms with what to do, signs as they are, and nothing where there is nothing."""

import re

import numpy as np

from tests.trainer_client.watch import made
from trainer_client.cli.watch_lines import alarm_lines
from trainer_client.watch.health import Health, health
from trainer_client.watch.internalisation import Checkpoint, trend
from trainer_client.watch.observed import Named, Observed
from trainer_client.watch.page import page, sections
from trainer_client.watch.probes import Finding

POINTS = {"kind <b>": 2.0, "long": 1.0, "rude": -1.0}


def _observed(steps: int) -> Observed:
    """Groups of two, of which one answer is kind and short, the other one rude and long."""
    observed = Observed()
    for step in range(steps):
        kind = {"kind <b>": True, "long": False, "rude": False}
        rude = {"kind <b>": False, "long": True, "rude": True}
        observed.add(made.group(step * 2, f"g{step}", [(f"a{step}", kind, 1.0), (f"bb{step}", rude, 0.0)], **POINTS))
    return observed


def _text(html: str) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", re.sub(r"<svg.*?</svg>", "", html, flags=re.DOTALL)))


def test_a_well_run_says_so_with_its_chance() -> None:
    html = page(health(_observed(3).table()), "runs/mine")
    assert "mine: rewards watched" in html and "No alarm. The chance that an honest run ever raises an alarm" in html
    assert "at most 1.00%" in html


def test_alarms_findings_and_a_fall_are_counted_and_told() -> None:
    falling = trend(
        [Checkpoint(0, np.full(20, -1.0)), Checkpoint(4, np.full(20, -0.2)), Checkpoint(8, np.full(20, -0.6))], 0.01
    )
    finding = Finding("empty", Named("kind", "Is kind <b>.", 2.0), 0.93)
    found = health(_observed(60).table(), None, [finding], falling)
    assert [(one.kind, one.criterion and one.criterion.id) for one in found.alarms] == [("against_rest", "long")]
    html = page(found, "mine")
    text = _text(html)
    assert "4 to look at" not in text and "3 to look at" in text and found.count == 3 and not found.is_well
    assert "against the rest of the rubric: Is long." in text and "reword" in text
    assert "an empty answer meets: Is kind &lt;b&gt;." in text and "0.93" in text
    assert "the self-internalisation gap falls 8" in text and "It is greatest at step 4" in text


def test_signs_are_as_they_are() -> None:
    text = _text(page(health(_observed(3).table()), "mine"))
    assert "Is rude. \N{MINUS SIGN}1 0.50 1.00 1.00 1.00 3" in text, "points below 0, discrimination above"
    assert "Is long. 1 0.50 1.00 \N{MINUS SIGN}1.00 1.00 3" in text


def _charts(found: Health, updates: int | None = None) -> str:
    return "".join(sections(found, updates))


def test_a_runs_log_counts_batches_and_a_log_of_one_step_has_no_charts() -> None:
    assert "<figure" not in _charts(health(_observed(1).table()))
    by_steps, by_batches = (_charts(health(_observed(3).table()), updates) for updates in (None, 2))
    assert ">step<" in by_steps and ">batch<" in by_batches and ">step<" not in by_batches


def test_an_empty_log_has_a_page() -> None:
    assert "Nothing was judged" in page(health(Observed().table()), "mine")


def test_many_findings_are_folded_and_their_lines_are_counted() -> None:
    many = [Finding("empty", Named(str(n), f"Is {n}.", 1.0), 0.9) for n in range(20)]
    found = health(_observed(3).table(), None, many)
    html = page(found, "mine")
    assert "20 to look at" in html and "8 more" in html
    told = list(alarm_lines(found))
    assert len(told) == 9 and told[-1].startswith("FINDING an empty answer meets 12 more criteria")
