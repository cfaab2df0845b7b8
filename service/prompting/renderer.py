"""Renders a candidate's queries to the judge as prompts of token ids.

Guarantees: untrusted text is tokenised segment by segment (tokenization.py) and joined as ids. What a response's
criteria share is one prefix, tokenised once. A label is one distinct token in its place, or ConfigurationError is
raised and the service does not start.
"""

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Protocol, Self

from service.engine.base import Prompt
from service.errors import ConfigurationError
from service.prompting.bounded import TextMeasure
from service.prompting.template import BEFORE_WORD, NAMES, POINTS, Skeleton
from service.prompting.tokenization import Segmenter
from service.rubrics.rubric import Candidate, Criterion, Turn, without_documents

_MOST_PIECES = 10_000
"""Headers with a length are pieces too; so many of them are remembered."""
_COMMON_LABELS = (("Yes", "No"), ("yes", "no"), ("True", "False"), ("true", "false"), ("A", "B"))


def listed(names: Sequence[str]) -> str:
    """The options' names as a question lists them: a judge that does not read its labels begins with other words."""
    if not names or len(names[0]) > 1:  # a letter and a digit each, of which there are many
        return f"{names[0]} to {names[-1]}" if names else ""
    return f"{', '.join(names[:-1])} or {names[-1]}"


class PromptRenderer(Protocol):
    """Makes the prompts of one judging mode, whatever its engine reads."""

    @property
    def segmenter(self) -> TextMeasure: ...

    @property
    def skeleton(self) -> Skeleton: ...

    def knowing(self, known: Mapping[str, tuple[int, ...]]) -> Self: ...

    def criterion_texts(self, criterion: Criterion) -> tuple[str, ...]: ...

    def items_of(self, criteria: Sequence[Criterion]) -> tuple[tuple[str, str], ...]: ...

    def render(
        self, work: Sequence[tuple[Candidate, Sequence[Criterion]]], salt: str = "", priority: int = 0
    ) -> list[list[Prompt]]: ...

    def render_whole(self, candidates: Sequence[Candidate], salt: str = "", priority: int = 0) -> list[Prompt]: ...


