"""Says in lines what a rescoring changed and what it found."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from trainer_client.agreement.bootstrap import Figure
from trainer_client.agreement.shown import ends
from trainer_client.rescoring.comparison import ABOUT, NUMBERS, Comparison


def changed_lines(facts: Mapping[str, Any], url: str | None) -> list[str]:
    """A sentence for each difference between the two sides."""
    found = []
    if facts["judge"] is not None:
        judge = facts["judge"]
        found.append(f"verdicts are those of {judge['model']} ({judge['fingerprint']}) at {url}, mode {judge['mode']}")
    if facts["rubrics"] is not None:
        found.append(f"rubrics are those of {facts['rubrics']}")
    if facts["calibration"] is not None:
        found.append(f"P(met) is calibrated by {facts['calibration']}")
    if facts["level_calibration"] is not None:
        found.append(f"levels are calibrated by {facts['level_calibration']}")
    for name, value in facts["settings"].items():
        if value != facts["logged"][name]:
            found.append(f"{name}: {facts['logged'][name]} \N{RIGHTWARDS ARROW} {value}")
    return found or ["nothing: the logged verdicts are counted again"]


def notes_of(facts: Mapping[str, Any], found: Comparison) -> list[str]:
    """What a reader of the figures should know."""
    counts = found.counts
    scored, same = counts.get("logged_scores", 0), counts.get("logged_scores_reproduced", 0)
    told = [f"of {scored:,} logged scores {same:,} are exactly what the logged verdicts give by the log's formula"]
    if same < scored:
        told.append(
            "the others were made otherwise: by another formula (--logged says which), with criteria left out of the "
            "reward, or from verdicts that the log does not hold"
        )
    if (lost := counts.get("score_lost", 0)) > 0:
        told.append(f"{lost:,} rollouts had a score and have none now; they are in no figure")
    if (gained := counts.get("score_gained", 0)) > 0:
        told.append(f"{gained:,} rollouts had no score and have one now; they are in no figure")
    if (more := counts.get("rewards_of_more_than_the_score", 0)) > 0:
        told.append(
            f"the reward of {more:,} rollouts is more than their score, such as a penalty; here are scores alone"
        )
    if (only := counts.get("criteria_only_before", 0) + counts.get("criteria_only_after", 0)) > 0:
        told.append(f"{only:,} criteria are in one of the two rubrics alone")
    if facts["verdicts_asked"]:
        told.append(f"{facts['verdicts_asked']:,} verdicts were asked now")
    if facts["judge"] is not None and facts["judge"].get("toy"):
        told.append("the judge is a toy: believe none of its verdicts")
    if found.criteria_left_out:
        told.append(f"{found.criteria_left_out:,} more criteria, with no more flips than these, are not listed")
    return told


def lines(facts: Mapping[str, Any], found: Comparison, report: Path, *, quiet: bool) -> Iterator[str]:
    counts = found.counts
    yield "Changed: " + "; ".join(facts["changed"])
    yield (
        f"{counts['rollouts']:,} rollouts, {counts.get('with_both_scores', 0):,} with scores on both sides, in "
        f"{counts['groups']:,} groups"
    )
    for name, about in ABOUT.items():
        if (figure := found.figures.get(name)) is not None and figure.value is not None:
            yield f"  {about:<62} {_figure(name, figure)}"
    yield f"  {counts.get('verdicts_flipped', 0):,} of {counts.get('verdicts', 0):,} verdicts flip"
    if not quiet:
        yield from (f"note: {one}" for one in facts["notes"])
    yield f"report: {report}"


def _figure(name: str, figure: Figure) -> str:
    def said(value: float) -> str:
        return f"{value:.3f}" if name in NUMBERS else f"{value:.1%}"

    assert figure.value is not None
    if figure.low is not None and figure.high is not None:
        spread = f"  ({said(figure.low)} to {said(figure.high)})"
    else:
        spread = ends(figure)
    return f"{said(figure.value):>7}{spread}"
