"""Changes rubrics while TRL trains: what counts at a step, what is proposed from a group, and what becomes of it.

Guarantees: every process has the same state. It changes once a batch, from what all processes judged, and it is in the
checkpoint, so that a resumed run goes on with it. The proposer is asked by the first process alone. What a proposer
fails to say leaves the rubric as it was, and is counted.
"""

import json
import sys
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from accelerate import PartialState
from accelerate.utils import broadcast_object_list, gather_object
from transformers.trainer_callback import ExportableState, TrainerCallback

from trainer_client import wire
from trainer_client.client import Scored
from trainer_client.http.background_loop import BackgroundLoop
from trainer_client.live_rubrics.dropout import RubricDropout
from trainer_client.live_rubrics.evolution import (
    TAG,
    Change,
    Evolution,
    Evolved,
    RowRubric,
    admitted,
    rollout_hash,
    settled,
)
from trainer_client.live_rubrics.journal import Journal
from trainer_client.live_rubrics.pass_rates import PassRates
from trainer_client.live_rubrics.proposer import Proposer, ask_all
from trainer_client.live_rubrics.proposing import Group
from trainer_client.live_rubrics.step_rubric import StepRubric, step_rubric
from trainer_client.trl.metrics import Judged
from trainer_client.trl.prompt_row import Prompt, bare, row_of

_Heard = tuple[str, dict[str, bool], dict[str, bool]]
"""Of one answer: its row, what it meets of the evolved criteria, and of those that it was not shown."""


@dataclass(frozen=True, slots=True)
class Evolving:
    """Evolving rubrics of a run. `journal` keeps the proposer's answers, `log` what became of each criterion."""

    evolution: Evolution
    proposer: Proposer
    journal: Path | None = None
    log: Path | None = None


