"""Reads a row of any format as an item: the one law of every command that reads files.

Guarantees: a criterion's sign comes from the file or from the caller, and is never guessed from its words. Columns that
are not read become metadata, or are refused where the caller is strict.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any

from trainer_client import wire
from trainer_client.data import refusals, responses
from trainer_client.data.formats import table
from trainer_client.data.formats.task import Format, Task, category_of
from trainer_client.data.records import Raw, RowError, as_json
from trainer_client.errors import DataError

_SOURCES = ("data_source", "question_source", "dataset")
_MADE_HERE = ("perturbation",)
"""What `rubricd perturb` says of a row."""
_MEANT = ("prompt", "rubric", "reference", "documents", "group")


@dataclass(frozen=True, slots=True)
class Law:
    """What the caller says about all rows. `pitfalls` is what meeting a pitfall means that has negative points and no
    `polarity`; `strict` refuses columns that are not read. `join` gives a row a rubric from elsewhere. `stored` gives
    the criteria of a rubric that a row names by its `ref`; without it such a row is refused, unless `refs`. `say` is
    told what a person should know."""

    pitfalls: wire.Pitfalls | None = None
    response_column: str | None = None
    strict: bool = False
    join: Callable[[Raw], Raw] | None = None
    stored: Callable[[str], wire.Rubric] | None = None
    refs: bool = False
    say: Callable[[str], None] = field(default=lambda told: None)


LENIENT = Law()


@dataclass(frozen=True, slots=True)
class Read:
    """A row as an item, without responses where `for_training`. `source` names its data set, if the row does."""

    item: wire.Item
    source: str


def to_score(raw: Any, law: Law) -> Read:
    """The row with its responses and its metadata. Raises RowError."""
    row, form, task = _task(raw, law)
    own, used = task.responses, task.used
    if law.response_column is not None or own is None:
        found, columns = responses.found(row, law.response_column)
        used = (*used, *columns)
    else:
        found = _own_responses(own)
    one = _item(task, found, form, law)
    metadata = _metadata(row, task, used, law)
    return Read(one.model_copy(update={"metadata": metadata or None}), _source(row))


def for_training(raw: Any, law: Law) -> Read:
    """The row with an empty response and without group or metadata. Raises RowError."""
    row, form, task = _task(raw, law)
    if law.strict:
        _metadata(row, task, (*task.used, *responses.COLUMNS), law)
    one = _item(task, {"response": ""}, form, law)
    return Read(one.model_copy(update={"group": None}), _source(row))


def _task(raw: Any, law: Law) -> tuple[Raw, Format, Task]:
    row = table.unpacked(raw)
    if law.join is not None:
        row = law.join(row)
    form = table.format_of(row)
    for name in table.other_conversations(row):
        law.say(f"`prompt` is the conversation; `{name}` is not read")
    return row, form, form.read(row)


def _own_responses(own: Mapping[str, Any]) -> dict[str, Any]:
    ((column, value),) = own.items()
    return responses.fields(value, column)


def _item(task: Task, found: Mapping[str, Any], form: Format, law: Law) -> wire.Item:
    fields = {
        "id": task.id,
        "prompt": task.prompt,
        "rubric": task.rubric,
        "reference": task.reference,
        "documents": task.documents,
        "group": task.group,
    }
    one = refusals.item({**{key: value for key, value in fields.items() if value is not None}, **found}, form.names)
    if one.rubric is None:
        return one
    column = form.names.get("rubric", "rubric")
    rubric = _known(one.rubric, law, column)
    return one.model_copy(update={"rubric": signed(category_of(rubric), law.pitfalls, column)})


def _known(rubric: wire.Rubric, law: Law, column: str) -> wire.Rubric:
    """The rubric with its criteria, where they can be had. Raises RowError where they are needed and cannot."""
    if rubric.criteria or rubric.ref is None or (law.refs and law.stored is None):
        return rubric
    if law.stored is None:
        raise RowError(
            f"`{column}` is a reference, and its criteria are needed here; `rubricd rubrics get {rubric.ref} --into "
            "FOLDER` brings them, and `rubric_folder: FOLDER` of a run config (`--rubric-folder` of a command) reads "
            "them"
        )
    try:
        return law.stored(rubric.ref)
    except DataError as error:
        raise RowError(f"`{column}`: {error}") from None


def signed(rubric: wire.Rubric, pitfalls: wire.Pitfalls | None, column: str) -> wire.Rubric:
    """The rubric with a polarity for each pitfall that has none. Raises RowError where nobody says it."""
    places = [place for place, one in enumerate(rubric.criteria) if one.is_unsigned_pitfall]
    if not places:
        return rubric
    if pitfalls is None:
        raise RowError(
            f"`{column}[{places[0]}]` is a pitfall with negative points: some data sets describe a fault so, others "
            "how to avoid one; set `pitfalls: met_is_bad` or `met_is_good` (`--pitfalls` of a command), or give the "
            "criterion a `polarity`"
        )
    criteria = list(rubric.criteria)
    for place in places:
        criteria[place] = criteria[place].model_copy(update={"polarity": wire.POLARITY_OF[pitfalls]})
    return rubric.model_copy(update={"criteria": criteria})


def _metadata(row: Raw, task: Task, used: tuple[str, ...], law: Law) -> Raw:
    others = {name: as_json(value) for name, value in row.items() if name not in used and value is not None}
    for name in others:
        near = get_close_matches(name, [one for one in _MEANT if row.get(one) is None], n=1, cutoff=0.8)
        if law.strict and name not in (*_SOURCES, *_MADE_HERE):
            meant = f"write `{near[0]}`, or " if near else ""
            raise RowError(f"`{name}` is not read; {meant}leave it out, or leave --strict out to carry it as metadata")
        if near and name not in table.CONVERSATIONS:
            law.say(f"`{name}` is carried as metadata; did you mean `{near[0]}`?")
    return {**as_json(task.metadata), **others}


def _source(row: Raw) -> str:
    return next((row[name] for name in _SOURCES if isinstance(row.get(name), str) and row[name]), "")
