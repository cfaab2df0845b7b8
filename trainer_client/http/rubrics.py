"""Stores rubrics in the service, and reads them back.

Guarantees: a rubric that is read has the content that its reference names; another one is a ContractError.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import httpx

from trainer_client import wire
from trainer_client.errors import RubricdClientError, UnknownRubric
from trainer_client.http import validation
from trainer_client.http.background_loop import BackgroundLoop
from trainer_client.http.transport import Transport


class RubricCalls:
    """`client.rubrics`: the team's rubrics in the service. Each call raises RubricdClientError."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    async def put(self, name: str, rubric: wire.Rubric | list[Any] | dict[str, Any]) -> wire.PutRubric:
        """Stores the criteria under the name. The answer's `ref` is what an item's `rubric: {ref}` takes. The same
        criteria twice are one version. Raises ValueError for what is no name or no rubric."""
        content = wire.rubric_content(wire.Rubric.model_validate(rubric)).decode()
        path = f"/v1/rubrics/{wire.check_name(name)}"
        return await self._transport.call("PUT", path, _reader(wire.PutRubric), body=lambda _: content)

    async def get(self, ref: str) -> wire.Rubric:
        """The stored rubric with its `ref`. Raises ValueError for what is no reference."""
        wire.split_ref(ref)

        def read(response: httpx.Response) -> wire.Rubric:
            return validation.read_rubric(response, ref)

        return await self._transport.call("GET", f"/v1/rubrics/{ref}", read)

    async def versions(self, name: str | None = None) -> wire.StoredVersions:
        """The versions of one rubric, or of all, the newest first."""
        path = "/v1/rubrics" if name is None else f"/v1/rubrics/{wire.check_name(name)}"
        return await self._transport.call("GET", path, _reader(wire.StoredVersions))

    async def remove(self, ref: str) -> None:
        """Removes one version."""
        wire.split_ref(ref)

        def read(response: httpx.Response) -> None:
            if response.status_code != 204:
                raise validation.refusal(response)

        await self._transport.call("DELETE", f"/v1/rubrics/{ref}", read)


class SyncRubricCalls:
    """`RubricCalls` for code without an event loop."""

    def __init__(self, calls: RubricCalls, loop: BackgroundLoop) -> None:
        self._calls = calls
        self._loop = loop

    def put(self, name: str, rubric: wire.Rubric | list[Any] | dict[str, Any]) -> wire.PutRubric:
        """As `RubricCalls.put`."""
        return self._loop.run(lambda: self._calls.put(name, rubric))

    def get(self, ref: str) -> wire.Rubric:
        """As `RubricCalls.get`."""
        return self._loop.run(lambda: self._calls.get(ref))

    def versions(self, name: str | None = None) -> wire.StoredVersions:
        """As `RubricCalls.versions`."""
        return self._loop.run(lambda: self._calls.versions(name))

    def remove(self, ref: str) -> None:
        """As `RubricCalls.remove`."""
        self._loop.run(lambda: self._calls.remove(ref))


def as_sent(item: wire.Item) -> wire.Item:
    """The item with a rubric that has a `ref` as that alone, whatever is known of its criteria."""
    rubric = item.rubric
    if rubric is None or rubric.ref is None or not rubric.criteria:
        return item
    return item.model_copy(update={"rubric": rubric.by_ref()})


class Supply:
    """Stores again what the service says that it does not have, of the rubrics whose criteria are known here: once
    each, so that a service that keeps nothing is not asked for ever."""

    def __init__(self, transport: Transport) -> None:
        self._calls = RubricCalls(transport)
        self._stored: set[str] = set()

    async def after(self, error: RubricdClientError, items: Iterable[wire.Item]) -> bool:
        """Whether something was stored, so that the same request may be sent again. Raises RubricdClientError."""
        if not isinstance(error, UnknownRubric):
            return False
        known: Sequence[wire.Rubric] = [
            item.rubric for item in items if item.rubric is not None and item.rubric.criteria and item.rubric.ref
        ]
        missing = {rubric.ref: rubric for rubric in known if rubric.ref not in self._stored}
        for ref, rubric in missing.items():
            assert ref is not None
            self._stored.add(ref)
            await self._calls.put(wire.split_ref(ref)[0], rubric)
        return bool(missing)


def _reader(kind: type[wire.Answer]) -> Callable[[httpx.Response], Any]:
    return lambda response: validation.read(response, kind)
