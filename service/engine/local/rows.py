"""Plans padded rows for models that cannot read a prefix tree: groups of one prefix, and passes of rows after it. Pure.

Guarantees: every prompt is in one pass of one group. The prompts of a group have its shared part. A pass of several
rows keeps within the token budget.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from service.engine.base import Prompt


@dataclass(frozen=True, slots=True)
class RowGroup:
    """Prompts by their index in the batch, in passes. `shared` is computed once; rows hold what comes after it."""

    shared: tuple[int, ...]
    passes: tuple[tuple[int, ...], ...]

    @property
    def members(self) -> list[int]:
        return [index for members in self.passes for index in members]


def plan_rows(
    prompts: Sequence[Prompt], indexes: Sequence[int], *, max_batch_tokens: int, share: bool
) -> Iterator[RowGroup]:
    """Yields groups of prompts with an equal shared part, then one group without for those that share with nobody.

    `max_batch_tokens` bounds rows x longest row of a pass. The shared prefix counts in every row, because that is what
    the cache holds. A single prompt may exceed it.
    """
    by_shared: dict[tuple[str, tuple[int, ...]], list[int]] = {}
    for index in indexes:
        key = (prompts[index].salt, prompts[index].shared) if share else ("", ())
        by_shared.setdefault(key, []).append(index)
    unshared: list[int] = []
    for (_, shared), members in by_shared.items():
        if len(members) == 1 or not shared:
            unshared += members
        else:
            yield RowGroup(
                shared, _split_into_passes({index: len(prompts[index]) for index in members}, max_batch_tokens)
            )
    if unshared:
        yield RowGroup((), _split_into_passes({index: len(prompts[index]) for index in unshared}, max_batch_tokens))


def _split_into_passes(lengths: dict[int, int], max_batch_tokens: int) -> tuple[tuple[int, ...], ...]:
    """Cuts prompts into passes where rows x longest would exceed the budget."""
    passes: list[list[int]] = [[]]
    # Shortest first, so that the rows of a pass pad little, and so that the next prompt is the longest of its pass.
    for index in sorted(lengths, key=lambda index: (lengths[index], index)):
        if passes[-1] and (len(passes[-1]) + 1) * lengths[index] > max_batch_tokens:
            passes.append([])
        passes[-1].append(index)
    return tuple(tuple(members) for members in passes)
