"""Cases as training rows: what the service would ask, each case's criteria packed behind its shared prefix.

Guarantees: The ids are the service's own (its renderer makes them). A criterion sees the prefix and itself, and its
positions go on from the prefix's end, so a packed row computes what the service's separate prompts compute. The head,
equal in every row, is computed once per batch and only ever stands before the rows.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from transformers import PreTrainedTokenizerFast

from miniature.judge.tokenizer import LABELS
from miniature.world import cases
from miniature.world.cases import Case
from service.engine.base import Prompt
from service.prompting.renderer import Renderer
from service.prompting.template import build_skeleton
from service.prompting.tokenization import Segmenter
from service.rubrics.rubric import Candidate, Criterion, Turn

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


class Packer:
    """Makes batches for one tokenizer."""

    def __init__(self, tokenizer: PreTrainedTokenizerFast) -> None:
        segmenter = Segmenter(tokenizer)
        self._renderer = Renderer(segmenter, build_skeleton(tokenizer))
        layout = self._renderer.skeleton
        self.head = segmenter.encode_trusted(layout.head + layout.conversation)
        self.tail_tokens = len(segmenter.encode_trusted(layout.tail))
        self.yes, self.no = self._renderer.label_ids(LABELS)

    def prompts(self, case: Case) -> list[Prompt]:
        """The service's prompts, one a criterion."""
        criteria = tuple(Criterion(id=c.id, text=c.text, points=c.points) for c in case.criteria)
        turns = tuple(Turn(role, content) for role, content in case.turns)
        candidate = Candidate(id=case.id, turns=turns, response=case.response, criteria=criteria)
        return self._renderer.render([(candidate, criteria)])[0]

    def batch(self, drawn: Sequence[Case]) -> Batch:
        rows = [self._row(case) for case in drawn]
        longest = max(len(ids) for ids, _, _ in rows)
        shape = (len(rows), longest)
        ids, spans = torch.zeros(shape, dtype=torch.long), torch.full(shape, -1)
        positions = torch.zeros(shape, dtype=torch.long)
        for n, (row, span, position) in enumerate(rows):
            ids[n, : len(row)] = torch.tensor(row)
            spans[n, : len(row)] = torch.tensor(span)
            positions[n, : len(row)] = torch.tensor(position) + len(self.head)
        ends = spans != torch.cat([spans[:, 1:], torch.full((len(rows), 1), -1)], dim=1)
        truth = [met for case in drawn for met in case.met]
        asked = torch.nonzero(ends & (spans > 0))
        labels = torch.tensor([self.yes if met else self.no for met in truth])
        back = torch.arange(1, _EARLY + 1)
        early = torch.stack([asked[:, :1].expand(-1, len(back)), asked[:, 1:] - back], dim=-1).reshape(-1, 2)
        follows = (spans >= 0) & ~ends
        follows[early[:, 0], early[:, 1]] = False
        return Batch(
            head=torch.tensor([self.head]),
            ids=ids,
            positions=positions,
            mask=_mask(spans, len(self.head)),
            real=spans >= 0,
            follows=follows,
            asked=asked,
            labels=labels,
            early=early,
            early_labels=labels.repeat_interleave(len(back)),
        )

    def _row(self, case: Case) -> tuple[list[int], list[int], list[int]]:
        """Ids, spans (0 for the prefix, then one number a criterion) and positions after the head."""
        prompts = self.prompts(case)
        shared = list(prompts[0].shared)
        if tuple(shared[: len(self.head)]) != self.head:
            raise ValueError("the prompts do not begin with the head")
        ids = shared[len(self.head) :]
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
