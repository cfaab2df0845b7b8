"""Makes the cache keys of one request's queries, and finds texts whose length alone says that they are too long.

Guarantees: a text that queries share is hashed once for all of them; what is hashed on the event loop at a time is
bounded, and longer texts are hashed in a thread.
"""

import asyncio
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from functools import lru_cache

from service.cache.key import context_digest, conversation_digest, texts_digest, verdict_key
from service.errors import TooLong
from service.modes.modes import JudgingMode, Query
from service.rubrics.rubric import Candidate

_IN_A_THREAD = 250_000
"""More characters than this take over a millisecond to hash."""
_SHORT = 1_000
_digest_of_short = lru_cache(maxsize=4096)(texts_digest)
"""Requests of a training ask the same criteria again and again: those that are short are remembered."""


@dataclass(frozen=True, slots=True)
class KeyedRun:
    """Queries that stand together and are about one candidate, each with its key, None where it is too long to be
    judged. `group` is that of the responses to the same conversation."""

    queries: Sequence[Query]
    keys: Sequence[bytes | None]
    group: Hashable


class QueryKeys:
    """The keys of one request's queries. `limit_tokens` is the judge's context."""

    def __init__(self, judging_mode: JudgingMode, scope: str, limit_tokens: int) -> None:
        self.too_long = TooLong(f"a text is certainly more than the {limit_tokens} tokens that the judge reads")
        self._renderer = judging_mode.renderer
        self._segmenter = judging_mode.renderer.segmenter
        # A verdict is kept as the judge gave it, so the calibration decides nothing of it.
        self._fingerprint = judging_mode.judge.uncalibrated
        self._scope = scope
        self._limit_tokens = limit_tokens
        # By identity: the request's texts live as long as this, and its candidates share them as objects.
        self._conversations: dict[tuple[int, int], bytes | None] = {}
        self._texts: dict[tuple[int, int], bytes | None] = {}

    async def of_run(self, queries: Sequence[Query]) -> KeyedRun:
        """`queries` are about one candidate."""
        candidate = queries[0].candidate
        place = id(candidate.turns), id(candidate.reference)
        if place in self._conversations:
            conversation = self._conversations[place]
        else:
            conversation = self._conversations[place] = await self._conversation(candidate)
        if conversation is None or any(map(self._exceeds, candidate.parts)):
            return KeyedRun(queries, [None] * len(queries), None)
        context = await self._context(candidate, conversation)
        keys: list[bytes | None] = []
        for query in queries:
            about = query.criterion if query.criterion is not None else candidate.criteria
            text = id(about), query.vote
            if text in self._texts:
                texts = self._texts[text]
            elif query.criterion is not None and query.criterion.plain and len(query.criterion.text) <= _SHORT:
                texts = self._texts[text] = _digest_of_short(*query.texts(self._renderer), vote=query.vote)
            else:
                texts = self._texts[text] = await self._own(query)
            keys.append(None if texts is None else verdict_key(context, texts))
        return KeyedRun(queries, keys, conversation)

    async def _conversation(self, candidate: Candidate) -> bytes | None:
        turns, reference = candidate.turns, candidate.reference
        if any(self._exceeds(turn.content) for turn in turns) or (reference is not None and self._exceeds(reference)):
            return None
        pairs = [(turn.role, turn.content) for turn in turns]
        if sum(len(content) for _, content in pairs) + len(reference or "") > _IN_A_THREAD:
            return await asyncio.to_thread(conversation_digest, pairs, reference)
        return conversation_digest(pairs, reference)

    async def _context(self, candidate: Candidate, conversation: bytes) -> bytes:
        def digest() -> bytes:
            return context_digest(
                scope=self._scope,
                fingerprint=self._fingerprint,
                conversation=conversation,
                response=candidate.response,
                trajectory=[(turn.role, turn.content) for turn in candidate.trajectory],
            )

        return digest() if sum(map(len, candidate.parts)) <= _IN_A_THREAD else await asyncio.to_thread(digest)

    async def _own(self, query: Query) -> bytes | None:
        texts = query.texts(self._renderer)
        if any(map(self._exceeds, texts)):
            return None
        if sum(map(len, texts)) > _IN_A_THREAD:
            return await asyncio.to_thread(texts_digest, *texts, vote=query.vote)
        return texts_digest(*texts, vote=query.vote)

    def _exceeds(self, text: str) -> bool:
        return self._segmenter.surely_exceeds(text, self._limit_tokens)
