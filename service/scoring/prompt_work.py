"""Renders the prompts of one request in steps, so that the work can be sliced, and stopped when nobody waits.

Guarantees: each query ends with its prompt, with TooLong where its texts together are more than the judge's context, or
with neither where nobody waits for it. A text that several queries share is tokenised once.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from service.clock import Clock
from service.engine.base import Prompt
from service.errors import TooLong
from service.modes.modes import JudgingMode, Query, render_prompts
from service.prompting.bounded import BoundedTexts
from service.rubrics.rubric import Candidate

# A step puts together at most so many prompts, or prefixes of so many tokens.
_STEP_PROMPTS = 1024
_STEP_TOKENS = 100_000


@dataclass(frozen=True, slots=True)
class _Run:
    """Queries from `start` to before `stop` are about one candidate."""

    candidate: Candidate
    start: int
    stop: int


class PromptWork:
    """`waited_for` says of a query, by its index, whether anybody waits for it. `prompts` is in the queries' order."""

    def __init__(
        self,
        judging_mode: JudgingMode,
        queries: Sequence[Query],
        *,
        salt: str,
        priority: int,
        limit_tokens: int,
        waited_for: Callable[[int], bool],
    ) -> None:
        self.prompts: list[Prompt | TooLong | None] = [None] * len(queries)
        self._queries = queries
        self._salt = salt
        self._priority = priority
        self._limit_tokens = limit_tokens
        self._waited_for = waited_for
        self._texts = BoundedTexts(judging_mode.renderer.segmenter, limit_tokens)
        self._renderer = judging_mode.renderer.knowing(self._texts.known)
        self._steps = self._work()

    def run(self, clock: Clock, seconds: float) -> bool:
        """Works for about so long, in any thread, but in one at a time. Returns whether all is done."""
        until_s = clock.now() + seconds
        return all(clock.now() < until_s for _ in self._steps)

    def _work(self) -> Iterator[None]:
        runs = list(_runs(self._queries))
        yield from self._texts.tokenise(self._texts_to_read(runs))
        queries: list[int] = []
        tokens = 0
        for run in runs:
            for index, shared_tokens in self._readable(run):
                queries.append(index)
                tokens += shared_tokens
            if len(queries) >= _STEP_PROMPTS or tokens >= _STEP_TOKENS:
                self._render(queries)
                queries, tokens = [], 0
                yield
        self._render(queries)

    def _texts_to_read(self, runs: Sequence[_Run]) -> Iterator[str]:
        """Every text that somebody waits for. It is read while they are tokenised, which may take long."""
        for run in runs:
            for text in _shared_texts(run.candidate):
                if not self._anybody_waits(run):
                    break
                # A text that alone is too long makes the others of its queries needless.
                yield text
                if text in self._texts.too_long:
                    break
            else:
                for index in range(run.start, run.stop):
                    if self._waited_for(index):
                        yield from _own_texts(self._queries[index])

    def _anybody_waits(self, run: _Run) -> bool:
        return any(map(self._waited_for, range(run.start, run.stop)))

    def _readable(self, run: _Run) -> Iterator[tuple[int, int]]:
        """Index and tokens of each query whose texts fit into the context together; the prefix's tokens stand at the
        first one. The others are too long, or nobody waited for them when it was their turn."""
        try:
            shared = self._texts.tokens(_shared_texts(run.candidate))
        except KeyError:
            if not any(text in self._texts.too_long for text in _shared_texts(run.candidate)):
                return
            shared = None
        new_tokens = shared or 0
        for index in range(run.start, run.stop):
            if shared is None:
                self.prompts[index] = self._too_long()
                continue
            try:
                own = self._texts.tokens(_own_texts(self._queries[index]))
            except KeyError:
                continue
            if own is None or shared + own > self._limit_tokens:
                self.prompts[index] = self._too_long()
                continue
            yield index, new_tokens
            new_tokens = 0

    def _too_long(self) -> TooLong:
        return TooLong(f"the texts are more than the {self._limit_tokens} tokens that the judge reads")

    def _render(self, indexes: Sequence[int]) -> None:
        if indexes:
            queries = [self._queries[index] for index in indexes]
            prompts = render_prompts(self._renderer, queries, self._salt, self._priority)
            for index, prompt in zip(indexes, prompts, strict=True):
                self.prompts[index] = prompt


def _runs(queries: Sequence[Query]) -> Iterator[_Run]:
    """Queries about one candidate stand together."""
    start = 0
    for index in range(1, len(queries) + 1):
        if index == len(queries) or queries[index].candidate is not queries[start].candidate:
            yield _Run(queries[start].candidate, start, index)
            start = index


def _shared_texts(candidate: Candidate) -> Iterator[str]:
    for turn in candidate.turns:
        yield turn.content
    if candidate.reference is not None:
        yield candidate.reference
    yield from candidate.parts


def _own_texts(query: Query) -> Iterator[str]:
    """The texts of the criterion that it is about, or of all of them."""
    if query.criterion is not None:
        yield from query.criterion.shown
    else:
        for criterion in query.candidate.criteria:
            yield criterion.text
