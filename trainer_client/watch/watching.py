"""Watches a log: it reads what is new, asks the judges that are named, and says how the rewards are.

Guarantees: what a judge answered is kept in the watch's folder, and no question is asked of it twice, also by another
process later. Without judges nothing is asked. Rollouts that were read once are not read again.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from trainer_client import wire
from trainer_client.audit.askings import Answer, Asking
from trainer_client.audit.collection import collect
from trainer_client.client import JudgeClient
from trainer_client.errors import DataError
from trainer_client.rollouts import Log, Rollout
from trainer_client.watch.alarms import DECLARED, Declared
from trainer_client.watch.health import Health, health
from trainer_client.watch.internalisation import Trend
from trainer_client.watch.observed import Observed
from trainer_client.watch.picks import Pick, Picker, Verdicts, sample
from trainer_client.watch.probes import Finding, Probe, Probes, findings
from trainer_client.watch.shadow import Sample

EXAMINER = "examiner"
Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Asked:
    """A judge that is asked, in one mode and layout; by its name where its deployment has several."""

    client: JudgeClient
    mode: wire.Mode = "verdict"
    layout: wire.Layout = "rubricd"
    judge: str | None = None

    async def answers(
        self, askings: Sequence[Asking], store: Path, told: Callable[[int], None]
    ) -> Mapping[str, Answer]:
        """Its answers by key. Raises the first error where it answers nothing at all."""
        info = await self.client.judge(self.judge)
        self.client.fit(info.limits)
        for judge in info.judges:
            if (judge.mode, judge.layout, judge.batch) == (self.mode, self.layout, None):
                options = {"mode": self.mode, "layout": self.layout, "expect_judge": judge.fingerprint}
                options |= {} if self.judge is None else {"judge": self.judge}
                found = await collect(self.client, askings, options, store, told)
                if askings and not found.by_key and found.first_error is not None:
                    raise found.first_error
                return found.by_key
        raise DataError(
            f"this judge offers the modes {', '.join(info.modes)} and the layouts {', '.join(info.layouts)}, not "
            f"{self.mode} in {self.layout}; choose another --mode or --layout"
        )


@dataclass(frozen=True, slots=True)
class Judges:
    """Whom to ask: the run's judge about answers without content, and others about a share of the rollouts."""

    own: Asked | None = None
    others: Sequence[Asked] = ()
    share: float = 0.25


NOBODY = Judges()


class Watcher:
    """`folder` keeps the answers of judges. `say` is told what a person should know, `told` how many questions of those
    that are being asked have been answered."""

    def __init__(
        self,
        log: Log,
        folder: Path,
        judges: Judges = NOBODY,
        declared: Declared = DECLARED,
        say: Say = lambda said: None,
        told: Callable[[int, int], None] = lambda done, of: None,
    ) -> None:
        self._log, self._folder, self._judges, self._declared = log, folder, judges, declared
        self._say, self._told = say, told
        self._observed, self._picker, self._new_probes = Observed(), Picker(judges.share), Probes()
        self._held_out = Picker(1.0)
        self._picks: list[Pick] = []
        self._probes: list[Probe] = []
        self._last: dict[str, Rollout] = {}
        self.trend: Trend | None = None

    async def update(self) -> Health | None:
        """How the rewards are now; None where the log holds nothing new."""
        if not self.read():
            return None
        table, findings = self._observed.table(), await self._findings()
        return health(table, await self._sample(), findings, self.trend, self._declared)

    def look(self) -> Health:
        """How the rewards are, of what has been read, without asking anybody."""
        seen = sample(self._picks, examined) if self._picks and not self._judges.others else None
        return health(self._observed.table(), seen, (), self.trend, self._declared)

    def read(self) -> int:
        """Reads what is new, and returns how many rollouts that is."""
        new = self._read(self._log)
        seen = [] if self._judges.others or self._log.kind == "held_out" else self._examined()
        self._observed.add(new)
        self._picks += seen or (self._picker.picked(new) if self._judges.others else [])
        self._probes += self._new_probes.of(new) if self._judges.own is not None else []
        return len(new) + len(seen)

    def _read(self, log: Log) -> list[Rollout]:
        new = list(log.rollouts_after(self._last.get(log.kind), self._say))
        if new:
            self._last[log.kind] = new[-1]
        return new

    def _examined(self) -> list[Pick]:
        """Held-out rollouts that the run's examiner judged, too."""
        if not self._log.path.is_dir():
            return []
        held_out = self._read(Log(self._log.path, "held_out"))
        return [pick for pick in self._held_out.picked(held_out) if EXAMINER in pick.rollout.others]

    async def _sample(self) -> Sample | None:
        if not self._judges.others:
            return sample(self._picks, examined) if self._picks else None
        keys = {id(pick.rollout): Asking(pick.rollout.item()) for pick in self._picks}
        askings = list({one.key: one for one in keys.values()}.values())
        said = [await self._asked(judge, askings) for judge in self._judges.others]

        def opinions(rollout: Rollout) -> Sequence[Verdicts]:
            found = [by.get(keys[id(rollout)].key) for by in said]
            return [verdicts_of(answer, rollout) for answer in found if answer is not None] if None not in found else []

        return sample(self._picks, opinions)

    async def _findings(self) -> list[Finding]:
        if self._judges.own is None:
            return []
        askings = [asking for probe in self._probes for asking in probe.items.values()]
        return findings(self._probes, await self._asked(self._judges.own, askings))

    async def _asked(self, judge: Asked, askings: Sequence[Asking]) -> Mapping[str, Answer]:
        self._folder.mkdir(parents=True, exist_ok=True)
        of = len(askings)
        done = 0

        def more(some: int) -> None:
            nonlocal done
            done += some
            self._told(done, of)

        return await judge.answers(askings, self._folder / "answers.jsonl", more)


def examined(rollout: Rollout) -> Sequence[Verdicts]:
    """What the run's examiner said of a held-out rollout."""
    return [{one.id: one.share for one in rollout.others.get(EXAMINER, ()) if one.share is not None}]


def verdicts_of(answer: Answer, rollout: Rollout) -> Verdicts:
    """What a judge answered about a rollout: of a graded criterion the share of the points that its level earns, and
    nothing where the log does not hold what the levels are worth."""
    found = {}
    for said in rollout.criteria:
        one = answer.get(said.id)
        if one is None or one.met is None:
            continue
        share = replace(said, met=one.met, level=one.level).share
        if share is not None:
            found[said.id] = share
    return found
