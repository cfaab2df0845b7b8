"""Cases as training rows: what the service would ask, each case's criteria packed behind its shared prefix.

Guarantees: The ids are the service's own (its renderer makes them). A criterion sees the prefix and itself, and its
positions go on from the prefix's end, so a packed row computes what the service's separate prompts compute. The head,
equal in every row, is computed once per batch and only ever stands before the rows.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch
from transformers import PreTrainedTokenizerFast

from miniature.judge.tokenizer import LABELS
from miniature.world import cases
from miniature.world.cases import Case
from miniature.world.clinic import Criterion as Asked
from miniature.world.clinic import key_items
from miniature.world.oracle import met, pieces
from miniature.world.ratings import Rated
from miniature.world.responses import Step
from service.engine.base import Prompt
from service.modes.rating import find_scale
from service.prompting.renderer import Renderer, rubric_items
from service.prompting.template import build_skeleton
from service.prompting.tokenization import Segmenter
from service.rubrics.rubric import Candidate, Criterion, Turn

Hints = list[tuple[int, bool]]
"""Tokens of a prompt, by their place in it, and what is true there."""
RatingMode = Literal["implicit", "likert"]
MODES = ("verdict", "implicit", "likert")
_EARLY = 7


@dataclass(frozen=True, slots=True)
class Batch:
    """B rows of L tokens after a head of H. Padding is at the end and nobody sees it."""

    head: torch.Tensor  # (1, H) ids
    ids: torch.Tensor  # (B, L)
    positions: torch.Tensor  # (B, L), counted from the start of the head
    mask: torch.Tensor  # (B, 1, L, H + L), added to attention scores
    real: torch.Tensor  # (B, L) bool: not padding
    follows: torch.Tensor  # (B, L) bool: the next token of the row continues this one's text
    asked: torch.Tensor  # (N, 2) row and column of each criterion's last token
    labels: torch.Tensor  # (N,) id of the right label
    early: torch.Tensor  # (M, 2) the few tokens before each criterion's last one
    early_labels: torch.Tensor  # (M,)
    hinted: torch.Tensor  # (K, 2) tokens whose truth is a part of the answer's
    hint_labels: torch.Tensor  # (K,)


class Packer:
    """Makes batches for one tokenizer, of one mode each."""

    def __init__(self, tokenizer: PreTrainedTokenizerFast) -> None:
        segmenter = Segmenter(tokenizer)
        self._tokenizer, self._segmenter = tokenizer, segmenter
        self._renderers = {mode: Renderer(segmenter, build_skeleton(tokenizer, mode=mode)) for mode in MODES}
        self._heads = {mode: _head(segmenter, renderer) for mode, renderer in self._renderers.items()}
        self.head = self._heads["verdict"]
        verdicts = self._renderers["verdict"]
        self.tail_tokens = len(segmenter.encode_trusted(verdicts.skeleton.tail))
        self.yes, self.no = verdicts.label_ids(LABELS)
        scale = find_scale(self._renderers["likert"])
        if scale.ten_id is not None:
            raise ValueError("a rating of 10 is one token here, and the judge has learned to write two")
        self.digits = scale.digit_ids
        self.end = int(tokenizer.eos_token_id)

    def prompts(self, case: Case) -> list[Prompt]:
        """The service's prompts, one a criterion."""
        candidate = _candidate(case, case.criteria, None)
        return self._renderers["verdict"].render([(candidate, candidate.criteria)])[0]

    def batch(self, drawn: Sequence[Case]) -> Batch:
        """A row for each case, with all of its criteria. A hint at the end of each piece of the response says whether
        it is advice at all."""
        labels = [self.yes if met else self.no for case in drawn for met in case.met]
        prompts = [self.prompts(case) for case in drawn]
        renderer = self._renderers["verdict"]
        opening = len(self._segmenter.encode_trusted(renderer.skeleton.criterion))
        hints = [
            self._piece_hints(case.response, len(own[0].shared) - opening, lambda step: step is not None)
            for case, own in zip(drawn, prompts, strict=True)
        ]
        return _packed(self.head, prompts, labels, self._places(hints, self.head))

    def _piece_hints(self, text: str, end: int, right: Callable[[Step | None], bool]) -> Hints:
        """The response's text ends at token `end` of its prompt."""
        offsets = self._tokenizer(text, return_offsets_mapping=True, add_special_tokens=False)["offset_mapping"]
        start = end - len(self._segmenter.encode_untrusted(text))
        return [
            (start + next(n for n, (_, last) in enumerate(offsets) if last >= place), right(step))
            for place, step in pieces(text)
            if len(offsets) == end - start
        ]

    def _places(self, hints: Sequence[Hints], head: tuple[int, ...]) -> list[list[tuple[int, int]]]:
        return [[(place - len(head), self.yes if true else self.no) for place, true in own] for own in hints]

    def rating_batch(self, mode: RatingMode, rows: Sequence[Sequence[Rated]], *, after_one: bool = False) -> Batch:
        """A row for each response, with all of the ratings asked of it, which have their reference in common.

        Each is asked as the service asks: for the first digit and, where that is a "1" (with `after_one` always),
        for what follows it. Hints say of each criterion that is listed whether it is met and, where none is, of each
        piece of the response whether it is right for the topic."""
        prompts: list[list[Prompt]] = []
        labels: list[int] = []
        hints: list[Hints] = []
        for row in rows:
            asked = self._renderers[mode].render_whole([_candidate(o.case, o.rubric, o.reference) for o in row])
            prompts.append([])
            for one, prompt in zip(row, asked, strict=True):
                digits = str(one.rating)
                prompts[-1].append(prompt)
                labels.append(self.digits[int(digits[0])])
                if digits[0] == "1" or after_one:
                    prompts[-1].append(replace(prompt, own=(*prompt.own, self.digits[1])))
                    labels.append(self.digits[0] if digits == "10" else self.end)
            hints.append(self._rating_hints(row[0], asked[0]))
        head = self._heads[mode]
        return _packed(head, prompts, labels, self._places(hints, head))

    def _rating_hints(self, rated: Rated, prompt: Prompt) -> Hints:
        text, end = rated.case.response, len(prompt.shared)
        if not rated.rubric:
            keys = key_items(rated.case.topic)
            return self._piece_hints(
                text, end, lambda step: step is not None and not step.negated and step.item in keys
            )
        hints: Hints = []
        item = self._renderers["implicit"].skeleton.item
        listed = rubric_items(_candidate(rated.case, rated.rubric, None).criteria)
        for criterion, (weight, words) in zip(rated.rubric, listed, strict=True):
            end += len(self._segmenter.encode_trusted(item.replace("{weight}", weight)))
            end += len(self._segmenter.encode_untrusted(words))
            hints.append((end - 1, met(criterion, text)))
        return hints


