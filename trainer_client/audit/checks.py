"""The checks of an audit: each asks for a row and variants of it, and reads effects from the answers. Pure.

A check is one function. It is called twice for each row: once to write down what it asks, where every answer is empty,
and once with the judge's answers.

Guarantees: a pair of which one side has no answer is an effect without a value.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from trainer_client import wire
from trainer_client.audit import rewording
from trainer_client.audit.askings import RATING, Answer, Ask, Asking, AuditRow, Judged
from trainer_client.audit.effects import Effect, Measure
from trainer_client.perturbation import wording

_ALL: tuple[wire.Mode, ...] = ("verdict", "reasoned", "implicit", "likert")
_BY_CRITERION: tuple[wire.Mode, ...] = ("verdict", "reasoned")
_BY_RUBRIC: tuple[wire.Mode, ...] = ("verdict", "reasoned", "implicit")


@dataclass(frozen=True, slots=True)
class Check:
    """A named check with its measures and the judging modes in which it has a meaning."""

    name: str
    about: str
    measures: tuple[Measure, ...]
    effects: Callable[[AuditRow, Ask], Iterator[Effect]]
    modes: tuple[wire.Mode, ...] = _ALL


def _changed(limit: float) -> Measure:
    return Measure("change", "size of the change of P(met), mean", limit, "low")


def _flips(limit: float) -> Measure:
    return Measure("flips", "share of the verdicts that change sides", limit, "low")


def repeatability(row: AuditRow, ask: Ask) -> Iterator[Effect]:
    """The same question twice, in different batches and past the cache."""
    yield from _compared(row, ask(Asking(row.item)), ask(Asking(row.item, attempt=1)))


def order(row: AuditRow, ask: Ask) -> Iterator[Effect]:
    """The criteria in the opposite order; then each one's P(met) in the front half less that in the back half."""
    count = len(row.criteria)
    if count < 2:
        return
    forward = ask(Asking(row.item))
    backward = ask(Asking(_with_criteria(row.item, list(reversed(row.criteria)))))
    yield from _compared(row, forward, backward)
    for place, criterion in enumerate(row.criteria):
        id = str(criterion.id)
        if not row.rates and 2 * place + 1 != count:  # the middle one keeps its place
            first, second = (forward, backward) if 2 * place + 1 < count else (backward, forward)
            yield Effect("front", _difference(second, first, id), id)


def paraphrase(row: AuditRow, ask: Ask) -> Iterator[Effect]:
    """Each criterion in other words that mean the same."""
    asked = ask(Asking(row.item))
    for words in wording.PARAPHRASES:
        yield from _compared(row, asked, ask(Asking(_with_criteria(row.item, _reworded(row.criteria, words)))))


def negation(row: AuditRow, ask: Ask) -> Iterator[Effect]:
    """Each criterion and its negation: their probabilities add up to one, and one of the two is met."""
    asked = ask(Asking(row.item))
    negated = ask(Asking(_with_criteria(row.item, _reworded(row.criteria, wording.NEGATION))))
    for criterion in row.criteria:
        id = str(criterion.id)
        one, other = asked.get(id), negated.get(id)
        yield Effect("excess", one.p + other.p - 1 if one and other else None, id)
        yield Effect("contradictions", float(one.met == other.met) if one and other else None, id)


def length(row: AuditRow, ask: Ask) -> Iterator[Effect]:
    """The response with sentences behind it that say nothing. Criteria that speak of form are left out."""
    yield from _gain(row, ask, before=row.response, after=rewording.padded(row.response), name="padded")


def form(row: AuditRow, ask: Ask) -> Iterator[Effect]:
    """The same words as plain text, as a list, and with bold beginnings. Criteria that speak of form are left out."""
    words = rewording.plain(row.response)
    yield from _gain(row, ask, before=words, after=rewording.bulleted(words), name="bullets")
    yield from _gain(row, ask, before=words, after=rewording.emphasised(words), name="bold")


def empty(row: AuditRow, ask: Ask) -> Iterator[Effect]:
    """An empty response: it fails what demands something, and the row's own response earns more."""
    yield from _without_content(row, ask, "", above="own above empty")


