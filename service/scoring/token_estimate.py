"""How many tokens questions will be, before they are rendered: a guess from their characters, learned from those that
were rendered, so that what cannot be let in is refused without the work of tokenising it.

Always true: a guess never refuses alone what would fit: it is meant low, and the exact count is checked afterwards.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from service.modes.modes import Question
from service.rubrics.rubric import Candidate
from service.scheduling import Tenant

_LOW = 0.8
_LEARNED = 0.1


class Lengths:
    def __init__(self) -> None:
        self._tokens_per_character = 0.0
        self._rendering: dict[Tenant, int] = defaultdict(int)

    def guess(self, questions: Sequence[Question]) -> int:
        """Tokens that would be computed for them; 1 at least."""
        return max(1, int(_LOW * self._tokens_per_character * _characters(questions)))

    def learn(self, questions: Sequence[Question], tokens: int) -> None:
        seen = tokens / max(1, _characters(questions))
        before = self._tokens_per_character
        self._tokens_per_character = seen if not before else (1 - _LEARNED) * before + _LEARNED * seen

    def rendering(self, tenant: Tenant) -> int:
        """Tokens of what is being rendered for the flow, and so waits nowhere yet."""
        return self._rendering[tenant]

    @contextmanager
    def render(self, tenant: Tenant, tokens: int) -> Iterator[None]:
        self._rendering[tenant] += tokens
        try:
            yield
        finally:
            self._rendering[tenant] -= tokens
            if not self._rendering[tenant]:
                del self._rendering[tenant]


def _characters(questions: Sequence[Question]) -> int:
    """Of the texts, what candidates share with others counted once."""
    candidates = {id(question.candidate): question.candidate for question in questions}
    turns = {id(one.turns): sum(len(turn.content) for turn in one.turns) for one in candidates.values()}
    asked = sum(len(part) for question in questions for part in question.asked)
    return sum(turns.values()) + sum(map(_own, candidates.values())) + asked


def _own(candidate: Candidate) -> int:
    return len(candidate.response) + len(candidate.reference or "")
