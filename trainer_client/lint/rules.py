"""Examines a rubric by every rule and tells what a person should look at, without judging anything. Pure.

The service's route and the command share this one implementation.

Guarantees: a finding says why and what to do, and quotes no text of the rubric. An "error" means that scoring is
refused, gives no score, or that points cancel out; everything else is a guess and a "warning". `docs/guide/lint.md`
lists the codes with their precision and recall.
"""

from collections.abc import Iterable, Iterator

from pydantic import TypeAdapter

from trainer_client import wire
from trainer_client.lint import forms, levels, repetition, shape, signs, wording
from trainer_client.lint.codes import CODES, Entry, Found

_AGGREGATION: TypeAdapter[wire.Aggregation] = TypeAdapter(wire.Aggregation)


def lint(
    rubric: wire.Rubric, aggregation: wire.Aggregation = "healthbench", reference: str | None = None
) -> list[wire.Finding]:
    """Returns findings about the rubric as a whole first, then by criterion in the rubric's order. `reference` is the
    reference answer that its prompt has."""
    return told(rubric, _found(_entries(rubric), aggregation, reference))


def told(rubric: wire.Rubric, found: Iterable[Found]) -> list[wire.Finding]:
    """The findings in the contract's terms, in the rubric's order."""
    ids = list(rubric.ids())
    return [
        wire.Finding(
            code=one.code,
            severity=CODES[one.code],
            criterion=None if one.place is None else ids[one.place],
            message=f"{one.why}; {one.remedy}",
            why=one.why,
            remedy=one.remedy,
        )
        for one in sorted(found, key=lambda one: -1 if one.place is None else one.place)
    ]


def _entries(rubric: wire.Rubric) -> list[Entry]:
    """A category in a form that nobody reads is no part of what is said, and is none either."""
    found = []
    for place, (id, one) in enumerate(zip(rubric.ids(), rubric.criteria, strict=True)):
        category, text = one.category_and_text
        proper = forms.proper_prefix(one.text)
        said = text if proper is None else proper.partition(": ")[2]
        rule = one.extract.rule if one.extract is not None else one.verifier  # no judge reads its text
        found.append(Entry(place, id, one.text, said, one.worth, category, one.tags, rule, one.options))
    return found


def _found(criteria: list[Entry], aggregation: wire.Aggregation, reference: str | None) -> Iterator[Found]:
    name = wire.aggregation_name(aggregation)
    options = _AGGREGATION.validate_python({"name": name}) if isinstance(aggregation, str) else aggregation
    yield from shape.nothing_counted(criteria)
    yield from shape.only_faults(criteria, name)
    yield from shape.item_count(criteria)
    yield from shape.categories(criteria, name)
    yield from shape.tags(criteria, aggregation, getattr(options, "tag", ""), getattr(options, "tag_value", None))
    yield from shape.category_order(criteria)
    yield from shape.weight_range(criteria)
    yield from shape.dominance(criteria, name)
    yield from repetition.repetition(criteria)
    yield from levels.options(criteria)
    yield from signs.double_negation(criteria)
    yield from signs.rewarded_fault(criteria)
    yield from wording.wording(criteria)
    if reference:
        yield from wording.copied_reference(criteria, reference)
    for look in (
        forms.title_length,
        forms.category_prefix,
        forms.category_conflict,
        forms.untidy_text,
        forms.tag_form,
    ):
        yield from look(criteria)
