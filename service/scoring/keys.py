"""Of a question, what it is known by in the caches and which GRPO group it belongs to. Pure.

Always true: a response's questions share one digest of all that they have in common, so that a key costs a hash of the
criterion alone.
"""

from collections.abc import Hashable, Sequence

from service.cache.key import context_digest, verdict_key
from service.modes.modes import JudgingMode, Question
from service.rubrics.rubric import Candidate


def keys_of(judging_mode: JudgingMode, questions: Sequence[Question], scope: str) -> tuple[list[bytes], list[Hashable]]:
    """Of each question its key in the cache, and its GRPO group: those who answer the same conversation."""
    contexts: dict[int, tuple[bytes, Hashable]] = {}
    found = []
    for question in questions:
        candidate = question.candidate
        if id(candidate) not in contexts:
            contexts[id(candidate)] = _context(judging_mode, candidate, scope), hash(candidate.turns)
        context, group = contexts[id(candidate)]
        found.append((verdict_key(context, *question.asked, vote=question.vote), group))
    return [key for key, _ in found], [group for _, group in found]


def _context(judging_mode: JudgingMode, candidate: Candidate, scope: str) -> bytes:
    return context_digest(
        scope=scope,
        fingerprint=judging_mode.judge.fingerprint,
        turns=[(turn.role, turn.content) for turn in candidate.turns],
        reference=candidate.reference,
        response=candidate.response,
    )