def _head(segmenter: Segmenter, renderer: Renderer) -> tuple[int, ...]:
    return segmenter.encode_trusted(renderer.skeleton.head + renderer.skeleton.conversation)


def _candidate(case: Case, criteria: Sequence[Asked], reference: str | None) -> Candidate:
    return Candidate(
        id=case.id,
        turns=tuple(Turn(role, content) for role, content in case.turns),
        response=case.response,
        criteria=tuple(Criterion(id=c.id, text=c.text, points=c.points) for c in criteria),
        reference=reference,
    )


def _packed(
    head: tuple[int, ...],
    prompts: Sequence[Sequence[Prompt]],
    answers: Sequence[int],
    hints: Sequence[Sequence[tuple[int, int]]],
) -> Batch:
    """Rows of prompts that begin alike. `answers` are the right labels, row after row; `hints` have for each row places
    and labels."""
    rows = [_row(head, own) for own in prompts]
    longest = max(len(ids) for ids, _, _ in rows)
    shape = (len(rows), longest)
    ids, spans = torch.zeros(shape, dtype=torch.long), torch.full(shape, -1)
    positions = torch.zeros(shape, dtype=torch.long)
    for n, (row, span, position) in enumerate(rows):
        ids[n, : len(row)] = torch.tensor(row)
        spans[n, : len(row)] = torch.tensor(span)
        positions[n, : len(row)] = torch.tensor(position) + len(head)
    ends = spans != torch.cat([spans[:, 1:], torch.full((len(rows), 1), -1)], dim=1)
    asked = torch.nonzero(ends & (spans > 0))
    labels = torch.tensor(answers)
    back = torch.arange(1, _EARLY + 1)
    early = torch.stack([asked[:, :1].expand(-1, len(back)), asked[:, 1:] - back], dim=-1).reshape(-1, 2)
    follows = (spans >= 0) & ~ends
    follows[early[:, 0], early[:, 1]] = False
    return Batch(
        head=torch.tensor([head]),
        ids=ids,
        positions=positions,
        mask=_mask(spans, len(head)),
        real=spans >= 0,
        follows=follows,
        asked=asked,
        labels=labels,
        early=early,
        early_labels=labels.repeat_interleave(len(back)),
        hinted=torch.tensor([[n, place] for n, own in enumerate(hints) for place, _ in own]).reshape(-1, 2).long(),
        hint_labels=torch.tensor([label for own in hints for _, label in own]).long(),
    )


def _row(head: tuple[int, ...], prompts: Sequence[Prompt]) -> tuple[list[int], list[int], list[int]]:
    """Ids, spans (0 for the prefix, then one number a prompt) and positions after the head."""
    shared = list(prompts[0].shared)
    if tuple(shared[: len(head)]) != head:
        raise ValueError("the prompts do not begin with the head")
    ids = shared[len(head) :]
    start = len(ids)
    spans, positions = [0] * start, list(range(start))
    for n, prompt in enumerate(prompts, 1):
        ids = [*ids, *prompt.own]
        spans += [n] * len(prompt.own)
        positions += range(start, start + len(prompt.own))
    return ids, spans, positions


def _mask(spans: torch.Tensor, head: int) -> torch.Tensor:
    """Returns what each token may see: the head, the prefix and its own span, backwards only."""
    rows, length = spans.shape
    backwards = torch.ones(length, length, dtype=torch.bool).tril()
    seen = (spans[:, None, :] == 0) | (spans[:, None, :] == spans[:, :, None])
    seen = torch.cat([torch.ones(rows, length, head, dtype=torch.bool), seen & backwards], dim=2)
    return torch.zeros(seen.shape).masked_fill(~seen, torch.finfo(torch.float32).min)[:, None]


def drawn(seed: int, step: int, size: int, mix: cases.Mix) -> list[Case]:
    """The training cases of one step; no case is used twice."""
    return [cases.training(seed, step * size + n, mix) for n in range(size)]
