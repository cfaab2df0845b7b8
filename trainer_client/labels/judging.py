"""Asks a judge service for its verdicts on labelled rows, in bounded memory, and keeps them in a store to resume from.

Guarantees: all verdicts are of one judge. A criterion without a verdict has the status that says why, and neither a
verdict nor a probability. What another attempt may bring is asked again when a run resumes.
"""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

from trainer_client import wire
from trainer_client.client import Failed, JudgeClient, Outcome, ScoreOptions
from trainer_client.errors import BodyTooLarge, InvalidRequest, RubricdClientError
from trainer_client.http.batches import ENVELOPE_BYTES
from trainer_client.labels.labelled import Labels, Word, digest, item_digest
from trainer_client.labels.store import Given, Verdicts, open_verdicts

MODES: tuple[wire.Mode, ...] = ("verdict", "reasoned")
"""The modes that give a verdict for each criterion."""
FINAL = frozenset({"ok", "abstained", "too_long", "unparseable", "verifier_error"})
"""Statuses that another attempt would not change."""
_LATER = frozenset(get_args(wire.CriterionStatus)) - FINAL
_UNCOUNTED = frozenset(
    {
        "aggregation",
        "cache",
        "deadline_ms",
        "debias",
        "expect_judge",
        "judge",
        "min_coverage",
        "priority",
        "soft",
        "unjudged",
    }
)
"""Options that change no verdict, and the judge's name: its fingerprint says whose verdicts they are."""
_REQUEST_ITEMS = 8
"""Responses in one request: few, so that a slow judge has answered it long before the wait for it ends."""


@dataclass(frozen=True, slots=True)
class JudgedCriterion:
    """One criterion with its label and the judge's verdict. `item` is its item's index; `points` have the polarity
    applied. `source` is `rule` where a rule decided and no judge. `status` is the service's, or the code of the error
    that refused the whole item. A criterion with levels, choices or an extracted value is not `plain`; of levels and
    choices `level_label` is the labelled one, `level` the judge's, `p_levels` as they were served and
    `p_levels_raw` as the judge gave them; `values` are the shares of the points, and levels are `ordered`."""

    item: int
    criterion: str
    text: str
    points: float
    tags: dict[str, str]
    met_label: Word
    status: str
    met: bool | None
    p: float | None
    p_raw: float | None
    label_mass: float | None
    source: str | None
    plain: bool = True
    level_label: int | None = None
    level: int | None = None
    p_levels: tuple[float, ...] | None = None
    p_levels_raw: tuple[float, ...] | None = None
    values: tuple[float, ...] = ()
    ordered: bool = True


@dataclass(frozen=True, slots=True)
class Judged:
    """`judge` is the one that decided, with its fingerprint in its mode and layout; `criteria` are in the order of the
    items and their rubrics; `labels_digest` names the labelled rows."""

    judge: wire.Judge
    info: wire.JudgeInfo
    options: ScoreOptions
    criteria: tuple[JudgedCriterion, ...]
    labels_digest: str

    @property
    def may_come_later(self) -> int:
        """The number of criteria whose verdict another attempt may bring."""
        return sum(one.status in _LATER for one in self.criteria)


def no_progress(criteria: int) -> None:
    """For a caller that shows none."""


async def judge_labels(
    client: JudgeClient,
    labels: Labels,
    *,
    options: ScoreOptions | None = None,
    store: Path | None = None,
    progress: Callable[[int], None] = no_progress,
    wait_for_judge_s: float = 1800.0,
    workers: int = 16,
) -> Judged:
    """The judge's verdicts on all criteria. `progress` is told the number of criteria of each item that is done.

    `store` keeps verdicts as JSON lines, each under the digest of its item and its options and the judge's fingerprint:
    a run that was interrupted continues, and the verdicts of another judge in the same file are kept apart. Raises
    RubricdClientError where the judge does not answer for `wait_for_judge_s` seconds, with all verdicts until then in
    the store; InvalidRequest where it does not offer what is asked; DataError for a store that is damaged.
    """
    options = {} if options is None else options
    mode = options.get("mode", "verdict")
    if mode not in MODES:
        raise InvalidRequest(f"mode `{mode}` rates a response as a whole; labels need {' or '.join(MODES)}")
    info = await client.judge(options.get("judge"))
    judge = judge_asked(info, options)
    keys = [key_of(one.item, options) for one in labels.items]
    with open_verdicts(store, judge.fingerprint, frozenset(keys)) as verdicts:
        for one, key in zip(labels.items, keys, strict=True):
            if key in verdicts:
                progress(len(one.criteria))
        left = [index for index, key in enumerate(keys) if key not in verdicts]
        pinned: ScoreOptions = {**options, "expect_judge": judge.fingerprint}
        work = _Work(client, labels, keys, verdicts, pinned, progress, wait_for_judge_s)
        await work.judge(batches(labels, left, info.limits, client, _askings(info, judge, options)), workers)
        criteria = tuple(_criteria(labels, keys, verdicts))
    return Judged(judge, info, options, criteria, labels.digest)


def key_of(item: wire.Item, options: ScoreOptions) -> str:
    """What names a row in a store: what a judge may see of it, and how it is asked."""
    return digest([item_digest(item), digest({name: one for name, one in options.items() if name not in _UNCOUNTED})])


