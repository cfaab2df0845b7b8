"""Plans forward passes over many prompts, so that each prefix they have in common is computed once. Pure.

Prompts of one batch begin alike: with the instructions, then the conversation, then the response. The plan is a prefix
tree of them (a radix tree) per pass. The tree is laid out depth first, so that all tokens below a node are one slice.

Guarantees: every prompt is one row of one pass. Along its nodes, from the root to its leaf, its tokens stand in order.
Prompts of different salts have no node in common. A pass of several rows is never larger than its limit.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from service.engine.base import Prompt, common_length

# A node costs an attention call of its own in every layer, so a shorter prefix is cheaper to compute twice.
MIN_SHARED_TOKENS = 16


@dataclass(frozen=True, slots=True)
class Node:
    """Tokens [start, end) of a pass. The tokens below the node are [end, last); they end in rows [first_row, last_row).

    `position` is the index of the node's first token in each of its prompts.
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
class TreePass:
    """One forward pass over a prefix tree. `nodes` are depth first.

    A row is a prompt: `members` holds its index in the batch, `leaves` its last node, and `cached` how many of its
    tokens are computed for an earlier row.
    """

    ids: tuple[int, ...]
    nodes: tuple[Node, ...]
    members: tuple[int, ...]
    leaves: tuple[Node, ...]
    cached: tuple[int, ...]

    @property
    def shared_nodes(self) -> tuple[Node, ...]:
        return tuple(node for node in self.nodes if node.last > node.end)

    @property
    def positions(self) -> list[int]:
        return [node.position + offset for node in self.nodes for offset in range(len(node))]


def plan_passes(
    prompts: Sequence[Prompt],
    indexes: Sequence[int],
    *,
    max_batch_tokens: int,
    share: bool = True,
    answer_tokens: int = 0,
) -> Iterator[TreePass]:
    """Yields passes over the prompts at `indexes`. Each prompt counts `answer_tokens` more than it has.

    A pass is at most `max_batch_tokens`; or, so that a long prefix is not computed again for each of its criteria, its
    first prompt and a quarter of that.
    """
    ordered = sorted(indexes, key=lambda index: (prompts[index].salt, prompts[index].shared) if share else ())
    first = size = limit = 0
    for at, index in enumerate(ordered):
        tokens = len(prompts[index]) + answer_tokens
        # Only the neighbour before is compared: the order puts the longest common prefix there.
        common = common_length(prompts[ordered[at - 1]], prompts[index]) if share and at > first else 0
        if at > first and size + tokens - common > limit:
            yield from _split_to_fit(prompts, ordered[first:at], limit, share, answer_tokens)
            first, size, common = at, 0, 0
        if at == first:
            limit = max(max_batch_tokens, tokens + max_batch_tokens // 4)
        size += tokens - common
    if ordered:
        yield from _split_to_fit(prompts, ordered[first:], limit, share, answer_tokens)


def _split_to_fit(
    prompts: Sequence[Prompt], members: list[int], limit: int, share: bool, answer_tokens: int
) -> Iterator[TreePass]:
    """Yields one pass, or the passes of both halves of `members` where one would be over the limit.

    That happens because the estimate of a pass's size counts every common prefix as shared, also those that are too
    short to be.
    """
    tree_pass = _TreeBuilder(prompts, members, share).build()
    if len(members) == 1 or len(tree_pass.ids) + answer_tokens * len(members) <= limit:
        yield tree_pass
        return
    half = len(members) // 2
    yield from _split_to_fit(prompts, members[:half], limit, share, answer_tokens)
    yield from _split_to_fit(prompts, members[half:], limit, share, answer_tokens)


class _TreeBuilder:
    """Lays out prompts that are ordered by salt and shared part."""

    def __init__(self, prompts: Sequence[Prompt], members: Sequence[int], share: bool) -> None:
        self._prompts = prompts
        self._groups: list[list[int]] = []
        for index in members:
            same = share and self._groups and _same_shared_part(prompts[self._groups[-1][0]], prompts[index])
            self._groups[-1].append(index) if same else self._groups.append([index])
        firsts = [prompts[group[0]] for group in self._groups]
        self._common = [common_length(a, b) if share else 0 for a, b in pairwise(firsts)]
        self._ids: list[int] = []
        self._nodes: list[Node] = []
        self._members: list[int] = []
        self._leaves: list[Node] = []

    def build(self) -> TreePass:
        self._add_groups(0, len(self._groups), 0)
        cached = [leaf.position for leaf in self._leaves]
        for node in self._nodes:
            # The first row below a shared node is the one that it is computed for.
            cached[node.first_row] -= len(node) if node.last > node.end else 0
        return TreePass(tuple(self._ids), tuple(self._nodes), tuple(self._members), tuple(self._leaves), tuple(cached))

    def _add_groups(self, first: int, last: int, depth: int) -> None:
        """Adds the groups [first, last), whose first `depth` tokens are equal and stand in the tree already."""
        if last - first == 1:
            return self._add_group(self._groups[first], depth)
        agreed = min(self._common[first : last - 1])
        if agreed - depth >= MIN_SHARED_TOKENS:
            at = self._open(self._prompts[self._groups[first][0]].shared[depth:agreed], depth)
            self._add_groups(first, last, agreed)
            return self._close(at)
        # All groups together agree on too little for a node: cut where neighbours do, so that runs of them may share.
        for cut in [i + 1 for i in range(first, last - 1) if self._common[i] - depth < MIN_SHARED_TOKENS]:
            self._add_groups(first, cut, depth)
            first = cut
        self._add_groups(first, last, depth)

    def _add_group(self, members: list[int], depth: int) -> None:
        """Adds prompts with one and the same shared part, of which `depth` tokens stand in the tree already."""
        rest = self._prompts[members[0]].shared[depth:]
        at = None
        # What is saved grows with the number of prompts, so a short prefix of many is worth a node too.
        if len(rest) * (len(members) - 1) >= MIN_SHARED_TOKENS:
            at, rest, depth = self._open(rest, depth), (), depth + len(rest)
        for index in members:
            leaf = self._open(rest + self._prompts[index].own, depth)
            self._members.append(index)
            self._close(leaf)
            self._leaves.append(self._nodes[leaf])
        if at is not None:
            self._close(at)

    def _open(self, ids: tuple[int, ...], position: int) -> int:
        start, row = len(self._ids), len(self._members)
        self._ids += ids
        end = len(self._ids)
        self._nodes.append(Node(start, end, end, position, row, row))
        return len(self._nodes) - 1

    def _close(self, at: int) -> None:
        self._nodes[at] = replace(self._nodes[at], last=len(self._ids), last_row=len(self._members))


def _same_shared_part(a: Prompt, b: Prompt) -> bool:
    return a.salt == b.salt and a.shared == b.shared
