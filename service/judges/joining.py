"""Joins what several judges say about the candidates of one request, each as soon as all that were asked are done.

Guarantees: a candidate comes once, when every part that it belongs to has it; the failure of one part ends all of them;
when nobody listens any more, nothing runs on.
"""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace

from service.judges.judge import Judging
from service.rubrics.judgement import Judgement
from service.rubrics.rubric import Candidate, Criterion
from service.scoring.request import Usage

Judgements = Sequence[Judgement]


@dataclass(frozen=True, slots=True)
class Part:
    """What one judge was asked: its k-th candidate is the request's candidate `of[k]`."""

    judging: Judging
    of: Sequence[int]


async def joined(parts: Sequence[Part], candidates: int) -> AsyncGenerator[tuple[int, dict[int, Judgements]], None]:
    """Each candidate with its judgements by part, those of no part first."""
    left = [0] * candidates
    for part in parts:
        for i in part.of:
            left[i] += 1
    for i, parts_left in enumerate(left):
        if not parts_left:
            yield i, {}
    if len(parts) == 1:  # as it comes, without a task
        async with aclosing(parts[0].judging.judged()) as judged:
            async for k, judgements in judged:
                yield parts[0].of[k], {0: judgements}
        return
    found: list[dict[int, Judgements]] = [{} for _ in range(candidates)]
    done: asyncio.Queue[tuple[int, int, Judgements] | BaseException | None] = asyncio.Queue()
    tasks = [asyncio.create_task(_pass_on(n, part, done), name="judge") for n, part in enumerate(parts)]
    running = len(tasks)
    try:
        while running:
            one = await done.get()
            if isinstance(one, BaseException):
                raise one
            if one is None:
                running -= 1
                continue
            n, i, judgements = one
            found[i][n] = judgements
            if len(found[i]) == left[i]:
                yield i, found[i]
                found[i] = {}
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _pass_on(
    n: int, part: Part, done: "asyncio.Queue[tuple[int, int, Judgements] | BaseException | None]"
) -> None:
    try:
        async with aclosing(part.judging.judged()) as judged:
            async for k, judgements in judged:
                done.put_nowait((n, part.of[k], judgements))
    except Exception as error:
        done.put_nowait(error)
    else:
        done.put_nowait(None)


async def only(judging: Judging) -> Judgements:
    """The judgements of the one candidate. It is read to the end, where usage and reservation are settled."""
    found: Judgements | None = None
    async with aclosing(judging.judged()) as judged:
        async for _, judgements in judged:
            found = judgements
    if found is None:
        raise RuntimeError("a judge ended without a judgement")
    return found


Places = Sequence[Sequence[int]]
"""For each candidate the criteria of it that one judge is asked."""


def shares(candidates: Sequence[Candidate], places: Places) -> tuple[list[Candidate], list[int]]:
    """The candidates with these criteria alone, and which candidates they are; one without any is left out. Candidates
    that shared their criteria share what is left of them."""
    kept: dict[tuple[int, tuple[int, ...]], tuple[Criterion, ...]] = {}
    found: list[Candidate] = []
    of: list[int] = []
    for i, (candidate, own) in enumerate(zip(candidates, places, strict=True)):
        if not own:
            continue
        of.append(i)
        if len(own) == len(candidate.criteria):
            found.append(candidate)
            continue
        key = id(candidate.criteria), tuple(own)
        if key not in kept:
            kept[key] = tuple(candidate.criteria[j] for j in own)
        found.append(replace(candidate, criteria=kept[key]))
    return found, of


def total(usages: Sequence[Usage]) -> Usage:
    """What several judgings have used together. Of the waiting it is the most: they
    wait beside each other."""
    found = Usage()
    for one in usages:
        found.judgements += one.judgements
        found.cache_hits += one.cache_hits
        found.shared_hits += one.shared_hits
        found.deduplicated += one.deduplicated
        found.awaited += one.awaited
        found.prompt_tokens += one.prompt_tokens
        found.cached_tokens += one.cached_tokens
        found.completion_tokens += one.completion_tokens
        found.dollars += one.dollars
        found.priced += one.priced
        found.unpriced += one.unpriced
        found.render_s += one.render_s
        found.queue_s = max(found.queue_s, one.queue_s)
        found.engine_s = max(found.engine_s, one.engine_s)
    return found
