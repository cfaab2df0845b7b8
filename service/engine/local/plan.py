"""What one pass of the local engine computes: a tree of pieces of text, each of them once. Pure.

Prompts of one batch begin alike: with the instructions, then with the conversation, then with the response. The plan
finds what they have in common and lays it out depth first, so that everything that follows on a piece is one slice.

Always true: every prompt is one row of one pass; along its pieces, from the root to its leaf, its tokens stand in
order; prompts of different salts have no piece in common; a pass of several rows is never larger than its limit.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from service.engine.base import Prompt, common_length

# A piece costs an attention call of its own in every layer; fewer tokens than this are sooner computed twice.
WORTH_SHARING = 16


@dataclass(frozen=True, slots=True)
class Piece:
    """Tokens [start, end) of a pass. Tokens [end, last) follow on them, which end in the rows [first_row, last_row).

    `position` is where the piece begins in each of its prompts.
    """

    start: int
    end: int
    last: int
    position: int
    first_row: int
    last_row: int

    def __len__(self) -> int:
        return self.end - self.start


@dataclass(frozen=True, slots=True)
class Pass:
    """`pieces` are depth first. A row is a prompt: its index in the batch, its leaf, its tokens computed for others."""

    ids: tuple[int, ...]
    pieces: tuple[Piece, ...]
    members: tuple[int, ...]
    leaves: tuple[Piece, ...]
    cached: tuple[int, ...]

    @property
    def shared(self) -> tuple[Piece, ...]:
        return tuple(piece for piece in self.pieces if piece.last > piece.end)

    @property
    def positions(self) -> list[int]:
        return [piece.position + offset for piece in self.pieces for offset in range(len(piece))]


def plan(
    prompts: Sequence[Prompt], served: Sequence[int], *, max_batch_tokens: int, share: bool = True, answer: int = 0
) -> Iterator[Pass]:
    """Passes over the prompts that are `served`, by index. `answer` tokens of room are counted for each.

    A pass is at most `max_batch_tokens`; or, so that a long prefix is not computed for each of its criteria again, its
    first prompt and a quarter of that.
    """
    ordered = sorted(served, key=lambda index: (prompts[index].salt, prompts[index].shared) if share else ())
    begin = size = limit = 0
    for at, index in enumerate(ordered):
        cost = len(prompts[index]) + answer
        known = common_length(prompts[ordered[at - 1]], prompts[index]) if share and at > begin else 0
        if at > begin and size + cost - known > limit:
            yield from _fitting(prompts, ordered[begin:at], limit, share, answer)
            begin, size, known = at, 0, 0
        if at == begin:
            limit = max(max_batch_tokens, cost + max_batch_tokens // 4)
        size += cost - known
    if ordered:
        yield from _fitting(prompts, ordered[begin:], limit, share, answer)


def _fitting(prompts: Sequence[Prompt], members: list[int], limit: int, share: bool, answer: int) -> Iterator[Pass]:
    """What was too short to be shared is not in the estimate of a pass's size: halve a pass that is over."""
    one = _Tree(prompts, members, share).laid_out()
    if len(members) == 1 or len(one.ids) + answer * len(members) <= limit:
        yield one
        return
    half = len(members) // 2
    yield from _fitting(prompts, members[:half], limit, share, answer)
    yield from _fitting(prompts, members[half:], limit, share, answer)


class _Tree:
    """Lays out prompts that are ordered by salt and shared part."""

    def __init__(self, prompts: Sequence[Prompt], members: Sequence[int], share: bool) -> None:
        self._prompts = prompts
        self._groups: list[list[int]] = []
        for index in members:
            same = share and self._groups and _alike(prompts[self._groups[-1][0]], prompts[index])
            self._groups[-1].append(index) if same else self._groups.append([index])
        firsts = [prompts[group[0]] for group in self._groups]
        self._common = [common_length(a, b) if share else 0 for a, b in pairwise(firsts)]
        self._ids: list[int] = []
        self._pieces: list[Piece] = []
        self._members: list[int] = []
        self._leaves: list[Piece] = []

    def laid_out(self) -> Pass:
        self._grow(0, len(self._groups), 0)
        cached = [leaf.position for leaf in self._leaves]
        for piece in self._pieces:
            cached[piece.first_row] -= len(piece) if piece.last > piece.end else 0
        return Pass(tuple(self._ids), tuple(self._pieces), tuple(self._members), tuple(self._leaves), tuple(cached))

    def _grow(self, first: int, last: int, depth: int) -> None:
        """Groups [first, last), which agree up to `depth`."""
        if last - first == 1:
            return self._grow_group(self._groups[first], depth)
        agreed = min(self._common[first : last - 1])
        if agreed - depth >= WORTH_SHARING:
            at = self._open(self._prompts[self._groups[first][0]].shared[depth:agreed], depth)
            self._grow(first, last, agreed)
            return self._close(at)
        for cut in [i + 1 for i in range(first, last - 1) if self._common[i] - depth < WORTH_SHARING]:
            self._grow(first, cut, depth)
            first = cut
        self._grow(first, last, depth)

    def _grow_group(self, members: list[int], depth: int) -> None:
        """Prompts with one and the same shared part, which is there up to `depth`."""
        rest = self._prompts[members[0]].shared[depth:]
        at = None
        if len(rest) * (len(members) - 1) >= WORTH_SHARING:
            at, rest, depth = self._open(rest, depth), (), depth + len(rest)
        for index in members:
            leaf = self._open(rest + self._prompts[index].own, depth)
            self._members.append(index)
            self._close(leaf)
            self._leaves.append(self._pieces[leaf])
        if at is not None:
            self._close(at)

    def _open(self, ids: tuple[int, ...], position: int) -> int:
        start, row = len(self._ids), len(self._members)
        self._ids += ids
        end = len(self._ids)
        self._pieces.append(Piece(start, end, end, position, row, row))
        return len(self._pieces) - 1

    def _close(self, at: int) -> None:
        self._pieces[at] = replace(self._pieces[at], last=len(self._ids), last_row=len(self._members))


def _alike(a: Prompt, b: Prompt) -> bool:
    return a.salt == b.salt and a.shared == b.shared
