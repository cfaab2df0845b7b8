"""Cuts a list of items into batches, finds what to send in place of a refused one, and says of which items it failed.

Guarantees: every item is in exactly one batch, in order, with the id that it has in the whole list; an item is never
split, so that a group's prompt is sent once. A failure carries no score and holds no reference to the call that failed.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic_core import PydanticSerializationError

from trainer_client import wire
from trainer_client.errors import InvalidRequest, RubricdClientError
from trainer_client.http import validation
from trainer_client.http.options import ScoreOptions, check_options
from trainer_client.http.outcomes import Failed
from trainer_client.http.rubrics import as_sent

ENVELOPE_BYTES = 1024
"""Bytes of a request besides its items, at most."""


@dataclass(frozen=True, slots=True)
class Entry:
    """An item with its id filled in. `index`: its place in the whole list; `first`: the place of its first result
    among all results; `size`: its bytes as JSON, None where it holds text that JSON cannot hold (a lone surrogate)."""

    item: wire.Item
    index: int
    first: int
    size: int | None

    @property
    def ids(self) -> list[str]:
        return self.item.result_ids(self.index)

    @property
    def places(self) -> range:
        """The places of its results among all results."""
        return range(self.first, self.first + len(self.ids))


def checked(items: Iterable[wire.Item | dict[str, Any]], options: ScoreOptions) -> wire.ScoreRequest | None:
    """The whole list as one request, None for an empty one. Raises ValueError for what cannot be sent, TypeError for an
    unknown option."""
    check_options(options)
    listed = list(items)
    return wire.ScoreRequest.model_validate({"items": listed, **options}) if listed else None


def entries(items: Sequence[wire.Item]) -> list[Entry]:
    """The items with their places. Ids are those of the whole list, so that cutting it changes none."""
    found: list[Entry] = []
    first = 0
    for index, item in enumerate(items):
        named = item if item.id is not None else item.model_copy(update={"id": str(index)})
        found.append(Entry(named, index, first, _size(named)))
        first += len(named.result_ids(index))
    return found


def cut(entries: Iterable[Entry], max_items: int, max_bytes: int) -> Iterator[list[Entry]]:
    """Batches of at most `max_items` responses and `max_bytes` bytes of items; a larger item is alone in its batch."""
    batch: list[Entry] = []
    items = size = 0
    for entry in entries:
        more, bytes_more = len(entry.ids), (entry.size or 0) + 1
        if batch and (items + more > max_items or size + bytes_more > max_bytes):
            yield batch
            batch, items, size = [], 0, 0
        batch.append(entry)
        items, size = items + more, size + bytes_more
    if batch:
        yield batch


def without(batch: Sequence[Entry], at_fault: frozenset[int]) -> list[Sequence[Entry]]:
    """The batches to send in place of a refused one: all but the items at fault, or two halves where none is named."""
    if at_fault:
        rest = [entry for place, entry in enumerate(batch) if place not in at_fault]
        return [rest] if rest else []
    middle = len(batch) // 2
    return [batch[:middle], batch[middle:]]


def failures(
    error: RubricdClientError, batch: Sequence[Entry], failed: Sequence[Entry], *, each: bool
) -> Iterator[tuple[int, Failed]]:
    """Places and outcomes of the `failed` items of a batch. With `each`, an item's error holds its own locations
    only."""
    reason = validation.with_places(error, [entry.index for entry in batch])
    # An outcome is kept for long; a raised error's frames and the body that was sent must not be kept with it.
    reason.__traceback__ = reason.__cause__ = reason.__context__ = None
    for entry in failed:
        own = validation.restricted_to(reason, entry.index) if each else reason
        for place, id in zip(entry.places, entry.ids, strict=True):
            yield place, Failed(id, own)


def unsendable(entry: Entry) -> Iterator[tuple[int, Failed]]:
    error = InvalidRequest(
        "a text of this item is not valid Unicode (a lone surrogate); decode it with errors='replace'",
        errors=((("items", entry.index), "not valid Unicode"),),
    )
    return failures(error, [entry], [entry], each=False)


def _size(item: wire.Item) -> int | None:
    try:
        return len(as_sent(item).model_dump_json(exclude_none=True, by_alias=True).encode())
    except PydanticSerializationError:
        return None