@dataclass(frozen=True, slots=True)
class _Work:
    """The requests of one run, a few at the same time."""

    client: JudgeClient
    labels: Labels
    keys: Sequence[str]
    verdicts: Verdicts
    options: ScoreOptions
    progress: Callable[[int], None]
    wait_for_judge_s: float

    async def judge(self, batches: Iterator[list[int]], workers: int) -> None:
        """Raises the first error of a request, once the others have ended."""

        async def worker() -> None:
            for batch in batches:  # shared: each batch goes to one worker
                await self._judge(batch)

        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(workers):
                    group.create_task(worker())
        except BaseExceptionGroup as defects:
            raise defects.exceptions[0] from None

    async def _judge(self, batch: Sequence[int]) -> None:
        items = [self._sent(index) for index in batch]

        def keep(place: int, outcome: Outcome) -> None:
            index = batch[place]
            given, final = _given(outcome, self.labels.items[index].criteria)
            self.verdicts.keep(self.keys[index], given, final=final)
            self.progress(len(given))

        outcomes = await self.client.score(
            items, on_outcome=keep, wait_for_judge_s=self.wait_for_judge_s, **self.options
        )
        for outcome in outcomes:
            if isinstance(outcome, Failed) and not _own_fault(outcome.error):
                raise outcome.error

    def _sent(self, index: int) -> wire.Item:
        """The item without what is not judged; the index in the batch is its id."""
        return self.labels.items[index].item.model_copy(update={"id": None, "group": None, "metadata": None})


def batches(
    labels: Labels, left: Sequence[int], limits: wire.Limits, client: JudgeClient, askings: int
) -> Iterator[list[int]]:
    """Indexes of items in requests that the service takes. An item that is too large alone is sent alone."""
    most_items = min(client.batch_items, limits.max_items, _REQUEST_ITEMS)
    most_judgements = limits.max_judgements or limits.max_criteria * most_items
    most_bytes = min(client.batch_bytes, limits.max_body_bytes - ENVELOPE_BYTES)
    batch: list[int] = []
    judgements = size = 0
    for index in left:
        one = labels.items[index]
        more, bytes_more = len(one.criteria) * askings, _bytes(one.item)
        full = len(batch) == most_items or judgements + more > most_judgements or size + bytes_more > most_bytes
        if batch and full:
            yield batch
            batch, judgements, size = [], 0, 0
        batch.append(index)
        judgements, size = judgements + more, size + bytes_more
    if batch:
        yield batch


def _askings(info: wire.JudgeInfo, judge: wire.Judge, options: ScoreOptions) -> int:
    """How often each criterion is asked, as the service counts judgements."""
    reads_both = any(one.name == judge.prompt and one.reading == "opposite" for one in info.prompts)
    return options.get("votes", 1) * (2 if reads_both or options.get("consistency", 1) == 2 else 1)


def _bytes(item: wire.Item) -> int:
    try:
        return len(item.model_dump_json(exclude_none=True, by_alias=True)) * 4
    except ValueError:  # a lone surrogate; the client refuses the item by itself
        return 0


def judge_asked(info: wire.JudgeInfo, options: ScoreOptions) -> wire.Judge:
    """The judge in the mode, layout and prompt that are asked for. Raises InvalidRequest."""
    way = options.get("mode", "verdict"), options.get("layout", "rubricd"), options.get("batch")
    prompt = options.get("judge_prompt")
    # Without a name it is the service's default, which stands first.
    named = prompt or next((one.name for one in info.prompts), None)
    offered = [one for one in info.judges if (one.mode, one.layout, one.batch) == way]
    for judge in offered:
        if judge.prompt == named or (prompt is None and judge.prompt is None):
            return judge
    lacking = [
        one for one in info.unserved if (one.mode, one.layout, one.batch) == way and prompt in (None, one.prompt)
    ]
    about = f"mode {way[0]} in layout {way[1]}{f' with prompt {prompt}' if prompt else ''}"
    about += "" if way[2] is None else f" with batch {way[2]}"
    why = f": {lacking[0].reason}" if lacking else "; `GET /v1/judge` lists what it offers"
    raise InvalidRequest(f"this judge does not offer {about}{why}")


def _own_fault(error: RubricdClientError) -> bool:
    """Whether the item itself was refused, so that the others can go on."""
    return isinstance(error, InvalidRequest | BodyTooLarge)


def _given(outcome: Outcome, criteria: Sequence[wire.Criterion]) -> tuple[tuple[Given, ...], bool]:
    """What is known of each criterion, and whether another attempt could not change it."""
    if isinstance(outcome, Failed):
        lacking = Given(status=outcome.error.code, met=None, p=None, p_raw=None, label_mass=None, source=None)
        return (lacking,) * len(criteria), False
    given = tuple(
        Given(one.status, one.met, one.p, one.p_raw, one.label_mass, one.source, one.level, *_p_levels(one))
        for one in outcome.result.criteria
    )
    return given, all(one.status in FINAL for one in given)


def _p_levels(result: wire.CriterionResult) -> Iterator[tuple[float, ...] | None]:
    """As they were served, and as the judge gave them where a calibration changed them."""
    yield from (None if one is None else tuple(one) for one in (result.p_levels, result.p_levels_raw))


def _criteria(labels: Labels, keys: Sequence[str], verdicts: Verdicts) -> Iterator[JudgedCriterion]:
    for index, (one, key) in enumerate(zip(labels.items, keys, strict=True)):
        for criterion, given in zip(one.criteria, verdicts[key], strict=True):
            id = criterion.id or ""
            yield JudgedCriterion(
                index,
                id,
                criterion.text,
                criterion.worth,
                dict(criterion.tags),
                one.met[id],
                given.status,
                given.met,
                given.p,
                given.p_raw,
                given.label_mass,
                given.source,
                criterion.plain,
                one.levels.get(id),
                given.level,
                given.p_levels,
                given.p_levels_raw or given.p_levels,
                tuple(option.value for option in criterion.options),
                criterion.levels is not None,
            )
