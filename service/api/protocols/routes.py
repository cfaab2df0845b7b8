"""Where other trainers' protocols are served: one route function for all that judge.

Always true: who asks, for which team, within which quota and deadline, and whether they asked before, is settled by the
path of `POST /v1/score`, as for everybody.
"""

from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from types import MappingProxyType

from starlette.requests import Request
from starlette.responses import Response

from service.api.dependencies import Dependencies
from service.api.protocols import ends, eval_protocol, nemo_gym, openai_decisions, openrlhf, slime
from service.api.protocols.common import Asking
from service.api.score import JSON, Scoring
from service.api.spoken import Spoken
from service.errors import Overloaded, QuotaExceeded, Unavailable

Translation = Callable[[bytes, Asking], Spoken]
Endpoint = Callable[[Request], Awaitable[Response]]

_TRANSLATIONS: Mapping[str, Translation] = MappingProxyType(
    {
        "/get_reward": openrlhf.read,
        "/rm": slime.read,
        "/evaluate": eval_protocol.read,
        "/v1/decisions": openai_decisions.read,
    }
)


class Compat:
    def __init__(self, dependencies: Dependencies, scoring: Scoring) -> None:
        self._dependencies = dependencies
        self._scoring = scoring

    @property
    def judging(self) -> set[str]:
        """The paths on which something is judged."""
        return {*_TRANSLATIONS, "/verify"}

    def routes(self) -> dict[str, Endpoint]:
        """Every path with its endpoint; all of them are asked with POST."""
        judging = {path: partial(self._judge, path, read) for path, read in _TRANSLATIONS.items()}
        return {**judging, "/verify": self.verify, "/seed_session": self.seed_session}

    async def verify(self, request: Request) -> Response:
        """A judge that cannot be asked now has failed a row, too: an error would end the whole run that sent it."""
        try:
            return await self._judge("/verify", nemo_gym.read, request)
        except (Overloaded, Unavailable, QuotaExceeded) as error:
            row = nemo_gym.row_of(await request.body())
            return Response(nemo_gym.failed(row, f"{error.code}: {error}"), media_type=JSON)

    async def seed_session(self, request: Request) -> Response:
        """Nothing is kept between a row and the next."""
        self._dependencies.authentication.team_of(request.headers.get("authorization"))
        await request.body()
        return Response(b"{}", media_type=JSON)

    async def _judge(self, path: str, read: Translation, request: Request) -> Response:
        asking = self._asking(path, request)
        dialect = f"{path}?{request.url.query}\n"
        return await self._scoring.answer(request, lambda body: read(body, asking), dialect=dialect)

    def _asking(self, path: str, request: Request) -> Asking:
        settings, telemetry = self._dependencies.settings, self._dependencies.telemetry
        return Asking(
            query=dict(request.query_params),
            deadline_s=settings.protocol_deadline_s,
            end_tokens=ends.COMMON if settings.protocol_end_tokens is None else settings.protocol_end_tokens,
            neutral=settings.protocol_neutral,
            replaced=partial(telemetry.count_neutral_rewards, path),
        )
