"""Evaluates answers by the verdicts on their rubrics: HealthBench's score, and accuracy on instructions with rules.

Guarantees: an answer of which a criterion has no verdict has no score; it is counted, with the reason.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from trainer_client import wire
from trainer_client.evaluation import healthbench, instructions
from trainer_client.evaluation.answers import Answers
from trainer_client.evaluation.judged import Judged
from trainer_client.evaluation.outcome import Evaluation, Measure, Table

Place = tuple[str, int]
"""The id of a prompt, and a seed."""

_SHOWN = ("axis:", "theme:", "level:")
"""Tags that have a row in the report. All are in the JSON."""
EXAMPLE_TAGS = "example_tags"


def answered(items: Mapping[str, wire.Item], answers: Answers) -> tuple[list[Place], list[wire.Item]]:
    """An item for each answer, the first sample of its place, with the place."""
    places = [place for place in answers if place[0] in items]
    return places, [with_answer(items[id], answers[id, seed][0].text) for id, seed in places]


def with_answer(item: wire.Item, text: str) -> wire.Item:
    return item.model_copy(update={"response": text, "responses": None})


def on_healthbench(
    policy: str, items: Mapping[str, wire.Item], places: Sequence[Place], judged: Sequence[Judged], layout: str
) -> Evaluation:
    """`judged` are of the answers at `places`, in order."""
    metrics = {
        place: healthbench.metrics(list(_graded(items[place[0]], one)), _example_tags(items[place[0]]))
        for place, one in zip(places, judged, strict=True)
    }
    summary = healthbench.summarised(metrics.values())
    names = sorted(summary, key=lambda name: (name != healthbench.OVERALL, not name.startswith(_SHOWN), name))
    measures = tuple(
        Measure(name, _about(name), _values(metrics, name), clips=True)
        for name in names
        if name == healthbench.OVERALL or name.startswith("axis:")
    )
    shown = [name for name in names if name == healthbench.OVERALL or name.startswith(_SHOWN)]
    missing = sum(healthbench.OVERALL not in one for one in metrics.values())
    return Evaluation(
        "healthbench",
        policy,
        measures or (Measure(healthbench.OVERALL, _about(healthbench.OVERALL), {}, clips=True),),
        tables=(
            Table(
                "As simple-evals reports it",
                "All answers of all seeds together: the mean, clipped to 0..1 after averaging, and its standard error "
                "from 1,000 resamples. A tag of criteria has the score of these criteria alone.",
                ("", "score", "standard error", "answers", "before clipping"),
                [_row(name, summary[name]) for name in shown],
            ),
        ),
        notes=tuple(_notes(judged, missing, len(places), layout, summary)),
        details={"simple_evals": {name: _json(summary[name]) for name in names}},
        missing=missing,
    )


def _graded(item: wire.Item, judged: Judged) -> Iterator[healthbench.Graded]:
    for place, criterion in enumerate(item.rubric.criteria if item.rubric else ()):
        tags = tuple(f"{key}:{one}" for key, value in criterion.tags.items() for one in value.split(", "))
        yield healthbench.Graded(criterion.worth, _earned(criterion, judged, place), tuple(dict.fromkeys(tags)))


def _earned(criterion: wire.Criterion, judged: Judged, place: int) -> float | None:
    """The share of its points that a criterion earns; None without a verdict, and of levels where an older log does not
    say which one was taken."""
    met = judged.met[place]
    if met is None or not criterion.options:
        return None if met is None else float(met)
    level = judged.said[place].get("level") if judged.said else None
    return None if level is None else criterion.options[level].value


def _example_tags(item: wire.Item) -> list[str]:
    tags = (item.metadata or {}).get(EXAMPLE_TAGS)
    return list(dict.fromkeys(map(str, tags))) if isinstance(tags, list) else []


def _values(metrics: Mapping[Place, Mapping[str, float]], name: str) -> dict[str, list[float | None]]:
    return by_prompt({place: one.get(name) for place, one in metrics.items()})


def by_prompt(values: Mapping[Place, float | None]) -> dict[str, list[float | None]]:
    """The values of each prompt in the order of the seeds; None for a seed that it lacks."""
    seeds = sorted({seed for _, seed in values})
    return {id: [values.get((id, seed)) for seed in seeds] for id in dict.fromkeys(id for id, _ in values)}


def _about(name: str) -> str:
    if name == healthbench.OVERALL:
        return "HealthBench score"
    kind, _, value = name.partition(":")
    return f"{kind} {value.replace('_', ' ')}"


def _row(name: str, one: healthbench.Clipped) -> list[str | float | int | None]:
    return [_about(name), one.mean, one.error, one.n, one.unclipped]


def _json(one: healthbench.Clipped) -> dict[str, Any]:
    return {"mean": one.mean, "bootstrap_std": one.error, "n_samples": one.n, "unclipped": one.unclipped}


def _notes(
    judged: Sequence[Judged], missing: int, answers: int, layout: str, summary: Mapping[str, healthbench.Clipped]
) -> Iterator[str]:
    if layout != "simple_evals":
        yield (
            f"The judge was asked in layout {layout}. Published HealthBench scores are of another prompt (layout "
            "simple_evals) and of GPT-4.1 as judge: these numbers cannot stand beside them."
        )
    if missing:
        yield f"{missing:,} of {answers:,} answers have no score{reasons(judged)} and are in no figure."
    overall = summary.get(healthbench.OVERALL)
    if overall is not None and overall.lowest < 0:
        yield f"The lowest score of an answer is {overall.lowest:.3f}; single scores are not clipped."


def reasons(judged: Sequence[Judged]) -> str:
    """How often each reason is why there is no verdict, in brackets."""
    counts = Counter(why for one in judged for why in set(one.why))
    return f" ({', '.join(f'{count:,} {why}' for why, count in counts.most_common())})" if counts else ""


def rule_items(items: Mapping[str, wire.Item]) -> tuple[dict[str, wire.Item], int]:
    """The items with the criteria that a rule decides, and how many criteria were left out."""
    found: dict[str, wire.Item] = {}
    left_out = 0
    for id, item in items.items():
        criteria = item.rubric.criteria if item.rubric else []
        rules = [one for one in criteria if one.verifier is not None]
        left_out += len(criteria) - len(rules)
        if rules:
            found[id] = item.model_copy(update={"rubric": wire.Rubric(criteria=rules)})
    return found, left_out


def version_items(items: Mapping[str, wire.Item], answers: Answers) -> tuple[list[tuple[Place, int]], list[wire.Item]]:
    """An item for each version of each answer, with its place and the version's number; 0 is the answer itself."""
    places: list[tuple[Place, int]] = []
    asked: list[wire.Item] = []
    for id, seed in (place for place in answers if place[0] in items):
        for number, text in enumerate(instructions.versions(answers[id, seed][0].text)):
            places.append(((id, seed), number))
            asked.append(with_answer(items[id], text))
    return places, asked


