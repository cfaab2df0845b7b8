"""Asks a judge for the verdicts that a log lacks: each response and criterion once, and never again what was answered.

Answers are added to a file of JSON lines as they come, so that a command that was killed goes on where it was.

Guarantees: a logged verdict on a criterion without levels or a value to extract is used where the same judge gave it,
by its fingerprint. An answer is kept where asking again would give it again; what failed for the moment is asked at the
next run. A torn last line is left out.
"""

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any, get_args

from trainer_client import wire
from trainer_client.client import Failed, JudgeClient, Outcome, ScoreOptions
from trainer_client.errors import DataError
from trainer_client.json_lines import whole_lines
from trainer_client.rescoring.change import Criterion, by_question, criteria_of, named, ruling_of
from trainer_client.rescoring.formula import Ruling
from trainer_client.rollouts import LoggedVerdict, Rollout

_TRANSIENT: frozenset[str] = frozenset({"timeout", "overloaded", "engine_error", "cancelled"})
_LASTING = frozenset(get_args(wire.CriterionStatus)) - _TRANSIENT

Wanted = Mapping[str, tuple[Rollout, Criterion]]
"""What is to be asked, by its key."""


def key_of(judge: Any, rollout: Rollout, criterion: Criterion) -> str:
    """What an answer depends on: the judge, what it is shown, and the rule where one decides. Values of levels are not
    shown."""
    rule = criterion.source.verifier
    content = [
        judge,
        rollout.prompt,
        rollout.response,
        rollout.reference,
        criterion.text,
        None if rule is None else rule.model_dump(mode="json", by_alias=True),
    ]
    if not criterion.source.plain:  # of plain criteria, keys are what they were before there were others
        content.append(criterion.question[1])
    if rollout.documents:
        content.append({"documents": rollout.documents})
    text = json.dumps(content, ensure_ascii=False, sort_keys=True)
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()[:32]


class Answers:
    """What a judge said, in memory and in a file. `asked` are options that make another verdict of the same judge, such
    as votes; with them a verdict of the log is not taken for the judge's. `readings` are the fingerprints of how it
    reads levels and values, which a log does not hold: of these a verdict of the log is not taken for the judge's."""

    def __init__(
        self,
        path: Path,
        judge: str,
        asked: Mapping[str, Any] | None = None,
        readings: Mapping[str, str] | None = None,
    ) -> None:
        self._path = path
        self.judge = judge
        self._asked = dict(asked or {})
        self._readings = dict(readings or {})
        self._found: dict[str, Ruling | None] = {}
        if path.exists():
            self._read()

    def __contains__(self, key: str) -> bool:
        return key in self._found

    def key(self, rollout: Rollout, criterion: Criterion) -> str:
        if not criterion.source.plain:
            reading = self._readings.get("levels" if criterion.source.options else "extract")
            return key_of([self.judge, self._asked, reading], rollout, criterion)
        return key_of([self.judge, self._asked] if self._asked else self.judge, rollout, criterion)

    def of(self, rollout: Rollout, criterion: Criterion) -> Ruling | None:
        return self._found.get(self.key(rollout, criterion))

    def log(self, rollout: Rollout, criterion: Criterion, said: LoggedVerdict | None) -> None:
        """Takes a verdict of the log where this judge gave it."""
        if said is None or said.met is None or said.fingerprint != self.judge:
            return
        if criterion.source.plain and not self._asked:
            self._found.setdefault(self.key(rollout, criterion), ruling_of(criterion, said))

    def add(self, told: Iterable[tuple[str, wire.CriterionResult]]) -> None:
        """Keeps what a judge answered, in the file at once."""
        lines = []
        for key, said in told:
            levels = {} if said.p_levels is None else {"p_levels": said.p_levels}
            line = {"key": key, "status": said.status, "met": said.met, "p": said.p, "source": said.source, **levels}
            self._found[key] = _ruling(line)
            if said.status in _LASTING:
                lines.append(line)
        if lines:
            with self._path.open("ab") as file:
                file.write("".join(f"{json.dumps(line)}\n" for line in lines).encode())

    def _read(self) -> None:
        """Raises DataError for a line that is no answer. A torn last one is cut off, so that lines can be added."""
        with self._path.open("r+b") as file:
            for number, text in whole_lines(file):
                try:
                    line = wire.read_json(text)
                    self._found[line["key"]] = _ruling(line)
                except (wire.JsonFault, KeyError, TypeError, ValueError):
                    raise DataError(
                        f"{self._path}, line {number}: it is no answer of a judge; take the file away"
                    ) from None


