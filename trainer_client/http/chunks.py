"""A long list of items as requests of bounded size, and as smaller ones where one is refused. Pure.

Always true: every item lands in exactly one chunk, in order, with the id it has in the whole list; an item is never
split, so a group's prompt is sent once.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from pydantic_core import PydanticSerializationError

from trainer_client import wire


@dataclass(frozen=True, slots=True)
class Entry:
    """An item with its id filled in. `index`: its place in the whole list; `first`: the place of its first result
    among all results; `size`: its bytes as JSON, None where it holds text that no JSON can (a lone surrogate)."""

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


def entries(items: Sequence[wire.Item]) -> list[Entry]:
    """The items with their places; ids are the whole list's, so that cutting it changes none."""
    found: list[Entry] = []
    first = 0
    for index, item in enumerate(items):
        named = item if item.id is not None else item.model_copy(update={"id": str(index)})
        found.append(Entry(named, index, first, _size(named)))
        first += len(named.result_ids(index))
    return found


def cut(entries: Iterable[Entry], max_items: int, max_bytes: int) -> Iterator[list[Entry]]:
    """Chunks of at most `max_items` responses and `max_bytes` bytes of items; a larger item goes alone."""
    chunk: list[Entry] = []
    items = size = 0
    for entry in entries:
        more, bytes_more = len(entry.ids), (entry.size or 0) + 1
        if chunk and (items + more > max_items or size + bytes_more > max_bytes):
            yield chunk
            chunk, items, size = [], 0, 0
        chunk.append(entry)
        items, size = items + more, size + bytes_more
    if chunk:
        yield chunk


def without(chunk: Sequence[Entry], blamed: frozenset[int]) -> list[Sequence[Entry]]:
    """What to ask for next in place of a chunk that was refused: all but the blamed, or the halves where nobody is."""
    if blamed:
        rest = [entry for place, entry in enumerate(chunk) if place not in blamed]
        return [rest] if rest else []
    middle = len(chunk) // 2
    return [chunk[:middle], chunk[middle:]]


def _size(item: wire.Item) -> int | None:
    try:
        return len(item.model_dump_json(exclude_none=True, by_alias=True).encode())
    except PydanticSerializationError:
        return None
