"""Finds verdicts on labelled rows that were paid for already: in results files, logs, ledgers and stores of verdicts.

Guarantees: all verdicts of a judge have one fingerprint, or there is an error that names those that were found. A
verdict is taken for a criterion of the same text, about the same conversation, response, reference and documents. What
another attempt may bring is no verdict.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from trainer_client import wire
from trainer_client.client import ScoreOptions
from trainer_client.errors import DataError
from trainer_client.labels.judging import FINAL, JudgedCriterion, key_of
from trainer_client.labels.labelled import LabelledItem, Labels
from trainer_client.labels.store import Given, is_store, stored
from trainer_client.ledger.checking import entries, files_of
from trainer_client.ledger.entries import Entry, digest, of_item
from trainer_client.ledger.writing import PATTERN
from trainer_client.rollouts import opened

Say = Callable[[str], None]
Key = tuple[str, str, str | None, str | None, str]
"""Digests of conversation, response, reference, documents and criterion."""
NOT_FOUND = "not_found"
"""The status of a criterion of which the files have nothing."""
_THRESHOLD = 0.5
_MOST_LACKING = 0.1
"""The share of prompts that may be left out; with more, those that are left are no draw of all."""


@dataclass(frozen=True, slots=True)
class Files:
    """Where the verdicts of one judge are. `fingerprint` chooses among the judges of a file; `options` are how it was
    asked, as `rubricd agree` asks."""

    name: str
    fingerprint: str | None
    paths: Sequence[Path]
    options: ScoreOptions


@dataclass(frozen=True, slots=True)
class PaidJudge:
    """A judge whose verdicts are known, in the order of the labels' criteria."""

    judge: wire.Judge
    criteria: tuple[JudgedCriterion, ...]


@dataclass(frozen=True, slots=True)
class _Said:
    """A verdict with the fingerprint of its judge and, where it is known, the judging mode."""

    by: str
    key: Key
    given: Given
    mode: str | None = None


def paid_judge(labels: Labels, files: Files, say: Say) -> PaidJudge:
    """Raises DataError where the files have no verdict on these labels, or those of several judges."""
    wanted = {key for one in labels.items for key in keys_of(one)}
    found: dict[str, dict[Key, Given]] = defaultdict(dict)
    modes: dict[str, set[str]] = defaultdict(set)
    for path in files.paths:
        for said in _read(path, labels, files.options, say):
            if said.key in wanted and said.given.source != "rule" and said.given.status in FINAL:
                found[said.by][said.key] = _checked(said.given, path)
                modes[said.by] |= {said.mode} if said.mode else set()
    by = _one_judge(files, found)
    mode = files.options.get("mode", "verdict")
    if other := modes[by] - {mode}:
        raise DataError(f"{files.name}: the verdicts were given in mode {', '.join(sorted(other))}; say so by --mode")
    _check_threshold(files, found[by].values())
    judge = wire.Judge(
        model="",  # no file names it
        revision="",
        engine="",
        mode=mode,
        layout=files.options.get("layout", "rubricd"),
        prompt=files.options.get("judge_prompt"),
        fingerprint=by,
        name=files.name,
    )
    return PaidJudge(judge, tuple(_criteria(labels, found[by])))


def lacking_prompts(labels: Labels, judges: Sequence[PaidJudge]) -> frozenset[str]:
    """The groups in which a judge lacks a verdict on a labelled criterion. Raises DataError where they are too many."""
    groups = {one.group for one in labels.items}
    found: set[str] = set()
    for each in judges:
        own = {
            labels.items[one.item].group
            for one in each.criteria
            if one.status == NOT_FOUND and one.met_label is not None and one.source != "rule" and one.plain
        }
        if len(own) > _MOST_LACKING * len(groups):
            raise DataError(
                f"{each.judge.name}: its files lack verdicts on {len(own):,} of {len(groups):,} prompts; what is "
                "planned on the others would be promised of them alone. Name more files, label what they hold, or "
                "let the judge be asked (--url)"
            )
        found |= own
    return frozenset(found)


def keys_of(one: LabelledItem) -> list[Key]:
    """One for each criterion of the row."""
    [about] = of_item(one.item)
    return [_key(about, digest(each.judged_text)) for each in one.criteria]


def _key(about: Entry, criterion: str) -> Key:
    return about["prompt"], about["response"], about.get("reference"), about.get("documents"), criterion