def _ruling(line: Mapping[str, Any]) -> Ruling | None:
    p = None if line["source"] == "rule" else line["p"]
    levels = line.get("p_levels")
    if line["status"] != "ok" or line["met"] is None:
        return None
    return Ruling(line["met"], p, None if levels is None else tuple(map(float, levels)))


def wanted(rollouts: Sequence[Rollout], answers: Answers, rubric: Callable[[Rollout], wire.Rubric] | None) -> Wanted:
    """What neither the log nor the file has from this judge. Equal questions are one."""
    found: dict[str, tuple[Rollout, Criterion]] = {}
    for rollout in rollouts:
        own = criteria_of(rollout)
        said = by_question(own, {one.id: one for one in rollout.criteria})
        for criterion in own if rubric is None else named(rubric(rollout)):
            answers.log(rollout, criterion, said.get(criterion.question))
            key = answers.key(rollout, criterion)
            if key not in answers:
                found[key] = rollout, criterion
    return found


@dataclass(frozen=True, slots=True)
class _Question:
    """An item, and the keys of its criteria for each of its responses."""

    item: wire.Item
    keys: Sequence[Sequence[str]]


def _questions(wanted: Wanted) -> Iterator[_Question]:
    """Neighbours with one prompt and the same missing criteria are one item, whose prompt is sent once."""
    by_rollout: dict[int, tuple[Rollout, list[tuple[str, Criterion]]]] = {}
    for key, (rollout, criterion) in wanted.items():
        by_rollout.setdefault(id(rollout), (rollout, []))[1].append((key, criterion))

    def shared(one: tuple[Rollout, list[tuple[str, Criterion]]]) -> Any:
        rollout, missing = one
        return rollout.prompt, rollout.reference, rollout.documents, [criterion.source for _, criterion in missing]

    for n, (_, same) in enumerate(groupby(by_rollout.values(), key=shared)):
        members = list(same)
        rollout, missing = members[0]
        criteria = [one.source.model_copy(update={"id": str(m)}) for m, (_, one) in enumerate(missing)]
        one = rollout.item()
        fields: dict[str, Any] = {"id": str(n), "rubric": wire.Rubric(criteria=criteria), "metadata": None}
        if len(members) > 1:
            fields |= {"response": None, "responses": [member.item().response for member, _ in members]}
        yield _Question(one.model_copy(update=fields), [[key for key, _ in keys] for _, keys in members])


async def ask(
    client: JudgeClient,
    wanted: Wanted,
    answers: Answers,
    options: ScoreOptions,
    moved: Callable[[int], None],
) -> list[Failed]:
    """Asks, keeps what comes as it comes, and returns what failed. `moved` is told how many verdicts came."""
    questions = list(_questions(wanted))
    owners = [keys for one in questions for keys in one.keys]
    failed = []

    def heard(place: int, outcome: Outcome) -> None:
        if isinstance(outcome, Failed):
            failed.append(outcome)
        else:
            answers.add(zip(owners[place], outcome.result.criteria, strict=True))
        moved(len(owners[place]))

    asked: ScoreOptions = {**options, "expect_judge": answers.judge, "pitfalls": "met_is_bad", "reasoning": "keep"}
    await client.score([one.item for one in questions], on_outcome=heard, **asked)
    return failed