def off_topic(row: AuditRow, ask: Ask) -> Iterator[Effect]:
    """The answer to another prompt, of similar length: the row's own response earns more."""
    if row.other is not None:
        yield from _without_content(row, ask, row.other, above="own above other")


def self_preference(row: AuditRow, ask: Ask) -> Iterator[Effect]:
    """How much more the judge credits the first policy where people say the same of both answers. Where their labels
    differ, any judge that is not certain would seem to prefer the worse answer."""
    if row.rival is None:
        return
    own, rival = ask(Asking(row.item)), ask(Asking(row.item.model_copy(update={"response": row.rival.response})))
    for criterion in row.criteria:
        id = str(criterion.id)
        label, other = row.rival.own_labels.get(id), row.rival.labels.get(id)
        if label is None or label != other or criterion.worth == 0:
            continue
        sign = 1 if criterion.worth > 0 else -1
        more = _difference(rival, own, id)
        yield Effect("favour", None if more is None else sign * more, id)


CHECKS: tuple[Check, ...] = (
    Check(
        "repeatability",
        "The same question is asked twice, past the cache and in different batches.",
        (_changed(0.01), _flips(0.01)),
        repeatability,
    ),
    Check(
        "order",
        "The criteria stand in the opposite order. An answer must not depend on its neighbours or its place.",
        (
            _changed(0.02),
            _flips(0.02),
            Measure("front", "P(met) in the front half of the rubric less that in the back half", 0.02, "near zero"),
        ),
        order,
        _BY_RUBRIC,
    ),
    Check(
        "paraphrase",
        "Each criterion is asked in three other wordings with the same meaning.",
        (_changed(0.1), _flips(0.1)),
        paraphrase,
        _BY_RUBRIC,
    ),
    Check(
        "negation",
        "Each criterion is asked with its negation. A judge that says yes to everything shows here.",
        (
            Measure("excess", "P(c) + P(not c) - 1, mean", 0.1, "near zero"),
            Measure(
                "contradictions",
                "share of the criteria that are met together with their negation, or neither",
                0.1,
                "low",
            ),
        ),
        negation,
        _BY_CRITERION,
    ),
    Check(
        "length",
        "Sentences that say nothing double the response's length.",
        (
            Measure("padded", "change of P(met), or of the rating", 0.05, "near zero"),
            Measure("padded, reward", "change of the soft reward", 0.05, "near zero"),
        ),
        length,
    ),
    Check(
        "format",
        "The same words stand as a list, or with bold beginnings, instead of plain text.",
        (
            Measure("bullets", "change of P(met) as a list, or of the rating", 0.05, "near zero"),
            Measure("bullets, reward", "change of the soft reward as a list", 0.05, "near zero"),
            Measure("bold", "change of P(met) with bold beginnings, or of the rating", 0.05, "near zero"),
            Measure("bold, reward", "change of the soft reward with bold beginnings", 0.05, "near zero"),
        ),
        form,
    ),
    Check(
        "empty",
        "The response is empty. Criteria that are wanted and do not speak of absence cannot be met.",
        (
            Measure("met", "P(met), or the rating, of an empty response", 0.2, "low"),
            Measure("own above empty", "share of the rows whose own response earns more", 0.9, "high"),
        ),
        empty,
    ),
    Check(
        "off-topic",
        "The response is the answer to another prompt, of similar length.",
        (
            Measure("met", "P(met), or the rating, of an answer to another prompt", 0.3, "low"),
            Measure("own above other", "share of the rows whose own response earns more", 0.8, "high"),
        ),
        off_topic,
    ),
    Check(
        "self-preference",
        "Two policies answered the same prompts, and people labelled both. Where the labels are the same, the "
        "credit must be.",
        (Measure("favour", "credit of the first policy less that of the second, mean", 0.05, "near zero"),),
        self_preference,
        _BY_CRITERION,
    ),
)


def askings_of(checks: Sequence[Check], rows: Sequence[AuditRow]) -> dict[str, Asking]:
    """Everything that these checks ask about these rows, each once, by key."""
    found: dict[str, Asking] = {}

    def note(asking: Asking) -> Answer:
        found.setdefault(asking.key, asking)
        return {}

    for check in checks:
        for row in rows:
            for _ in check.effects(row, note):
                pass
    return found


