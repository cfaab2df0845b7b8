"""The Ray Serve deployment: each replica is the app of service/app.py, with an engine of its own.

Guarantees: a replica gets requests once its judge has given a verdict, and none while it cannot judge; one whose engine
restarts by itself is not replaced; accepted work is finished before a replica goes. Nothing waits in Ray: the service's
own queue admits or refuses a request. Settings come from the environment.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any

import ray
from pydantic import BaseModel, ConfigDict
from ray import serve
from ray.serve.config import DeploymentActorConfig, RequestRouterConfig
from ray.serve.context import _get_global_client

from service.app import create_app, metrics_of
from service.clock import SystemClock
from service.engine.build import LoadedJudge, build
from service.hosting.ray.asgi import ReplicaApp
from service.hosting.ray.autoscaling import TOKENS
from service.hosting.ray.routing import SessionAffinityRouter
from service.hosting.ray.service_discovery import TargetRegistry, serve_metrics
from service.judges.judges import Judges
from service.lifecycle import Lifecycle
from service.observability.logging_setup import configure
from service.server import check_host, spare_the_collector
from service.settings import Settings

_MOST_REQUESTS = 100_000
"""Requests that may run at one replica: more than its queue ever takes, so that the service refuses, not Ray."""
_MOST_WAITING = 4096
"""Requests that may wait at one proxy while there is no replica at all. The others get 503 with Retry-After."""
_REPLACE_AFTER_S = 900.0
_REGISTRY = "metrics"

Builder = Callable[[Settings], Awaitable[LoadedJudge]]


@serve.ingress()
class JudgeReplica:
    """One replica. Ray calls the methods without an underscore."""

    def __init__(self, build: Builder = build) -> None:
        self._stack = AsyncExitStack()
        self._settings = Settings()
        configure(self._settings.log_format)
        if self._settings.teams is None:
            check_host(_proxies_listen_at())
        self._build = build
        self._clock = SystemClock()
        self._lifecycle = Lifecycle[Judges](on_ready=self._ready, on_failed=self._failed)
        self._loaded: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._ready_s = self._clock.now()

    async def __serve_build_asgi_app__(self) -> ReplicaApp:
        self._app = create_app(self._settings, lifecycle=self._lifecycle, build=self._build)
        host = "127.0.0.1" if self._settings.teams is None else ray.util.get_node_ip_address()
        await self._stack.enter_async_context(serve_metrics(metrics_of(self._app), host, _register))
        return ReplicaApp(self._app, _targets)

    async def __del__(self) -> None:
        await self._stack.aclose()

    async def check_health(self) -> None:
        """Ray waits for this before it sends the first request, and calls it again and again. It replaces a replica
        whose check raises."""
        await self._loaded
        reason = self._lifecycle.why_not_ready
        if reason is None:
            self._ready_s = self._clock.now()
        elif self._clock.now() - self._ready_s > _REPLACE_AFTER_S:
            raise RuntimeError(f"not ready for {_REPLACE_AFTER_S:g} s: {reason}")

    def record_routing_stats(self) -> dict[str, Any]:
        return {"ready": self._lifecycle.why_not_ready is None}

    def record_autoscaling_stats(self) -> dict[str, float]:
        return {TOKENS: float(self._lifecycle.load_tokens)}

    def _ready(self) -> None:
        spare_the_collector()
        self._ready_s = self._clock.now()
        self._loaded.set_result(None)

    def _failed(self, error: BaseException) -> None:
        self._loaded.set_exception(error)


class NoArguments(BaseModel):
    """The builder takes no arguments from a configuration file. Settings come from the environment."""

    model_config = ConfigDict(extra="forbid")


def app(args: NoArguments) -> serve.Application:
    """The application that `import_path` names. Raises pydantic's ValidationError for settings that make no sense."""
    return deployment(Settings()).bind()


def deployment(settings: Settings) -> serve.Deployment:
    """Bind it without arguments, or to another builder of engines. The configuration file sets the number of replicas,
    and may set every option here again."""
    return serve.deployment(
        JudgeReplica,
        name="Judge",
        ray_actor_options=resources(settings),
        max_ongoing_requests=_MOST_REQUESTS,
        max_queued_requests=_MOST_WAITING,
        backpressure_config={"status_code": 503, "retry_after_s": 5},
        graceful_shutdown_timeout_s=grace_s(settings),
        graceful_shutdown_wait_loop_s=0.5,
        health_check_period_s=5,
        health_check_timeout_s=30,
        max_constructor_retry_count=3,
        request_router_config=RequestRouterConfig(
            request_router_class=SessionAffinityRouter, request_routing_stats_period_s=0.5
        ),
        deployment_actors=[
            DeploymentActorConfig(name=_REGISTRY, actor_class=ray.remote(TargetRegistry), actor_options={"num_cpus": 0})
        ],
        logging_config={"enable_access_log": False},
    )


def resources(settings: Settings) -> dict[str, float]:
    """A replica's share of its node. The engine's processes are below the replica and use its GPUs, so the GPUs of one
    judge are in one node."""
    if settings.engine == "vllm":
        return {"num_cpus": 1, "num_gpus": settings.vllm_tensor_parallel_size}
    return {"num_cpus": 1, "num_gpus": 1 if (settings.device or "").startswith("cuda") else 0}


def grace_s(settings: Settings) -> float:
    """Seconds after which accepted work has waited its turn and been answered."""
    return settings.max_queue_s + settings.drain_s + 5


def _proxies_listen_at() -> str:
    return str(_get_global_client().http_config.host)


async def _register(where: str) -> None:
    await serve.get_deployment_actor(_REGISTRY).register.remote(serve.get_replica_context().replica_tag, where)


async def _targets() -> dict[str, str]:
    found: dict[str, str] = await serve.get_deployment_actor(_REGISTRY).targets.remote()
    return found
