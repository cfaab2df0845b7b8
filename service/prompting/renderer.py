"""Renders a candidate's queries to the judge as prompts of token ids.

Guarantees: untrusted text is tokenised segment by segment (tokenization.py) and joined as ids. What a response's
criteria share is one prefix, tokenised once. A label is one distinct token in its place, or ConfigurationError is
raised and the service does not start.
"""

import copy
from collections.abc import Mapping, Sequence
from typing import Self

from service.engine.base import Prompt
from service.errors import ConfigurationError
from service.prompting.template import Skeleton
from service.prompting.tokenization import Segmenter
from service.rubrics.rubric import Candidate, Criterion, Turn


class Renderer:
    """Renders one layout's prompts for one tokenizer."""

    def __init__(self, segmenter: Segmenter, skeleton: Skeleton) -> None:
        self.skeleton = skeleton
        self._segmenter = segmenter
        self._pieces: dict[str, tuple[int, ...]] = {}

    @property
    def segmenter(self) -> Segmenter:
        return self._segmenter

    def knowing(self, known: Mapping[str, tuple[int, ...]]) -> Self:
        """The same renderer with the ids of untrusted texts that it has tokenised already."""
        other = copy.copy(self)
        other._segmenter = self._segmenter.knowing(known)
        return other

    def render(
        self, work: Sequence[tuple[Candidate, Sequence[Criterion]]], salt: str = "", priority: int = 0
    ) -> list[list[Prompt]]:
        """Returns for each candidate one prompt a criterion, in order. A candidate's prompts share one `shared` tuple;
        a conversation or a rubric that several candidates have in common is tokenised once."""
        shared = self._shared_parts([candidate for candidate, _ in work])
        rubrics: dict[tuple[str, ...], list[tuple[int, ...]]] = {}
        rendered = []
        for prefix, (_, criteria) in zip(shared, work, strict=True):
            texts = tuple(criterion.text for criterion in criteria)
            if texts not in rubrics:
                rubrics[texts] = [self._own_part(ids) for ids in self._segmenter.encode_untrusted_all(texts)]
            rendered.append([Prompt(prefix, own, salt, priority) for own in rubrics[texts]])
        return rendered

    def render_whole(self, candidates: Sequence[Candidate], salt: str = "", priority: int = 0) -> list[Prompt]:
        """Returns for each candidate one prompt that lists its criteria, if it has any, with their weights."""
        rubrics: dict[tuple[tuple[str, str], ...], tuple[int, ...]] = {}
        rendered = []
        for prefix, candidate in zip(self._shared_parts(candidates), candidates, strict=True):
            items = rubric_items(candidate.criteria)
            if items not in rubrics:
                rubrics[items] = self._own_part(self._encode_items(items))
            rendered.append(Prompt(prefix, rubrics[items], salt, priority))
        return rendered

    def continue_prompt(self, prompt: Prompt, generated: str, closing: str) -> Prompt:
        """Appends the text that the judge generated, which is as untrusted as what it read, and a trusted closing."""
        own = prompt.own + self._segmenter.encode_untrusted(generated) + self._piece(closing)
        return Prompt(prompt.shared, own, prompt.salt, prompt.priority)

    def label_ids(self, labels: Sequence[str]) -> tuple[int, ...]:
        """The labels' token ids. Raises ConfigurationError unless each is one distinct token after the prompt's end."""
        ids = [self._label_id(label) for label in labels]
        if len(set(ids)) != len(ids):
            raise ConfigurationError(f"the labels {list(labels)} are not distinct tokens of this judge")
        return tuple(ids)

    def ids_after(self, label: str) -> tuple[int, ...]:
        """The ids that `label` adds after the prompt's end. Raises ConfigurationError where it changes those before."""
        tail = self._piece(self.skeleton.tail)
        joined = self._segmenter.encode_trusted(self.skeleton.tail + label)
        if joined[: len(tail)] != tail:
            raise ConfigurationError(f"the label {label!r} runs into the judge's prompt; set other labels")
        return joined[len(tail) :]

    def control_id(self, text: str) -> int:
        """The id of a control token. Raises ConfigurationError where this tokenizer has none of that name."""
        ids = self._segmenter.encode_trusted(text)
        if len(ids) != 1:
            raise ConfigurationError(f"{text} is not one token of this judge")
        return ids[0]

    def _label_id(self, label: str) -> int:
        ids = self.ids_after(label)
        if len(ids) != 1:
            raise ConfigurationError(
                f"the label {label!r} is not one token after the judge's prompt (it makes {len(ids)}); "
                "set other `labels` for this judge"
            )
        return ids[0]

    def _shared_parts(self, candidates: Sequence[Candidate]) -> list[tuple[int, ...]]:
        conversations: dict[tuple[tuple[Turn, ...], str | None], tuple[int, ...]] = {}
        for candidate in candidates:
            # Responses of one group share their conversation, which is most of the text.
            key = candidate.turns, candidate.reference
            if key not in conversations:
                conversations[key] = self._conversation(*key)
        responses = self._segmenter.encode_untrusted_all(candidate.response for candidate in candidates)
        header = self._piece(self.skeleton.response)
        return [
            conversations[candidate.turns, candidate.reference] + header + response
            for candidate, response in zip(candidates, responses, strict=True)
        ]

    def _conversation(self, turns: Sequence[Turn], reference: str | None) -> tuple[int, ...]:
        texts = self._segmenter.encode_untrusted_all(turn.content for turn in turns)
        ids = [*self._piece(self.skeleton.head + self.skeleton.conversation)]
        for n, (turn, text) in enumerate(zip(turns, texts, strict=True)):
            gap = self.skeleton.between_turns if n else ""
            ids += [*self._piece(gap + self.skeleton.turn.format(role=turn.role)), *text]
        if reference is not None:
            ids += [*self._piece(self.skeleton.reference), *self._segmenter.encode_untrusted(reference)]
        return tuple(ids)

    def _encode_items(self, items: Sequence[tuple[str, str]]) -> tuple[int, ...]:
        texts = self._segmenter.encode_untrusted_all(text for _, text in items)
        heads = [self._segmenter.encode_trusted(self.skeleton.item.format(weight=weight)) for weight, _ in items]
        return tuple(id for head, text in zip(heads, texts, strict=True) for id in (*head, *text))

    def _own_part(self, criterion: tuple[int, ...]) -> tuple[int, ...]:
        return self._piece(self.skeleton.criterion) + criterion + self._piece(self.skeleton.tail)

    def _piece(self, text: str) -> tuple[int, ...]:
        """Ids of a template piece, tokenised once. Pieces come from the skeleton and the closed set of roles."""
        if text not in self._pieces:
            self._pieces[text] = self._segmenter.encode_trusted(text)
        return self._pieces[text]


def rubric_items(criteria: Sequence[Criterion]) -> tuple[tuple[str, str], ...]:
    """Weight and text of each criterion, as a prompt about the whole rubric lists them. The weight is the category
    where there is one (Rubrics as Rewards, version 2), else the points."""
    return tuple((criterion.category or f"{criterion.points:+g} points", criterion.text) for criterion in criteria)
