"""Serves other trainers' protocols: one route function for all that judge.

Guarantees: authentication, quota, deadline and idempotency are those of `POST /v1/score`, whose path every request here
takes.
"""

from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from types import MappingProxyType
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from service.api.accept import JSON
from service.api.bodies.parsing import ParsedRequest, check_meant
from service.api.dependencies import Dependencies
from service.api.metering import charged_body, identified
from service.api.protocols import eval_protocol, nemo_gym, openai_decisions, openrlhf, slime, system_one
from service.api.protocols.common import COMMON_END_TOKENS, TranslationContext
from service.api.score import ScoreRoute
from service.errors import InvalidRequest, Overloaded, QuotaExceeded, RubricdError, Unavailable

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
        return {*_TRANSLATIONS, "/verify", "/v1/systemone"}

    def routes(self) -> dict[str, Endpoint]:
        """Every path with its endpoint; all of them take POST."""
        judging = {path: partial(self._judge, path, parse) for path, parse in _TRANSLATIONS.items()}
        return {**judging, "/verify": self.verify, "/seed_session": self.seed_session, "/v1/systemone": self.system_one}

    async def verify(self, request: Request) -> Response:
        """A judge that is unavailable fails a row, too: an error would end the whole run that sent it."""
        try:
            return await self._judge("/verify", nemo_gym.parse_request, request)
        except (Overloaded, Unavailable, QuotaExceeded) as error:
            reply = partial(_failed_row, await request.body(), f"{error.code}: {error}")
            return Response(await self._score_route.off_loop(request, reply), media_type=JSON)

    async def system_one(self, request: Request) -> Response:
        """Its errors have the protocol's own form, which its SDK reads."""
        try:
            return await self._judge("/v1/systemone", system_one.parse_request, request)
        except RubricdError as error:
            return system_one.error_response(error, str(request.state.request_id))

    async def models(self, request: Request) -> Response:
        """Name the judge as System One and OpenAI list models: SDKs of both ask here."""
        with identified(self._dependencies, request) as team:
            await self._dependencies.ledger.admit(team)
            judges = self._dependencies.lifecycle.judge()
            listed = [one.judge for one in judges.deployed.values()] or [judges.named()]
            first = [one.judging_modes.first.judge for one in listed]
            named = [(judge.name or judge.identity.model, judge.fingerprint) for judge in first]
            return Response(system_one.models(named), media_type=JSON)

    async def seed_session(self, request: Request) -> Response:
        """Nothing is kept between a row and the next."""
        with identified(self._dependencies, request) as team:
            await charged_body(self._dependencies, request, team)
            return Response(b"{}", media_type=JSON)

    async def _judge(self, path: str, parse: Translation, request: Request) -> Response:
        context = self._context(path, request)
        dialect = f"{path}?{request.url.query}\n"
        return await self._score_route.respond(request, partial(_translated, path, parse, context), dialect=dialect)

    def _context(self, path: str, request: Request) -> TranslationContext:
        settings, telemetry = self._dependencies.settings, self._dependencies.telemetry
        return TranslationContext(
            query=dict(request.query_params),
            limits=settings,
            end_tokens=COMMON_END_TOKENS if settings.protocol_end_tokens is None else settings.protocol_end_tokens,
            count_neutral=partial(telemetry.count_neutral_rewards, path),
            judge_names=lambda: self._dependencies.lifecycle.judge().deployed,
            most_options=self._most_options,
        )

    def _most_options(self, options: Mapping[str, Any]) -> int:
        """Where the request will be refused for its options, it tells none apart."""
        if options.get("consistency", 1) != 1 or options.get("debias"):
            return 0  # which levels refuse
        way = (options.get("mode", "verdict"), options.get("layout", "rubricd"), options.get("judge_prompt"))
        try:
            judge = self._dependencies.lifecycle.judge().named(options.get("judge"))
            found = judge.judging_modes.choose(*way).judge
        except RubricdError:
            return 0
        return found.most_options if judge.trust_of(found.reading_options) == "proven" else 0


def _translated(path: str, parse: Translation, context: TranslationContext, body: bytes) -> ParsedRequest:
    """Raises InvalidRequest, which names the right route where the body is made for another one."""
    try:
        return parse(body, context)
    except InvalidRequest:
        check_meant(body, path)
        raise


def _failed_row(body: bytes, why: str) -> bytes:
    return nemo_gym.failed(nemo_gym.row_of(body), why)
