"""Defines a pair of responses of which one is known to be better, and what of it a judge is shown.

Guarantees: a judge is shown no id and no kind, and which response is better only by the place that the caller gives it.
"""

from dataclasses import dataclass

from trainer_client import wire

Prompt = str | list[wire.Message]


@dataclass(frozen=True, slots=True)
class PreferencePair:
    """`kind` says how the pair came to be: `given`, or the perturbation that made the rejected response. Pairs of one
    `group` belong to one prompt. A judge is shown the `documents` in every case."""

    id: str
    group: str
    kind: str
    prompt: Prompt
    chosen: str
    rejected: str
    rubric: wire.Rubric | None
    reference: str | None
    documents: list[str] | None = None

    def item(self, response: str, *, rubric: bool, reference: bool) -> wire.Item:
        """One of the responses, to be scored by itself."""
        return wire.Item(
            prompt=self.prompt,
            response=response,
            rubric=self.rubric if rubric else None,
            reference=self.reference if reference else None,
            documents=self.documents,
        )

    def both(self, *, rubric: bool, reference: bool) -> wire.PairItem:
        """Both responses, to be compared: the better one is `a`."""
        return wire.PairItem(
            prompt=self.prompt,
            a=self.chosen,
            b=self.rejected,
            rubric=self.rubric if rubric else None,
            reference=self.reference if reference else None,
            documents=self.documents,
        )
