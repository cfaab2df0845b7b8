"""Writes a planned cascade as lines of text, and as one HTML page that loads nothing else.

Guarantees: names are escaped. A figure that is not known is empty and no number.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

from trainer_client import wire
from trainer_client.agreement.bootstrap import Figure
from trainer_client.agreement.shown import table_cell, text
from trainer_client.cascade.planning import Planned
from trainer_client.pages.document import document, number, row, section, sentences, table, tile

_SAVES = {
    "last_judge": "criteria that the last judge is not asked about",
    "last_judge_responses": "responses about which it is not asked at all",
    "tokens": "tokens of all judges, saved of the last judge's",
    "seconds": "seconds of all judges, saved of the last judge's",
    "money": "money for all judges, saved of the last judge's",
}


def promise(plan: wire.CascadePlan) -> str:
    """What was promised, in a sentence."""
    sure, level = f"With probability {1 - plan.promise.delta:g}", plan.promise.level
    if plan.promise.kind == "agreement":
        return f"{sure} the cascade agrees with at least {level:g} of the labels"
    return f"{sure} the cascade agrees with the labels at most {level:g} less than {plan.judges[-1].name} alone"


def lines(plan: wire.CascadePlan, planned: Planned) -> Iterator[str]:
    """For a terminal."""
    known = f"{planned.criteria:,} labelled criteria of {planned.prompts:,} prompts"
    yield f"{known}, {planned.held_out:,} of them held out; labels {plan.data.digest[:16]}"
    if planned.left_out:
        yield _left_out(planned)
    for n, judge in enumerate(plan.judges):
        alone = planned.agreement[f"judge_{n}"]
        yield (
            f"{judge.name} ({judge.fingerprint}): agrees alone {text(alone)}; {_band(judge.band)}; decides "
            f"{planned.decides[n]:.1%}"
        )
    yield f"cascade: agrees {text(planned.agreement['cascade'])}; {planned.undecided:.1%} decided by nobody"
    for name, about in _SAVES.items():
        if name in planned.saves:
            yield f"{about}: {text(planned.saves[name])}"
    yield f"{promise(plan)} (p-value {plan.promise.p_value:.4f} on {plan.promise.prompts:,} held-out prompts)."


def _left_out(planned: Planned) -> str:
    return (
        f"{planned.left_out:,} more prompts are left out, because a judge's files lack a verdict on some criterion; "
        "nothing is promised of prompts like these."
    )


def page(plan: wire.CascadePlan, planned: Planned) -> str:
    """The whole page."""
    return document(
        "A cascade of judges",
        f"{promise(plan)}. Labels {plan.data.digest[:16]}.",
        tiles=_tiles(planned),
        sections=_sections(plan, planned),
    )


def _tiles(planned: Planned) -> Iterator[str]:
    yield tile(_percent(planned.saves["last_judge"]), "of the criteria spare the last judge")
    yield tile(number(planned.agreement["cascade"].value), "agreement of the cascade")
    yield tile(number(planned.agreement[f"judge_{len(planned.bands) - 1}"].value), "of the last judge alone")
    if "tokens" in planned.saves:
        yield tile(_percent(planned.saves["tokens"]), "of the last judge's tokens saved")


def _sections(plan: wire.CascadePlan, planned: Planned) -> Iterator[str]:
    yield section(
        "Judges",
        "In the order in which they are asked. A verdict whose P(met) is in the band is passed on to the next judge, "
        "and so is a criterion without a verdict.",
        table(
            ("", "model", "fingerprint", "mode", "unsure", "decides", "agreement alone"),
            [_judge(planned, n, judge) for n, judge in enumerate(plan.judges)],
        ),
    )
    figures = {"agreement of the cascade": planned.agreement["cascade"], "lost": planned.agreement["lost"]}
    figures |= {about: planned.saves[name] for name, about in _SAVES.items() if name in planned.saves}
    yield section(
        "What it gives and saves",
        "On held-out prompts, with 95 % intervals. `lost` is agreement that the last judge alone has more. Tokens are "
        "as prompts have them: of those that prompts share, fewer are computed.",
        table(("", "figure"), [_figure(about, figure) for about, figure in figures.items()]),
    )
    yield section(
        "What was tested",
        "In this order, until the first bands for which a broken promise could not be ruled out.",
        table(
            ("bands", "p-value", "agreement", "reaches the last judge"),
            [
                row(
                    (
                        ("; ".join(_band(band) for band in one.bands[:-1]), "name"),
                        (number(one.p_value, 4), "n"),
                        (number(one.agreement), "n"),
                        (f"{one.last:.1%}", "n"),
                    )
                )
                for one in planned.tested
            ],
        ),
    )
    yield section("What it rests on", "", sentences(list(_facts(plan, planned))))


def _facts(plan: wire.CascadePlan, planned: Planned) -> Iterator[str]:
    yield (
        "Agreement is the mean over prompts of the share of a prompt's criteria; a criterion that nobody decides "
        "counts as a disagreement."
    )
    yield (
        f"A third of the {planned.prompts:,} prompts proposed bands; on the other {planned.held_out:,} they were "
        f"tested in a fixed sequence, each at level {plan.promise.delta:g} (Learn then Test, arXiv 2110.01052), by "
        "betting on the prompts' mean losses (arXiv 2010.09686)."
    )
    if planned.left_out:
        yield _left_out(planned)
    yield (
        "Prompts are taken as independent draws of those to come; criteria of one prompt are not. On other prompts, "
        "answers or labels the promise does not hold, and it does not hold for the best of many plans from the same "
        "labels."
    )


def _judge(planned: Planned, n: int, judge: wire.CascadeJudge) -> str:
    alone = planned.agreement[f"judge_{n}"]
    cells = (judge.name, Path(judge.model).name, judge.fingerprint, judge.mode, _band(judge.band))
    return row(
        [*((text, "name") for text in cells), (f"{planned.decides[n]:.1%}", "n")],
        more=table_cell(alone),
    )


def _figure(about: str, figure: Figure) -> str:
    return row(((about, "name"),), more=table_cell(figure))


def _band(band: wire.CascadeBand | None) -> str:
    if band is None:
        return "each verdict stands"
    if band.low <= 0 and band.high >= 1:
        return "each verdict is passed on"
    return f"unsure from {band.low:.3g} to {band.high:.3g}"


def _percent(figure: Figure) -> str:
    return "" if figure.value is None else f"{figure.value:.1%}"


def as_json(plan: wire.CascadePlan, planned: Planned) -> dict[str, object]:
    """The plan with all figures and the sequence that was tested; no text of a row."""
    return {
        "plan": plan.model_dump(mode="json"),
        "agreement": {name: figure.as_json() for name, figure in planned.agreement.items()},
        "saves": {name: figure.as_json() for name, figure in planned.saves.items()},
        "decides": list(planned.decides),
        "undecided": planned.undecided,
        "left_out_prompts": planned.left_out,
        "tested": [
            {
                "bands": _bands(one.bands),
                "p_value": one.p_value,
                "agreement": one.agreement,
                "reaches_last_judge": one.last,
            }
            for one in planned.tested
        ],
    }


def _bands(bands: Sequence[wire.CascadeBand | None]) -> list[dict[str, float] | None]:
    return [None if band is None else {"low": band.low, "high": band.high} for band in bands]
