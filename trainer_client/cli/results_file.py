"""Writes the results file of `rubricd score`, a line of JSON for each response, and finds the work that is left in one.

Each line holds the item that it is the result of, with its metadata, so that a results file can be scored again.

Guarantees: once a run has ended, in any way, the lines are in the order of the input. A run that continues a file keeps
the results of the same items with the same options, and loses none.
"""

import contextlib
import hashlib
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from trainer_client import wire
from trainer_client.client import Outcome, Scored
from trainer_client.errors import DataError

Line = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Work:
    """The work that is left: `items` by their place in the input, and for each of their responses its `places` among
    all responses. `kept` holds the lines of an earlier run; `digests` identify each response with its options, and
    `owners` are its item and its number in it. Metadata is not sent; it waits here for the results."""

    path: Path
    items: Mapping[int, wire.Item]
    places: Sequence[int]
    digests: Sequence[str]
    kept: Mapping[int, Line]
    owners: Sequence[tuple[wire.Item, int]]

    @property
    def judge(self) -> str | None:
        """The fingerprint of the judge whose results are kept: no other judge may continue the file."""
        return next((line["judge"] for line in self.kept.values()), None)

    @property
    def all_kept_scored(self) -> bool:
        return all(line["score"] is not None for line in self.kept.values())

    @contextlib.contextmanager
    def writing(self) -> Iterator[Callable[[int, Outcome], None]]:
        """Writes outcomes as lines in the order of their numbers among this work. At the end, also after an error, the
        lines that waited for an earlier one are written too, and all lines are sorted among the kept ones."""
        if self.kept:
            _rewrite(self.path, self.kept)
        added: dict[int, Line] = {}
        try:
            # UTF-8 cannot encode a lone surrogate in an id; the replacement is its JSON escape.
            with self.path.open(
                "a" if self.kept else "w", encoding="utf-8", errors="backslashreplace", newline="\n"
            ) as file:
                waiting: dict[int, Line] = {}
                written = 0

                def write(number: int, outcome: Outcome) -> None:
                    nonlocal written
                    place = self.places[number]
                    waiting[number] = added[place] = line(place, outcome, self.digests[place], *self.owners[place])
                    ready = []
                    while written in waiting:
                        ready.append(waiting.pop(written))
                        written += 1
                    _put(file, ready)

                try:
                    yield write
                finally:
                    _put(file, [waiting[number] for number in sorted(waiting)])
        finally:
            if self.kept:
                _rewrite(self.path, {**self.kept, **added})


def open_work(items: Sequence[wire.Item], path: Path, options: Mapping[str, Any], *, resume: bool) -> Work:
    """The work for all items, or with `resume` for those without a result in the file. Raises DataError where the file
    holds results of other items or options."""
    ids = [item.result_ids(index) for index, item in enumerate(items)]
    owners = [(item, n) for item, own in zip(items, ids, strict=True) for n in range(len(own))]
    digests = [_digest(item, n, options) for item, n in owners]
    kept = _kept(path, digests) if resume and path.exists() else {}
    left: dict[int, wire.Item] = {}
    places: list[int] = []
    first = 0
    for index, (item, own) in enumerate(zip(items, ids, strict=True)):
        group = range(first, first + len(own))
        first += len(own)
        if not all(place in kept for place in group):
            left[index] = item.model_copy(update={"id": item.id or str(index), "metadata": None})
            places += group
            kept = {place: one for place, one in kept.items() if place not in group}
    return Work(path, left, places, digests, kept, owners)


def _put(file: IO[str], lines: Sequence[Line]) -> None:
    if lines:
        file.write("".join(map(_text, lines)))
        file.flush()


def line(place: int, outcome: Outcome, digest: str, item: wire.Item, response: int) -> Line:
    """An outcome as a line of the results file, with the item of this one response."""
    own = {"metadata": item.metadata, "digest": digest, "item": _item(item, response)}
    if isinstance(outcome, Scored):
        result = outcome.result.model_dump(mode="json")
        return {"index": place, **result, "judge": outcome.judge.fingerprint, "attempts": outcome.attempts, **own}
    error = {"code": outcome.error.code, "message": str(outcome.error)}
    return {"index": place, "id": outcome.id, "error": error, "attempts": outcome.error.attempts, **own}


def _item(item: wire.Item, response: int) -> Line:
    fields = item.model_dump(mode="json", by_alias=True, exclude_none=True, exclude={"id", "metadata"})
    responses = fields.pop("responses", None)
    return fields if responses is None else {**fields, "response": responses[response]}


def _kept(path: Path, digests: Sequence[str]) -> dict[int, Line]:
    """The file's results by their place, without failures and without a last line that is cut off."""
    kept: dict[int, Line] = {}
    with path.open(encoding="utf-8", newline="\n") as file:
        for number, text in enumerate(file, 1):
            if not text.endswith("\n"):
                break
            try:
                one = json.loads(text)
                place, same = one["index"], one["digest"] == digests[one["index"]]
            except (ValueError, LookupError, TypeError):
                place, same = -1, False
            if not same or place < 0:
                raise DataError(
                    f"{path}, line {number}: this is no result of this input with these options; name another file "
                    "with --out, or start again with --force"
                )
            if "error" not in one:
                kept[place] = one
    return kept


def _digest(item: wire.Item, response: int, options: Mapping[str, Any]) -> str:
    """A digest of the item, the number of its response, and the options, in 16 hexadecimal digits."""
    content = [item.model_dump(mode="python", by_alias=True, exclude={"metadata"}), response, dict(options)]
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


def _rewrite(path: Path, lines: Mapping[int, Line]) -> None:
    """Replaces the file by these lines in order, or leaves it as it was."""
    path = path.resolve()
    new = path.with_name(f"{path.name}.new")
    with new.open("w", encoding="utf-8", errors="backslashreplace", newline="\n") as file:
        file.writelines(_text(lines[place]) for place in sorted(lines))
    os.replace(new, path)


def _text(one: Line) -> str:
    return f"{json.dumps(one, ensure_ascii=False)}\n"