class Renderer:
    """Renders one layout's prompts for one tokenizer. `skeleton` is the one that was given, with the place of its
    labels settled for this tokenizer. `graded` renders criteria with options, and `extracting` those with a value to
    extract, where the judge is asked about such; `marker` tells their prompts from others. Without `reads_references`
    reference answers and documents are left out."""

    def __init__(self, segmenter: Segmenter, skeleton: Skeleton) -> None:
        self._segmenter = segmenter
        self._pieces: dict[str, tuple[int, ...]] = {}
        self.name_options: Callable[[int], Sequence[str]] | None = None
        self.graded: Renderer | None = None
        self.extracting: Renderer | None = None
        self.marker = ""
        self.reads_references = True
        self.skeleton, self._before_label = self._place_labels(skeleton)

    @property
    def segmenter(self) -> Segmenter:
        return self._segmenter

    def knowing(self, known: Mapping[str, tuple[int, ...]]) -> Self:
        """The same renderer with the ids of untrusted texts that it has tokenised already."""
        other = copy.copy(self)
        other._segmenter = self._segmenter.knowing(known)
        other.graded = None if self.graded is None else self.graded.knowing(known)
        other.extracting = None if self.extracting is None else self.extracting.knowing(known)
        return other

    def asking_more(self, graded: "Renderer | None", extracting: "Renderer | None") -> Self:
        """The same renderer with those of other criteria than plain ones."""
        other = copy.copy(self)
        other.graded, other.extracting = graded, extracting
        return other

    def of(self, criterion: Criterion) -> "Renderer":
        """The renderer of this criterion's prompts. Raises ValueError where there is none."""
        if criterion.plain:
            return self
        found = self.graded if criterion.graded else self.extracting
        if found is None:
            raise ValueError("a criterion that this judge is not asked about")
        return found

    def render(
        self, work: Sequence[tuple[Candidate, Sequence[Criterion]]], salt: str = "", priority: int = 0
    ) -> list[list[Prompt]]:
        """Returns for each candidate one prompt a criterion, in order. A candidate's prompts share one `shared` tuple;
        a conversation or a rubric that several candidates have in common is tokenised once."""
        shared = self._shared_parts([candidate for candidate, _ in work])
        rubrics: dict[tuple[tuple[str, ...], ...], list[tuple[int, ...]]] = {}
        rendered = []
        for prefix, (_, criteria) in zip(shared, work, strict=True):
            read = tuple(map(self.criterion_texts, criteria))
            if read not in rubrics:
                ids = self._segmenter.encode_untrusted_all(texts[-1] for texts in read)
                rubrics[read] = [self._criterion(texts, own) for texts, own in zip(read, ids, strict=True)]
            rendered.append([Prompt(prefix, own, salt, priority) for own in rubrics[read]])
        return rendered

    def criterion_texts(self, criterion: Criterion) -> tuple[str, ...]:
        """What the judge reads of a criterion: its text, behind its points as `[7] ` where the layout shows them. Of
        one with options or a value: all that is shown of it, behind what tells its prompt from others."""
        if not criterion.plain:
            return (self.of(criterion).marker, criterion.kind, *criterion.shown)
        if not self.skeleton.shows_points:
            return (criterion.text,)
        return (shown_points(criterion.points), criterion.text)

    def render_shown(
        self, work: Sequence[tuple[Candidate, Sequence[Criterion]]], salt: str = "", priority: int = 0
    ) -> list[list[Prompt]]:
        """As `render`, of criteria that are more than met or not: all that is shown of one, in a place of its own each,
        and the options behind their names."""
        shared = self._shared_parts([candidate for candidate, _ in work])
        return [
            [Prompt(prefix, self._shown(criterion), salt, priority) for criterion in criteria]
            for prefix, (_, criteria) in zip(shared, work, strict=True)
        ]

    def render_whole(self, candidates: Sequence[Candidate], salt: str = "", priority: int = 0) -> list[Prompt]:
        """Returns for each candidate one prompt that lists its criteria, if it has any, with their weights."""
        rubrics: dict[tuple[tuple[str, str], ...], tuple[int, ...]] = {}
        rendered = []
        for prefix, candidate in zip(self._shared_parts(candidates), candidates, strict=True):
            items = self.items_of(candidate.criteria) if self.skeleton.item else ()
            if items not in rubrics:
                rubrics[items] = self._items(items) + self._piece(self.skeleton.tail)
            rendered.append(Prompt(prefix, rubrics[items], salt, priority))
        return rendered

    def items_of(self, criteria: Sequence[Criterion]) -> tuple[tuple[str, str], ...]:
        """What a prompt about several criteria lists: each text behind its weight, or behind its name where the judge
        answers each one and is shown no weights."""
        return named_items(criteria) if self.skeleton.names_items else rubric_items(criteria)

    def continue_prompt(self, prompt: Prompt, generated: str, closing: str) -> Prompt:
        """Appends the text that the judge generated, which is as untrusted as what it read, and a trusted closing."""
        own = prompt.own + self._segmenter.encode_untrusted(generated) + self._piece(closing)
        return Prompt(prompt.shared, own, prompt.salt, prompt.priority)

    def behind(self, prompt: Prompt, generated: str) -> Prompt:
        """What several prompts begin with that go on behind a text that the judge generated; it has no own part."""
        shared = (*prompt.ids, *self._segmenter.encode_untrusted(generated))
        return Prompt(shared, (), prompt.salt, prompt.priority)

    def label_ids(self, labels: Sequence[str], *, settable: bool = True) -> tuple[int, ...]:
        """The labels' token ids. Raises ConfigurationError unless each is one distinct token after the prompt's end,
        with a pair that would be, where they are `settable`."""
        ids = [self._label_id(label, settable) for label in labels]
        if len(set(ids)) != len(ids):
            raise ConfigurationError(f"the labels {list(labels)} are not distinct tokens of this judge")
        return tuple(ids)

    def ids_after(self, label: str) -> tuple[int, ...]:
        """The ids that `label` adds after the prompt's end, with the space before it where its place has one. Raises
        ConfigurationError where it changes those before."""
        added = self._ids_behind(self.skeleton.tail, self._before_label + label)
        if added is None:
            raise ConfigurationError(f"the label {label!r} runs into the judge's prompt; set other `labels`")
        return added

    def ids_behind(self, text: str, words: Sequence[str]) -> list[tuple[int, ...] | None]:
        """The ids that each word adds to a trusted text, None where it changes those before."""
        return [self._ids_behind(text, word) for word in words]

    def behind_tail(self, words: Sequence[str]) -> list[tuple[int, ...] | None]:
        """As `ids_behind`, at the label's place."""
        return self.ids_behind(self.skeleton.tail, [self._before_label + word for word in words])

    def place_words(self, text: str, words: Sequence[str]) -> tuple[str, tuple[int, ...]]:
        """The text, ended so that each word is one token behind it, and the words' token ids. Where this tokenizer cuts
        the words everywhere, these are the tokens that they begin with. Raises ConfigurationError where those are not
        distinct."""
        for whole in (True, False):
            for end, start in BEFORE_WORD:
                if start and not whole:
                    continue  # the beginning may be the space alone
                added = [self._ids_behind(text + end, start + word) for word in words]
                ids = tuple([each[0] for each in added if each and not (whole and len(each) > 1)])
                if len(set(ids)) == len(words):
                    return text + end, ids
        raise ConfigurationError(f"the words {list(words)} do not begin with distinct tokens of this judge")

    def control_id(self, text: str) -> int:
        """The id of a control token. Raises ConfigurationError where this tokenizer has none of that name."""
        ids = self._segmenter.encode_trusted(text)
        if len(ids) != 1:
            raise ConfigurationError(f"{text} is not one token of this judge")
        return ids[0]

    def _label_id(self, label: str, settable: bool) -> int:
        ids = self.ids_after(label)
        if len(ids) != 1:
            raise ConfigurationError(
                f"the label {label!r} is not one token after the judge's prompt (it makes {len(ids)})"
                + (f"; set other `labels` for this judge{self._labels_that_work()}" if settable else "")
            )
        return ids[0]

    def _place_labels(self, skeleton: Skeleton) -> tuple[Skeleton, str]:
        """Returns the skeleton whose tail ends so that each label is one token behind it, and what begins the label.
        Where there is no such place it is the first one, and `label_ids` says what is wrong."""
        for end, start in skeleton.label_gaps:
            tail = skeleton.tail + end
            added = [self._ids_behind(tail, start + label) for label in skeleton.labels]
            if all(ids is not None and len(ids) == 1 for ids in added):
                return replace(skeleton, tail=tail), start
        end, start = skeleton.label_gaps[0]
        return replace(skeleton, tail=skeleton.tail + end), start

    def _ids_behind(self, tail: str, text: str) -> tuple[int, ...] | None:
        """The ids that a text adds to the tail, None where it changes the tail's own."""
        before, joined = self._segmenter.encode_trusted(tail), self._segmenter.encode_trusted(tail + text)
        return joined[len(before) :] if joined[: len(before)] == before else None

    def _labels_that_work(self) -> str:
        def one_token(label: str) -> bool:
            ids = self._ids_behind(self.skeleton.tail, self._before_label + label)
            return ids is not None and len(ids) == 1

        found = [f'["{met}","{unmet}"]' for met, unmet in _COMMON_LABELS if one_token(met) and one_token(unmet)]
        return f", for example {found[0]}" if found else ""

    def _shared_parts(self, candidates: Sequence[Candidate]) -> list[tuple[int, ...]]:
        conversations: dict[tuple[tuple[Turn, ...], str | None], tuple[int, ...]] = {}
        keys = [
            (one.turns, one.reference) if self.reads_references else (without_documents(one.turns), None)
            for one in candidates
        ]
        for key in keys:
            # Responses of one group share their conversation, which is most of the text.
            if key not in conversations:
                conversations[key] = self._conversation(*key)
        encoded = iter(self._segmenter.encode_untrusted_all(part for one in candidates for part in one.parts))
        # What stands before a criterion is the same for all of them, up to its length where the header says that.
        opening = self._piece(self.skeleton.criterion.removesuffix(POINTS).partition("{length}")[0])
        return [
            conversations[key] + self._response(candidate, encoded) + opening
            for key, candidate in zip(keys, candidates, strict=True)
        ]

    def _response(self, candidate: Candidate, encoded: Iterator[tuple[int, ...]]) -> tuple[int, ...]:
        """A response behind its header, or each turn of a trajectory behind one of its own. Takes its texts."""
        if not candidate.trajectory:
            return self._headed(self.skeleton.response, next(encoded))
        ids: list[int] = []
        before = self.skeleton.trajectory
        for turn in candidate.trajectory:
            ids += self._headed(before + self.skeleton.turn.replace("{role}", turn.role), next(encoded))
            before = self.skeleton.between_turns
        return tuple(ids)

    def _conversation(self, turns: Sequence[Turn], reference: str | None) -> tuple[int, ...]:
        texts = self._segmenter.encode_untrusted_all(turn.content for turn in turns)
        ids = [*self._piece(self.skeleton.head + self.skeleton.conversation)]
        for n, (turn, text) in enumerate(zip(turns, texts, strict=True)):
            gap = self.skeleton.between_turns if n else ""
            ids += self._headed(gap + self.skeleton.turn.replace("{role}", turn.role), text)
        if reference is not None:
            ids += self._headed(self.skeleton.reference, self._segmenter.encode_untrusted(reference))
        return tuple(ids)

    def _items(self, items: Sequence[tuple[str, str]]) -> tuple[int, ...]:
        texts = self._segmenter.encode_untrusted_all(text for _, text in items)
        headers = [self.skeleton.item.replace("{weight}", weight) for weight, _ in items]
        return tuple(id for header, text in zip(headers, texts, strict=True) for id in self._headed(header, text))

    def _criterion(self, read: tuple[str, ...], text: tuple[int, ...]) -> tuple[int, ...]:
        """A criterion's own part. Its header, or the header's beginning, ends what all criteria share."""
        points = self._piece(read[0]) if len(read) > 1 else ()
        return self._rest_of_header(self.skeleton.criterion, text) + points + text + self._piece(self.skeleton.tail)

    def _shown(self, criterion: Criterion) -> tuple[int, ...]:
        first, *others = self._segmenter.encode_untrusted_all(criterion.shown)
        ids = [*self._rest_of_header(self.skeleton.criterion, first), *first]
        names = () if self.name_options is None else self.name_options(len(others))
        for name, text in zip(names or range(1, len(others) + 1), others, strict=True):
            ids += self._headed(self.skeleton.item.replace("{weight}", str(name)), text)
        return (*ids, *self._piece(self.skeleton.tail.replace(NAMES, listed(names))))

    def _headed(self, header: str, text: tuple[int, ...]) -> tuple[int, ...]:
        return self._piece(header.partition("{length}")[0]) + self._rest_of_header(header, text) + text

    def _rest_of_header(self, header: str, text: tuple[int, ...]) -> tuple[int, ...]:
        _, has_length, rest = header.partition("{length}")
        return self._piece(f"{len(text)}{rest}") if has_length else ()

    def _piece(self, text: str) -> tuple[int, ...]:
        """Ids of a template piece, tokenised once. Pieces come from the skeleton, the closed set of roles, the lengths
        of texts and the weights of criteria."""
        ids = self._pieces.get(text)
        if ids is None:
            ids = self._segmenter.encode_trusted(text)
            if len(self._pieces) >= _MOST_PIECES:  # other threads render too: nothing is looked up after this
                self._pieces.clear()
            self._pieces[text] = ids
        return ids


def shown_points(points: float) -> str:
    """Points as simple-evals puts them before a criterion's text."""
    return f"[{int(points) if points == int(points) else points}] "


def rubric_items(criteria: Sequence[Criterion]) -> tuple[tuple[str, str], ...]:
    """Weight and text of each criterion, as a prompt about the whole rubric lists them. The weight is the category
    where there is one (Rubrics as Rewards, version 2), else the points. Where a value is extracted the text is what the
    judge is to look for, since the criterion's own may say which value is right."""
    return tuple((criterion.category or f"{criterion.points:+g} points", criterion.shown[0]) for criterion in criteria)


def criterion_name(place: int) -> str:
    """The name of the criterion at this place, from 0, where several are answered in one document. A caller's ids,
    whatever characters they have, are in no prompt and in no document."""
    return f"c{place + 1}"


def named_items(criteria: Sequence[Criterion]) -> tuple[tuple[str, str], ...]:
    """Name and text of each criterion, as a prompt lists those that are answered in one document."""
    return tuple((criterion_name(place), criterion.text) for place, criterion in enumerate(criteria))