class LiveRubrics:
    """The rubrics of a run at each step."""

    def __init__(
        self,
        dropout: RubricDropout | None = None,
        evolving: Evolving | None = None,
        *,
        pass_rates: bool = False,
    ) -> None:
        """With `pass_rates` it keeps how far the policy has learnt each criterion."""
        self._dropout = dropout
        self._pass_rates: dict[str, PassRates] | None = {} if pass_rates else None
        self._evolving = evolving
        self._rows: dict[str, RowRubric] = {}
        self._changes: list[dict[str, Any]] = []
        self._grown: list[str] = []
        self._heard: list[_Heard] = []
        self._open_batch: int | None = None
        self._journal: Journal | None = None
        self._said_failure = False
        self._loop = BackgroundLoop("proposer", evolving.proposer) if evolving else None

    @property
    def stateful(self) -> bool:
        """Whether it must hear of each batch, and be in a checkpoint."""
        return self._evolving is not None or self._pass_rates is not None

    def weights(self, row: str, rubric: Sequence[wire.Criterion]) -> list[float] | None:
        """How likely each of these criteria is to be revealed next; None for all alike."""
        return None if self._pass_rates is None else self._pass_rates.get(row, PassRates()).weights(rubric)

    @property
    def changing(self) -> bool:
        """Whether a row's rubric is ever another than its own."""
        return self._dropout is not None or self._evolving is not None

    def rubric(self, row: str, criteria: Sequence[wire.Criterion], batch: int) -> StepRubric | None:
        """The rubric of a row in a batch; None where that is the row's own."""
        if not self.changing or not criteria:
            return None
        evolved = self._rows.get(row)
        drift = self._evolving.evolution.drift if self._evolving else 0.0
        return step_rubric(criteria, self._dropout, row=row, step=batch, evolved=evolved, drift=drift)

    def begin(self, batch: int) -> bool:
        """Hears that a batch begins, and returns whether criteria are proposed from its answers."""
        self._open_batch = batch
        return self._evolving is not None and batch % self._evolving.evolution.every == 0

    def propose(self, prompts: Sequence[Prompt], rubrics: Sequence[StepRubric | None], answers: Sequence[str]) -> Any:
        """Asks for criteria for the groups of this batch, of which this process has a part, and takes them over.
        Returns figures for the log."""
        assert self._evolving is not None and self._open_batch is not None
        own = [
            (row_of(prompt)["id"], bare(prompt), [one.judged_text for one in rubric.criteria], answer)
            for prompt, rubric, answer in zip(prompts, rubrics, answers, strict=True)
            if rubric is not None
        ]
        groups = _groups(gather_object(own))
        told: list[Any] = [self._proposed(groups) if _first() else None]
        rows, changes, figures = broadcast_object_list(told)[0]
        self._rows.update({row: RowRubric.of_json(one) for row, one in rows.items()})
        self._grown, self._changes = list(rows), changes
        return figures

    def _proposed(self, groups: Sequence[Group]) -> tuple[dict[str, Any], list[dict[str, Any]], dict[str, float]]:
        evolving, batch = self._evolving, self._open_batch
        assert evolving is not None and batch is not None and self._loop is not None
        if self._journal is None and evolving.journal is not None:
            self._journal = Journal(evolving.journal)
        evolution, name = evolving.evolution, evolving.proposer.name
        asking = partial(ask_all, evolving.proposer, groups, step=batch, most=evolution.propose, journal=self._journal)
        answers = self._loop.run(asking)
        rows, changes, failed = {}, [], 0
        for group, answer in zip(groups, answers, strict=True):
            if isinstance(answer, str):
                failed += 1
                self._say_failure(name, answer)
                continue
            origin = Evolved("", "", "positive", batch, name, tuple(map(rollout_hash, group.answers)))
            before = self._rows.get(group.row, RowRubric())
            rubric = [wire.Criterion(text=text, points=1.0) for text in group.criteria]
            row, happened = admitted(before, rubric, answer, origin, evolution.propose)
            rows[group.row] = row.as_json()
            changes += _told(group.row, row.version, happened)
        admitted_ones = sum(one["what"] == "proposed" for one in changes)
        share = failed / len(groups) if groups else 0.0
        return rows, changes, {"failed_share": share, "admitted": admitted_ones / max(len(groups), 1)}

    def _say_failure(self, name: str, why: str) -> None:
        if not self._said_failure:
            self._said_failure = True
            print(
                f"rubricd: the proposer {name} gave no criteria, and the rubric stays as it was: {why}; "
                "`evolving/failed_share` counts such groups",
                file=sys.stderr,
                flush=True,
            )

    def hear(self, judged: Sequence[Judged], prompts: Sequence[Prompt], columns: Mapping[str, Any]) -> None:
        """Hears the verdicts on this process's part of a batch; `columns` are those of the rollouts."""
        if any(columns.get("held_out") or ()):
            return
        for one, prompt, revealed in zip(judged, prompts, columns["revealed"], strict=True):
            if isinstance(one.audited, Scored):
                row = row_of(prompt)
                met = {verdict.id: verdict.met for verdict in one.audited.result.criteria if verdict.met is not None}
                evolved = {criterion.id for criterion in one.rubric.evolved} if one.rubric else set()
                ids = [criterion.get("id") or str(place) for place, criterion in enumerate(row["rubric"] or [])]
                shown = {ids[place] for place in json.loads(revealed)}
                bare = {id: value for id, value in met.items() if id not in shown | evolved}
                self._heard.append((row["id"], {id: met[id] for id in met.keys() & evolved}, bare))

    def settle(self, step: int) -> None:
        """Takes over what all processes heard of the batch that is under way; `step` is the optimiser's."""
        if not self.stateful or self._open_batch is None:
            return
        batch, self._open_batch = self._open_batch, None
        groups: dict[str, list[_Heard]] = defaultdict(list)
        for one in gather_object(self._heard):
            groups[one[0]].append(one)
        self._heard = []
        if self._pass_rates is not None:
            for row, group in groups.items():
                self._pass_rates[row] = self._pass_rates.get(row, PassRates()).after(bare for _, _, bare in group)
        if self._evolving is not None:
            self._settle_evolved(self._evolving, groups, step, batch)

    def _settle_evolved(
        self, evolving: Evolving, groups: Mapping[str, Sequence[_Heard]], step: int, batch: int
    ) -> None:
        changes, self._changes = self._changes, []
        rows, self._grown = {*groups, *self._grown}, []
        for row in sorted(rows & self._rows.keys()):
            verdicts: dict[str, list[float]] = defaultdict(list)
            for _, evolved, _ in groups.get(row, ()):
                for id, met in evolved.items():
                    verdicts[id].append(float(met))
            self._rows[row], happened = settled(self._rows[row], verdicts, evolving.evolution)
            changes += _told(row, self._rows[row].version, happened)
        if _first() and evolving.log is not None and changes:
            lines = (json.dumps({"step": step, "batch": batch, **one}, ensure_ascii=False) for one in changes)
            with evolving.log.open("a", encoding="utf-8") as file:
                file.writelines(f"{line}\n" for line in lines)

    def as_json(self) -> dict[str, Any]:
        rates = {row: dict(one.counts) for row, one in (self._pass_rates or {}).items()}
        return {"rows": {row: one.as_json() for row, one in self._rows.items()}, "pass_rates": rates}

    def restore(self, told: Mapping[str, Any]) -> None:
        """Takes over the state of a checkpoint."""
        self._rows = {row: RowRubric.of_json(one) for row, one in told["rows"].items()}
        if self._pass_rates is not None:
            self._pass_rates = {
                row: PassRates({id: (met, seen) for id, (met, seen) in counts.items()})
                for row, counts in told["pass_rates"].items()
            }
        self._changes, self._grown, self._heard, self._open_batch = [], [], [], None


class LiveState(TrainerCallback, ExportableState):
    """Settles each batch after its first update, and keeps the state in transformers' own file of a checkpoint, which
    is written last, so that a checkpoint has it or is none."""

    def __init__(self, live: LiveRubrics) -> None:
        self._live = live

    def state(self) -> dict[str, Any]:
        return {"args": {}, "attributes": self._live.as_json()}

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.global_step > 0:
            kept = state.stateful_callbacks.get(type(self).__name__)
            if kept is None:
                raise ValueError("this checkpoint is of a run whose rubrics did not change: begin a run of its own")
            self._live.restore(kept["attributes"])

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._live.settle(state.global_step)


def _first() -> bool:
    return bool(PartialState().is_main_process)


def _groups(told: Iterable[tuple[str, list[Any], list[str], str]]) -> list[Group]:
    """The groups in the order of the batch; their members are in the order of the processes that have them."""
    rows: dict[str, tuple[list[Any], list[str], list[str]]] = {}
    for row, prompt, criteria, answer in told:
        rows.setdefault(row, (prompt, criteria, []))[2].append(answer)
    return [Group(row, tuple(prompt), tuple(criteria), tuple(all)) for row, (prompt, criteria, all) in rows.items()]


def _told(row: str, version: int, changes: Iterable[Change]) -> list[dict[str, Any]]:
    return [{"row": row, "version": version, "what": one.what, TAG: asdict(one.criterion)} for one in changes]