def _compared(row: AuditRow, one: Answer, other: Answer) -> Iterator[Effect]:
    """The change of each criterion, or of the rating."""
    for id in _ids(row, row.criteria):
        before, after = one.get(id), other.get(id)
        yield Effect("change", abs(after.p - before.p) if before and after else None, id)
        if not row.rates:
            yield Effect("flips", float(after.met != before.met) if before and after else None, id)


def _ids(row: AuditRow, criteria: Sequence[wire.Criterion]) -> list[str]:
    """The entries that an answer about these criteria has: one for each, or the one rating."""
    return [RATING] if row.rates else [str(criterion.id) for criterion in criteria]


def _about(row: AuditRow, response: str, criteria: Sequence[wire.Criterion]) -> Asking:
    """A response under these criteria of the row. The row's own response is asked about once, under all of them, unless
    a verdict depends on which these are: then both sides of a pair have the same ones."""
    if response == row.response and not row.together:
        return Asking(row.item)
    item = row.item.model_copy(update={"response": response})
    return Asking(item if row.rates else _with_criteria(item, criteria))


def _gain(row: AuditRow, ask: Ask, *, before: str, after: str, name: str) -> Iterator[Effect]:
    """The change from one text to the other: by criterion, and of the soft reward."""
    criteria = [one for one in row.criteria if not rewording.speaks_of_form(one)]
    if not criteria and not row.rates:
        return
    first, second = ask(_about(row, before, criteria)), ask(_about(row, after, criteria))
    for id in _ids(row, criteria):
        yield Effect(name, _difference(first, second, id), id)
    one, other = _reward(row, criteria, first), _reward(row, criteria, second)
    if not row.rates:
        yield Effect(f"{name}, reward", None if one is None or other is None else other - one)


def _without_content(row: AuditRow, ask: Ask, response: str, above: str) -> Iterator[Effect]:
    criteria = [one for one in row.criteria if rewording.demands_something(one)]
    if not criteria and not row.rates:
        return
    own, other = ask(_about(row, row.response, criteria)), ask(_about(row, response, criteria))
    for id in _ids(row, criteria):
        judged = other.get(id)
        yield Effect("met", None if judged is None else judged.p, id)
    one, two = _reward(row, criteria, own), _reward(row, criteria, other)
    yield Effect(above, None if one is None or two is None else 1.0 if one > two else 0.5 if one == two else 0.0)


def _difference(before: Answer, after: Answer, id: str) -> float | None:
    one, other = before.get(id), after.get(id)
    return None if one is None or other is None else other.p - one.p


def _reward(row: AuditRow, criteria: Sequence[wire.Criterion], answer: Answer) -> float | None:
    """The rating, or the soft reward as a share of all points, faults counted against it; None unless every criterion
    was judged."""
    if row.rates:
        return answer[RATING].p if RATING in answer else None
    counted = [one for one in criteria if one.worth != 0]
    judged: list[Judged | None] = [answer.get(str(one.id)) for one in counted]
    if not counted or None in judged:
        return None
    gained = sum(one.worth * verdict.p for one, verdict in zip(counted, judged, strict=True) if verdict is not None)
    return gained / sum(abs(one.worth) for one in counted)


def _with_criteria(item: wire.Item, criteria: Sequence[wire.Criterion]) -> wire.Item:
    if item.rubric is None:
        return item
    return item.model_copy(update={"rubric": item.rubric.model_copy(update={"criteria": list(criteria)})})


def _reworded(criteria: Sequence[wire.Criterion], words: str) -> list[wire.Criterion]:
    """The criteria in other words. Categories stay where a tag says them: the prefix of a text is put in front."""
    return [one.model_copy(update={"text": _framed(one, words)}) for one in criteria]


def _framed(criterion: wire.Criterion, words: str) -> str:
    prefix = criterion.text[: len(criterion.text) - len(criterion.judged_text)]
    return prefix + words.format(criterion.judged_text)
