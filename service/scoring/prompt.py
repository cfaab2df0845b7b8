"""A candidate's questions to the judge, as token ids.

Always true: untrusted text is tokenised segment by segment (segments.py) and joined as ids; what a response's criteria
share is one prefix, tokenised once; a label is one distinct token in its place, or the service does not start.
"""

from collections.abc import Sequence

from service.engine.base import Prompt
from service.errors import ConfigurationError
from service.scoring.layout import Skeleton
from service.scoring.rubric import Candidate, Criterion, Turn
from service.scoring.segments import Segmenter


class Renderer:
    """Renders one layout for one tokenizer."""

    def __init__(self, segmenter: Segmenter, skeleton: Skeleton) -> None:
        self.skeleton = skeleton
        self._segmenter = segmenter
        self._pieces: dict[str, tuple[int, ...]] = {}

    def render(self, work: Sequence[tuple[Candidate, Sequence[Criterion]]]) -> list[list[Prompt]]:
        """For each candidate one prompt a criterion, same order. A candidate's prompts share one `shared` tuple; a
        conversation or a rubric that several candidates have in common is tokenised once."""
        conversations: dict[tuple[tuple[Turn, ...], str | None], tuple[int, ...]] = {}
        rubrics: dict[tuple[str, ...], list[tuple[int, ...]]] = {}
        rendered = []
        for candidate, criteria in work:
            before, texts = (candidate.turns, candidate.reference), tuple(criterion.text for criterion in criteria)
            if before not in conversations:
                conversations[before] = self._conversation(*before)
            if texts not in rubrics:
                rubrics[texts] = [self._own(ids) for ids in self._segmenter.untrusted_all(texts)]
            shared = conversations[before] + self._response(candidate.response)
            rendered.append([Prompt(shared=shared, own=own) for own in rubrics[texts]])
        return rendered

    def label_ids(self, labels: Sequence[str]) -> tuple[int, ...]:
        """The labels' token ids. Raises ConfigurationError unless each is one distinct token after the prompt's end."""
        tail = self._piece(self.skeleton.tail)
        ids = [self._label_id(tail, label) for label in labels]
        if len(set(ids)) != len(ids):
            raise ConfigurationError(f"the labels {list(labels)} are not distinct tokens of this judge")
        return tuple(ids)

    def _label_id(self, tail: tuple[int, ...], label: str) -> int:
        joined = self._segmenter.trusted(self.skeleton.tail + label)
        if joined[: len(tail)] != tail or len(joined) != len(tail) + 1:
            raise ConfigurationError(
                f"the label {label!r} is not one token after the judge's prompt (it makes {len(joined) - len(tail)}); "
                "set other `labels` for this judge"
            )
        return joined[-1]

    def _conversation(self, turns: Sequence[Turn], reference: str | None) -> tuple[int, ...]:
        texts = self._segmenter.untrusted_all(turn.content for turn in turns)
        ids = [*self._piece(self.skeleton.head + self.skeleton.conversation)]
        for n, (turn, text) in enumerate(zip(turns, texts, strict=True)):
            gap = self.skeleton.between_turns if n else ""
            ids += [*self._piece(gap + self.skeleton.turn.format(role=turn.role)), *text]
        if reference is not None:
            ids += [*self._piece(self.skeleton.reference), *self._segmenter.untrusted(reference)]
        return tuple(ids)

    def _own(self, criterion: tuple[int, ...]) -> tuple[int, ...]:
        return self._piece(self.skeleton.criterion) + criterion + self._piece(self.skeleton.tail)

    def _response(self, response: str) -> tuple[int, ...]:
        return (*self._piece(self.skeleton.response), *self._segmenter.untrusted(response))

    def _piece(self, text: str) -> tuple[int, ...]:
        """Ids of a template piece, tokenised once. Pieces come from the skeleton and the closed set of roles."""
        if text not in self._pieces:
            self._pieces[text] = self._segmenter.trusted(text)
        return self._pieces[text]