def on_rules(
    policy: str,
    items: Mapping[str, wire.Item],
    answers: Answers,
    places: Sequence[tuple[Place, int]],
    judged: Sequence[Judged],
    left_out: int,
) -> Evaluation:
    """`judged` are of the versions at `places`, in order. A criterion with negative points is followed where it is not
    met, because it forbids something."""
    versions: dict[Place, list[list[instructions.Followed]]] = {place: [] for place in answers if place[0] in items}
    for (place, _), one in zip(places, judged, strict=True):
        versions[place].append(_followed(items[place[0]], one))
    strict: dict[Place, list[instructions.Followed]] = {}
    loose: dict[Place, list[instructions.Followed]] = {}
    for place, rows in versions.items():
        nothing: list[instructions.Followed] = [False] * len(_criteria(items[place[0]]))
        strict[place] = rows[0] if rows else nothing  # an answer of white space follows nothing
        loose[place] = instructions.loosely(rows) if rows else nothing
    missing = sum(None in one for one in strict.values())
    weights = {id: float(len(_criteria(items[id]))) for id, _ in strict}
    return Evaluation(
        "rules",
        policy,
        (
            Measure("prompt_strict", "prompts with all instructions followed, strict", _whole(strict), shares=True),
            Measure("prompt_loose", "prompts with all instructions followed, loose", _whole(loose), shares=True),
            Measure("instruction_strict", "instructions followed, strict", _share(strict), weights, shares=True),
            Measure("instruction_loose", "instructions followed, loose", _share(loose), weights, shares=True),
        ),
        tables=(_by_rule(items, strict, loose),),
        notes=tuple(_rule_notes(judged, missing, left_out)),
        missing=missing,
    )


def _criteria(item: wire.Item) -> Sequence[wire.Criterion]:
    return item.rubric.criteria if item.rubric else ()


def _followed(item: wire.Item, judged: Judged) -> list[instructions.Followed]:
    return [
        None if met is None else met == (criterion.worth >= 0)
        for criterion, met in zip(_criteria(item), judged.met, strict=True)
    ]


def _whole(followed: Mapping[Place, Sequence[instructions.Followed]]) -> dict[str, list[float | None]]:
    found = {place: instructions.whole(some) for place, some in followed.items()}
    return by_prompt({place: None if one is None else float(one) for place, one in found.items()})


def _share(followed: Mapping[Place, Sequence[instructions.Followed]]) -> dict[str, list[float | None]]:
    """The share of each prompt's instructions; None where one was not checked."""
    found = {place: None if None in some else sum(map(bool, some)) / len(some) for place, some in followed.items()}
    return by_prompt(found)


def _by_rule(
    items: Mapping[str, wire.Item],
    strict: Mapping[Place, Sequence[instructions.Followed]],
    loose: Mapping[Place, Sequence[instructions.Followed]],
) -> Table:
    counts: dict[str, Counter[str]] = {}
    for place, some in strict.items():
        for criterion, own, other in zip(_criteria(items[place[0]]), some, loose[place], strict=True):
            rule = criterion.tags.get("instruction") or (criterion.verifier.rule if criterion.verifier else "")
            counts.setdefault(rule, Counter()).update(n=1, strict=own is True, loose=other is True)
    rows: list[list[str | float | int | None]] = []
    for rule, one in sorted(counts.items()):
        rows.append([rule, one["strict"] / one["n"], one["loose"] / one["n"], one["n"]])
    return Table(
        "By kind of instruction",
        'The tag "instruction" of a criterion, or else its rule. An instruction that was not checked counts as not '
        "followed here.",
        ("", "strict", "loose", "instructions"),
        rows,
    )


def _rule_notes(judged: Sequence[Judged], missing: int, left_out: int) -> Iterator[str]:
    yield (
        "Loose: an instruction counts where one of eight versions of the answer follows it: without its first line, "
        "its last line, or both, each with and without asterisks (IFEval, 2311.07911)."
    )
    if left_out:
        yield f"Criteria without a rule were left out, because this evaluation asks no judge: {left_out:,}."
    if missing:
        yield f"{missing:,} answers have an instruction that was not checked{reasons(judged)}; they are in no figure."
