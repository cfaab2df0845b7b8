"""Keeps several addresses to one judge: the one that they serve when they are first asked.

Guarantees: once a client with several addresses knows its judge, each of its requests names it, and an address with
another judge refuses it before any work. Addresses that serve different judges are an error, and no score.
"""

import asyncio
from collections.abc import Iterator, Sequence
from urllib.parse import quote

from trainer_client import wire
from trainer_client.errors import JudgeMismatch, RubricdClientError
from trainer_client.http import validation
from trainer_client.http.addresses import Address
from trainer_client.http.transport import Transport

_Answer = tuple[Address, wire.JudgeInfo | RubricdClientError]
Way = tuple[str, str, str | None, str | None]
"""Mode, layout, the prompt that is named, and `batch`."""


class OneJudge:
    """The judge of one client in each way in which it is asked, from the first time on."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self._known: dict[tuple[str | None, Way], str] = {}

    async def pinned(
        self, request: wire.ScoreRequest, deadline: float | None, *, wait_for_judge: bool
    ) -> wire.ScoreRequest:
        """The request with `expect_judge`, the caller's or this client's. With one address it is left as it is, as it
        is where the judge does not offer its mode, which the service refuses better. Raises RubricdClientError."""
        asked_in = (request.mode, request.layout, request.judge_prompt, request.batch)
        expected = await self.judge_in(
            asked_in, request.expect_judge, deadline, wait_for_judge=wait_for_judge, name=request.judge
        )
        return request if expected == request.expect_judge else request.model_copy(update={"expect_judge": expected})

    async def judge_in(
        self, asked_in: Way, expected: str | None, deadline: float | None, *, wait_for_judge: bool, name: str | None
    ) -> str | None:
        """The fingerprint to expect: the caller's, or this client's. None with one address, or where the judge does not
        offer this. Raises RubricdClientError."""
        if len(self._transport.addresses.all) == 1 or expected is not None:
            return expected
        if (name, asked_in) not in self._known:

            async def once() -> None:
                self._learn(name, await self._ask_all(name, deadline))

            await self._transport.retrying(once, deadline, wait_for_judge=wait_for_judge)
        return self._known.get((name, asked_in))

    async def _ask_all(self, name: str | None, deadline: float | None) -> list[_Answer]:
        return await asyncio.gather(*(self._ask(name, one, deadline) for one in self._transport.addresses.all))

    async def _ask(self, name: str | None, address: Address, deadline: float | None) -> _Answer:
        try:
            response = await self._transport.send("GET", judge_path(name), deadline=deadline, address=address)
            return address, validation.read(response, wire.JudgeInfo).whole()
        except RubricdClientError as error:
            self._transport.addresses.failed(address, error)
            return address, error

    def _learn(self, name: str | None, answers: Sequence[_Answer]) -> None:
        """Raises JudgeMismatch where judges differ, and the first error where no address answered."""
        answered = [(address, info) for address, info in answers if isinstance(info, wire.JudgeInfo)]
        if not answered:
            raise next(error for _, error in answers if isinstance(error, RubricdClientError))
        found: dict[Way, tuple[str, Address]] = {}
        for address, info in answered:
            for asked_in, judge in _ways(info):
                fingerprint, first = found.setdefault(asked_in, (judge.fingerprint, address))
                if fingerprint != judge.fingerprint:
                    raise JudgeMismatch(
                        f"{first.shown} serves judge {fingerprint} and {address.shown} serves {judge.fingerprint} in "
                        f"mode {judge.mode}: scores of two judges cannot be compared; give addresses of one judge"
                    )
        self._known |= {(name, asked_in): fingerprint for asked_in, (fingerprint, _) in found.items()}


def judge_path(name: str | None) -> str:
    """Where a judge is described; the deployment's first one for None."""
    return "/v1/judge" if name is None else f"/v1/judge?judge={quote(name, safe='')}"


def _ways(info: wire.JudgeInfo) -> Iterator[tuple[Way, wire.Judge]]:
    """Each judge by mode, layout, prompt and batch; the first of a mode and layout is also that of no named prompt."""
    unnamed: set[Way] = set()
    for judge in info.judges:
        way = (judge.mode, judge.layout, None, judge.batch)
        if way not in unnamed:
            unnamed.add(way)
            yield way, judge
        if judge.prompt is not None:
            yield (judge.mode, judge.layout, judge.prompt, judge.batch), judge
    if info.compare is not None and info.compare.judge is not None:
        yield ("compare", info.compare.judge.layout, None, None), info.compare.judge
