"""Serves other trainers' protocols: one route function for all that judge.

Guarantees: authentication, quota, deadline and idempotency are those of `POST /v1/score`, whose path every request here
takes.
"""

from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from types import MappingProxyType

from starlette.requests import Request
from starlette.responses import Response

from service.api.accept import JSON
from service.api.dependencies import Dependencies
from service.api.metering import charged_body, identified
from service.api.protocols import eval_protocol, nemo_gym, openai_decisions, openrlhf, slime
from service.api.protocols.common import COMMON_END_TOKENS, TranslationContext
from service.api.request_body import ParsedRequest
from service.api.score import ScoreRoute
from service.errors import Overloaded, QuotaExceeded, Unavailable

Translation = Callable[[bytes, TranslationContext], ParsedRequest]
Endpoint = Callable[[Request], Awaitable[Response]]

_TRANSLATIONS: Mapping[str, Translation] = MappingProxyType(
    {
        "/get_reward": openrlhf.parse_request,
        "/rm": slime.parse_request,
        "/evaluate": eval_protocol.parse_request,
        "/v1/decisions": openai_decisions.parse_request,
    }
)


class ProtocolRoutes:
    def __init__(self, dependencies: Dependencies, score_route: ScoreRoute) -> None:
        self._dependencies = dependencies
        self._score_route = score_route

    @property
    def judging(self) -> set[str]:
        """The paths on which something is judged."""
        return {*_TRANSLATIONS, "/verify"}

    def routes(self) -> dict[str, Endpoint]:
        """Every path with its endpoint; all of them take POST."""
        judging = {path: partial(self._judge, path, parse) for path, parse in _TRANSLATIONS.items()}
        return {**judging, "/verify": self.verify, "/seed_session": self.seed_session}

    async def verify(self, request: Request) -> Response:
        """A judge that is unavailable fails a row, too: an error would end the whole run that sent it."""
        try:
            return await self._judge("/verify", nemo_gym.parse_request, request)
        except (Overloaded, Unavailable, QuotaExceeded) as error:
            reply = partial(_failed_row, await request.body(), f"{error.code}: {error}")
            return Response(await self._score_route.off_loop(request, reply), media_type=JSON)

    async def seed_session(self, request: Request) -> Response:
        """Nothing is kept between a row and the next."""
        with identified(self._dependencies, request) as team:
            await charged_body(self._dependencies, request, team)
            return Response(b"{}", media_type=JSON)

    async def _judge(self, path: str, parse: Translation, request: Request) -> Response:
        context = self._context(path, request)
        dialect = f"{path}?{request.url.query}\n"
        return await self._score_route.respond(request, lambda body: parse(body, context), dialect=dialect)

    def _context(self, path: str, request: Request) -> TranslationContext:
        settings, telemetry = self._dependencies.settings, self._dependencies.telemetry
        return TranslationContext(
            query=dict(request.query_params),
            limits=settings,
            end_tokens=COMMON_END_TOKENS if settings.protocol_end_tokens is None else settings.protocol_end_tokens,
            count_neutral=partial(telemetry.count_neutral_rewards, path),
        )


def _failed_row(body: bytes, why: str) -> bytes:
    return nemo_gym.failed(nemo_gym.row_of(body), why)
