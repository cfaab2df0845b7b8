"""Makes prompts of texts, for judges whose servers read texts: a candidate as a JSON document, and a criterion's text.

The document is a System One state: `input` is the conversation, a list of turns with their roles, `submission` the
response, `reference_submission` the reference answer, and `documents` what the judge alone reads. What is not there has
no key.

Guarantees: each text is a JSON string of its own, so that none can pass for another part of the document.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Self

from service.engine.base import Prompt
from service.engine.text_prompt import BYTES_PER_WORD, words_of
from service.prompting.renderer import named_items
from service.prompting.template import Skeleton
from service.rubrics.rubric import Candidate, Criterion, Turn, without_documents


class TextSegmenter:
    """Measures texts in words, as a tokenizer would in tokens."""

    def surely_exceeds(self, text: str, tokens: int) -> bool:
        return len(text) > BYTES_PER_WORD * tokens

    def encode_untrusted_all(self, texts: Iterable[str]) -> list[tuple[int, ...]]:
        return [words_of(text) for text in texts]


class TextRenderer:
    """`referable`: the server's protocol has a place for a reference answer."""

    def __init__(self, referable: bool) -> None:
        self.segmenter = TextSegmenter()
        self.skeleton = Skeleton(
            name="rubricd",
            head="",
            tail="",
            conversation="input",
            turn="role content",
            reference="reference_submission" if referable else "",
            response="submission",
            trajectory="submission",
            criterion="",
            referable=referable,
        )

    def knowing(self, known: Mapping[str, tuple[int, ...]]) -> Self:
        """The same: a text's words are as fast to make as to look up."""
        return self

    def criterion_texts(self, criterion: Criterion) -> tuple[str, ...]:
        """What the judge reads of a criterion."""
        return (criterion.text,)

    def render(
        self, work: Sequence[tuple[Candidate, Sequence[Criterion]]], salt: str = "", priority: int = 0
    ) -> list[list[Prompt]]:
        """Returns for each candidate one prompt a criterion, in order, which share one `shared` tuple."""
        rendered = []
        for candidate, criteria in work:
            shared = words_of(state_of(candidate))
            rendered.append([Prompt(shared, words_of(criterion.text), salt, priority) for criterion in criteria])
        return rendered

    def items_of(self, criteria: Sequence[Criterion]) -> tuple[tuple[str, str], ...]:
        return named_items(criteria)

    def render_whole(self, candidates: Sequence[Candidate], salt: str = "", priority: int = 0) -> list[Prompt]:
        """Returns for each candidate one prompt that has its criteria under their names, as a JSON object."""
        return [
            Prompt(words_of(state_of(one)), words_of(_json(dict(self.items_of(one.criteria)))), salt, priority)
            for one in candidates
        ]


def state_of(candidate: Candidate) -> str:
    """The candidate's document."""
    state: dict[str, Any] = {}
    if turns := without_documents(candidate.turns):
        state["input"] = _turns(turns)
    state["submission"] = _turns(candidate.trajectory) if candidate.trajectory else candidate.response
    if candidate.reference is not None:
        state["reference_submission"] = candidate.reference
    if documents := candidate.documents:
        state["documents"] = list(documents)
    return _json(state)


def _turns(turns: Sequence[Turn]) -> list[dict[str, str]]:
    return [{"role": turn.role, "content": turn.content} for turn in turns]


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
