"""What the local engine computes for a model that reads no trees: groups of one prefix and rows after it. Pure.

Always true: every prompt is in one pass of one group; a group's prompts have its shared part, and a pass of several
rows keeps within the budget.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from service.engine.base import Prompt


@dataclass(frozen=True, slots=True)
class Group:
    """Prompts by their index in the batch, in passes. `shared` is computed once; rows hold what comes after it."""

    shared: tuple[int, ...]
    passes: tuple[tuple[int, ...], ...]

    @property
    def members(self) -> list[int]:
        return [index for one in self.passes for index in one]


def groups(prompts: Sequence[Prompt], served: Sequence[int], *, max_batch_tokens: int, share: bool) -> Iterator[Group]:
    """Groups of prompts with an equal shared part, then one group without for those that share with nobody.

    `max_batch_tokens` bounds rows x longest row of a pass, the shared prefix counted in every row, because that is
    what the cache holds; a single prompt may exceed it.
    """
    by_shared: dict[tuple[str, tuple[int, ...]], list[int]] = {}
    for index in served:
        key = (prompts[index].salt, prompts[index].shared) if share else ("", ())
        by_shared.setdefault(key, []).append(index)
    alone: list[int] = []
    for (_, shared), members in by_shared.items():
        if len(members) == 1 or not shared:
            alone += members
        else:
            yield Group(shared, _passes({index: len(prompts[index]) for index in members}, max_batch_tokens))
    if alone:
        yield Group((), _passes({index: len(prompts[index]) for index in alone}, max_batch_tokens))


def _passes(sizes: dict[int, int], max_batch_tokens: int) -> tuple[tuple[int, ...], ...]:
    """Cut prompts, shortest first so that rows of a pass pad little, where rows x longest would exceed the budget."""
    passes: list[list[int]] = [[]]
    for index in sorted(sizes, key=lambda index: (sizes[index], index)):
        if passes[-1] and (len(passes[-1]) + 1) * sizes[index] > max_batch_tokens:
            passes.append([])
        passes[-1].append(index)
    return tuple(tuple(one) for one in passes)
