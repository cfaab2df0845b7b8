"""The results file of `rubricd score`: a line of JSON for each response, and what is left to do when it exists already.

Always true: lines are in the order of the input once a run has ended, however it ended; what a run that goes on with a
file keeps of it was asked of the same item with the same options, and it is never lost.
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
    """What is to be scored: `items` by their place in the input, and for each of their responses its `places` among all
    responses. `kept` are the lines of an earlier run; `asked` says of every response what is asked about it."""

    path: Path
    items: Mapping[int, wire.Item]
    places: Sequence[int]
    asked: Sequence[str]
    kept: Mapping[int, Line]

    @property
    def judge(self) -> str | None:
        """The fingerprint of the one judge whose results are kept: no other may go on."""
        return next((line["judge"] for line in self.kept.values()), None)

    @property
    def all_kept_scored(self) -> bool:
        return all(line["score"] is not None for line in self.kept.values())

    @contextlib.contextmanager
    def writing(self) -> Iterator[Callable[[int, Outcome], None]]:
        """Writes outcomes as lines in the order of their numbers among this work. At the end, however it comes, what
        still waited for a predecessor is written too, and each line finds its place among the kept ones."""
        if self.kept:
            _rewrite(self.path, self.kept)
        added: dict[int, Line] = {}
        try:
            # A lone surrogate in an id cannot be encoded; the replacement is its JSON escape.
            with self.path.open(
                "a" if self.kept else "w", encoding="utf-8", errors="backslashreplace", newline="\n"
            ) as file:
                waiting: dict[int, Line] = {}
                written = 0

                def write(number: int, outcome: Outcome) -> None:
                    nonlocal written
                    place = self.places[number]
                    waiting[number] = added[place] = line(place, outcome, self.asked[place])
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
    """All items, or with `resume` those that the file has no result for. Raises DataError where the file is about other
    items or options."""
    ids = [item.result_ids(index) for index, item in enumerate(items)]
    asked = [_digest(item, n, options) for item, own in zip(items, ids, strict=True) for n in range(len(own))]
    kept = _kept(path, asked) if resume and path.exists() else {}
    left: dict[int, wire.Item] = {}
    places: list[int] = []
    first = 0
    for index, (item, own) in enumerate(zip(items, ids, strict=True)):
        group = range(first, first + len(own))
        first += len(own)
        if not all(place in kept for place in group):
            left[index] = item if item.id is not None else item.model_copy(update={"id": str(index)})
            places += group
            kept = {place: one for place, one in kept.items() if place not in group}
    return Work(path, left, places, asked, kept)


def _put(file: IO[str], lines: Sequence[Line]) -> None:
    if lines:
        file.write("".join(map(_text, lines)))
        file.flush()


def line(place: int, outcome: Outcome, asked: str) -> Line:
    """An outcome as it stands in the results file."""
    if isinstance(outcome, Scored):
        result = outcome.result.model_dump(mode="json")
        return {"index": place, **result, "judge": outcome.judge.fingerprint, "asked": asked}
    error = {"code": outcome.error.code, "message": str(outcome.error)}
    return {"index": place, "id": outcome.id, "error": error, "asked": asked}


def _kept(path: Path, asked: Sequence[str]) -> dict[int, Line]:
    """The file's results by their place. What failed, and a last line that was cut off, is asked for again."""
    kept: dict[int, Line] = {}
    with path.open(encoding="utf-8", newline="\n") as file:
        for number, text in enumerate(file, 1):
            if not text.endswith("\n"):
                break
            try:
                one = json.loads(text)
                place, same = one["index"], one["asked"] == asked[one["index"]]
            except (ValueError, LookupError, TypeError):
                place, same = -1, False
            if not same or place < 0:
                raise DataError(
                    f"{path}, line {number}: is no result of this input with these options; score it into another file "
                    "with --out, or start over with --force"
                )
            if "error" not in one:
                kept[place] = one
    return kept


def _digest(item: wire.Item, response: int, options: Mapping[str, Any]) -> str:
    """What is asked about a response, in 16 hexadecimal digits: the item, which of its responses, and the options."""
    asked = [item.model_dump(mode="python", by_alias=True), response, dict(options)]
    return hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()[:16]


def _rewrite(path: Path, lines: Mapping[int, Line]) -> None:
    """The file with these lines in order, or as it was."""
    path = path.resolve()
    new = path.with_name(f"{path.name}.new")
    with new.open("w", encoding="utf-8", errors="backslashreplace", newline="\n") as file:
        file.writelines(_text(lines[place]) for place in sorted(lines))
    os.replace(new, path)


def _text(one: Line) -> str:
    return f"{json.dumps(one, ensure_ascii=False)}\n"