def _read(path: Path, labels: Labels, options: ScoreOptions, say: Say) -> Iterator[_Said]:
    if path.match(PATTERN) or (path.is_dir() and any(path.glob(PATTERN))):
        yield from _of_ledger(path)
    elif path.is_file() and is_store(path):
        yield from _of_store(path, labels, options)
    else:
        yield from _of_log(path, say)


def _checked(given: Given, path: Path) -> Given:
    """Raises DataError for a file whose verdicts are none, because somebody else wrote it."""
    numbers = given.p is None or (isinstance(given.p, int | float) and 0 <= given.p <= 1)
    if not numbers or not isinstance(given.met, bool | None) or (given.status == "ok") is (given.met is None):
        raise DataError(f"{path}: a verdict has `status` {given.status!r}, `met` {given.met!r} and `p` {given.p!r}")
    return given


def _of_ledger(path: Path) -> Iterator[_Said]:
    """A line without a criterion is a rating, and one without a judge a request that failed."""
    for file in files_of([path]):
        for line in entries(file):
            try:
                by, key = line["judge"], _key(line, line["criterion"])
                given = Given(line["status"], line["met"], line["p"], line["p_raw"], None, line["source"])
            except (KeyError, TypeError, AttributeError):
                raise DataError(f"{file}: holds a line that is no verdict of a ledger") from None
            if by is not None and line["criterion"] is not None:
                yield _Said(by, key, given, line.get("mode"))


def _of_store(path: Path, labels: Labels, options: ScoreOptions) -> Iterator[_Said]:
    """A store knows digests of whole rows with the options, so that its rows are found by those of the labels."""
    rows = {key_of(one.item, options): keys_of(one) for one in labels.items}
    for row, by, criteria in stored(path):
        if len(keys := rows.get(row, [])) == len(criteria):
            for key, given in zip(keys, criteria, strict=True):
                yield _Said(by, key, given)


def _of_log(path: Path, say: Say) -> Iterator[_Said]:
    for rollout in opened(path).rollouts(say):
        if not rollout.criteria:
            continue
        try:
            [about] = of_item(rollout.item())
        except ValidationError:
            continue  # what could not be sent to a judge is no labelled row
        for one in rollout.criteria:
            if one.text is None or one.fingerprint is None or one.status is None:
                continue
            given = Given(one.status, one.met, one.p, one.p_raw, None, one.source)
            yield _Said(one.fingerprint, _key(about, digest(one.text)), given)


def _one_judge(files: Files, found: Mapping[str, Mapping[Key, Given]]) -> str:
    where = ", ".join(map(str, files.paths))
    if files.fingerprint is not None and files.fingerprint in found:
        return files.fingerprint
    each = ", ".join(f"{by} ({len(said):,} criteria)" for by, said in sorted(found.items()))
    if files.fingerprint is not None or not found:
        whose = "" if files.fingerprint is None else f" of judge {files.fingerprint}"
        others = each and f", but of {each}"
        raise DataError(f"{files.name}: {where} holds no verdict{whose} on these labels{others}")
    if len(found) > 1:
        raise DataError(
            f"{files.name}: {where} holds verdicts of {len(found)} judges, {each}; name one, as in "
            f"--verdicts {files.name}@{next(iter(sorted(found)))}={files.paths[0]}"
        )
    return next(iter(found))


def _check_threshold(files: Files, given: Iterable[Given]) -> None:
    """Raises DataError: a cascade judges at 0.5, and what was met at another threshold says nothing of it."""
    other = Counter(one.p is None or one.met is None or one.met is (one.p >= _THRESHOLD) for one in given)[False]
    if other:
        raise DataError(
            f"{files.name}: {other:,} verdicts are on the other side of P(met) = {_THRESHOLD:g}: they were given at "
            "another `threshold`, and a cascade judges at this one"
        )


def _criteria(labels: Labels, found: Mapping[Key, Given]) -> Iterator[JudgedCriterion]:
    nothing = Given(NOT_FOUND, None, None, None, None, None)
    for index, one in enumerate(labels.items):
        for criterion, key in zip(one.criteria, keys_of(one), strict=True):
            given = found.get(key, nothing)
            yield JudgedCriterion(
                item=index,
                criterion=criterion.id or "",
                text=criterion.text,
                points=criterion.worth,
                tags=dict(criterion.tags),
                met_label=one.met[criterion.id or ""],
                status=given.status,
                met=given.met,
                p=given.p,
                p_raw=given.p_raw,
                label_mass=given.label_mass,
                source="rule" if criterion.verifier is not None else given.source,
                plain=criterion.plain,
            )
