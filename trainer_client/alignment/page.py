"""Writes the page of a study: one HTML file that loads nothing else, with every accuracy, its interval and its cost.

Guarantees: names are escaped. What was not judged has no number.
"""

from collections.abc import Iterator
from html import escape
from pathlib import Path

from trainer_client.agreement.bootstrap import RESAMPLES
from trainer_client.agreement.shown import table_cell
from trainer_client.alignment.answers import Cost
from trainer_client.alignment.figures import ArmResult, Difference, JudgeResult
from trainer_client.alignment.study import Study
from trainer_client.pages.charts import interval as interval_bar
from trainer_client.pages.document import cell, document, number, row, section, sentences, table, tile

_STYLES = """
table { min-width: 640px; }
section td:last-child:not(.n) { min-width: 200px; }
td.name { min-width: 125px; }
"""
_ABOUT = (
    "A pair is right where the better response has the larger number. A tie counts as one half. Bars are 95 % "
    "intervals over prompts, from 0 to 1; chance is the line in the middle."
)


def page(study: Study) -> str:
    """The whole page."""
    facts = study.facts
    kinds = ", ".join(f"{count:,} {kind}" for kind, count in facts["kinds"].items())
    return document(
        "How often judges prefer the better response",
        f"{facts['pairs']:,} pairs of {facts['prompts']:,} prompts ({kinds}); digest {facts['digest'][:16]}.",
        tiles=_tiles(study),
        sections=_sections(study),
        styles=_STYLES,
    )


def _tiles(study: Study) -> Iterator[str]:
    for judge in study.judges:
        judged = [one for one in judge.arms if one.accuracy.value is not None]
        for one in sorted(judged, key=lambda one: -(one.accuracy.value or 0.0))[:1]:
            names = (f"{judge.name}: {one.arm.name}", "its best arm here")
            yield tile(number(one.accuracy.value), *names, about="of many arms the best one is flattered by chance")


def _sections(study: Study) -> Iterator[str]:
    yield section("Judges", "", table(("", "model", "engine", "fingerprint", "trust"), map(_judge_row, study.judges)))
    for judge in study.judges:
        head = "", "accuracy", "", ("right", "n"), ("ties", "n"), ("wrong", "n"), ("not judged", "n"), "asked as"
        yield section(f"Accuracy: {judge.name}", _ABOUT, table(head, map(_arm_row, judge.arms)))
    for judge in study.judges:
        if len(study.facts["kinds"]) > 1:
            kinds = list(study.facts["kinds"])
            rows = [
                f'<tr><td class="name">{escape(one.arm.name)}</td>'
                + "".join(table_cell(one.by_kind.get(kind)) for kind in kinds)
                + "</tr>"
                for one in judge.arms
            ]
            yield section(f"By kind of the rejected response: {judge.name}", "", table(("", *kinds), rows))
    if study.differences:
        yield section(
            "Differences, in pairs",
            "How much more often the first is right than the second, on the pairs that both judged. Where the interval "
            "holds 0 it is open which is better.",
            table(("", "first", "second", "more"), map(_difference_row, study.differences)),
        )
    compared = [(judge, one) for judge in study.judges for one in judge.arms if one.order_effect is not None]
    if compared:
        yield section(
            "What the order of two responses does",
            "Order effect: P(better) with the better response first, less that with it second. Disagreeing: pairs of "
            "which each order prefers another response. Both are taken out of P, which is the mean of the log-odds.",
            table(
                ("", "", "order effect", "disagreeing"),
                [
                    row(
                        ((judge.name, "name"), (one.arm.name, "name")),
                        more=table_cell(one.order_effect) + table_cell(one.disagreeing),
                    )
                    for judge, one in compared
                ],
            ),
        )
    yield section("Cost", _of_cost(study), _costs(study))
    yield section("How it was measured", "", sentences(_facts(study)))


def _judge_row(one: JudgeResult) -> str:
    judge = one.judge
    trust = sorted({arm.trust for arm in one.arms if arm.trust is not None})
    cells = (one.name, Path(str(judge["model"])).name, judge["engine"], judge["fingerprint"], ", ".join(trust))
    return row((str(value), "name") for value in cells)


def _arm_row(one: ArmResult) -> str:
    figure = one.accuracy
    if one.why_not is not None:
        return row(((one.arm.name, "name"), ("", ""), (f"not served: {one.why_not}", "text")))
    bar = ""
    if figure.value is not None and figure.low is not None and figure.high is not None:
        bar = interval_bar(figure.value, figure.low, figure.high)
    missing = ", ".join(f"{count} {status}" for status, count in sorted(one.not_judged.items())) or "0"
    counts = ((str(one.right), "n"), (str(one.ties), "n"), (str(one.wrong), "n"), (missing, "n"), (one.arm.about, ""))
    name = f'<td class="name">{escape(one.arm.name)}</td>'
    return f"<tr>{name}{table_cell(figure)}<td>{bar}</td>{''.join(cell(text, kind) for text, kind in counts)}</tr>"


def _difference_row(one: Difference) -> str:
    return row(((one.among, "name"), (one.one, "name"), (one.other, "name")), more=table_cell(one.more))


def _of_cost(study: Study) -> str:
    told = "Of all runs of this study. Seconds are those of the wall; what the service's cache answered cost nothing."
    named = [
        f"{name} at {' and '.join('no price' if one is None else f'{one:g}' for one in (read, written))}"
        for name, (read, written) in study.prices.items()
        if read is not None or written is not None
    ]
    return f"{told} Money for a million tokens: {', '.join(named)}." if named else told


def _costs(study: Study) -> str:
    names = ("answers", "judgements", "cached", "seconds", "tokens read", "written", "money")
    head: list[str | tuple[str, str]] = ["", "", *((name, "n") for name in names)]
    return table(head, [_cost_row(study, judge, *cost) for judge in study.judges for cost in judge.costs.items()])


def _cost_row(study: Study, judge: JudgeResult, name: str, cost: Cost) -> str:
    money = study.money(judge, cost)
    numbers = (
        f"{cost.answers:,}",
        f"{cost.judgements:,}",
        f"{cost.cache_hits:,}",
        f"{cost.seconds:,.1f}",
        f"{cost.prompt_tokens:,}",
        f"{cost.completion_tokens:,}",
        "" if money is None else f"{money:.4f}",
    )
    return row(((judge.name, "name"), (name, "name"), *((text, "n") for text in numbers)))


def _facts(study: Study) -> list[str]:
    facts = study.facts
    found = [
        f"Intervals draw whole prompts {RESAMPLES:,} times; differences are drawn in pairs.",
        "Explicit: the points of the criteria, hard where they are met, soft times P(met). Both responses of a pair "
        "have one rubric, so that no division changes which has more. Likert and implicit: the expected rating of 1 to "
        "10. Compare: P of both orders.",
        f"{facts['with_rubric']:,} pairs have a rubric, {facts['with_reference']:,} a reference.",
    ]
    if facts.get("written"):
        found.append(
            f"{facts['written']:,} responses were written from the rubric: the text of each wanted criterion. A judge "
            "that is shown the rubric finds its very words in them, so that these pairs are easy with it."
        )
    if facts.get("left_out"):
        reasons = ", ".join(f"{count} {reason}" for reason, count in facts["left_out"].items())
        found.append(f"Not built: {reasons}.")
    return found
