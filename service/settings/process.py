"""The settings of the process: what it tells, where it listens, what connections may take."""

import re
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from pydantic import Field, field_validator

from service.settings.floor import Floor, fits_a_header


class DeploymentSettings(Floor):
    """The judges of the deployment, where there are several."""

    judges: Path | None = Field(
        default=None,
        description="A YAML file (judges.md) names several judges, each with settings of its own, and compositions of "
        "them. The other settings hold for each of them that has none. There is one judge, without a name, if not set.",
    )


class ObservabilitySettings(Floor):
    """Metrics, traces and log lines."""

    metric_teams: int = Field(
        default=50, ge=0, description="So many teams have a label of their own in the metrics. The rest is `other`."
    )
    otlp_endpoint: str | None = Field(
        default=None,
        description="Traces are sent to this OpenTelemetry collector by OTLP/HTTP, such as `http://collector:4318`. "
        "There are none if not set.",
    )
    trace_sample: float = Field(
        default=1.0,
        ge=0,
        le=1,
        description="This share of requests is traced, where the caller has not decided.",
    )
    log_format: Literal["text", "json"] = Field(
        default="text", description="Log lines are `text` for a person, or `json` for a machine, one object a line."
    )

    @field_validator("otlp_endpoint")
    @classmethod
    def _is_a_web_address(cls, url: str | None) -> str | None:
        """The exporter would try anything else again and again, and send nothing."""
        if url is None:
            return None
        try:
            parts = urlsplit(url)
            usable = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0
        except ValueError:  # its port is no number
            usable = False
        if not usable:
            raise ValueError("write the collector's base URL with its scheme, such as http://collector:4318")
        return url


class LedgerSettings(Floor):
    """The ledger of verdicts."""

    ledger: Path | None = Field(
        default=None,
        description="A line for each verdict is added to files in this folder: digests of prompt, response and "
        "criterion, P(met), status, judge, team, time. There are none if not set.",
    )
    ledger_file_bytes: int = Field(
        default=64 * 1024 * 1024, ge=65_536, description="A file of the ledger is followed by another at this size."
    )


class ServerSettings(Floor):
    """The process: where it listens, what its connections may take, and how long it takes to end."""

    host: str = Field(
        default="127.0.0.1",
        description="The address to listen on. Without a teams file it must be a loopback address.",
    )
    port: int = Field(default=8000, ge=0, le=65535, description="The port to listen on. 0: any free port.")
    root_path: str = Field(
        default="",
        description="The path below which a proxy shows the service, such as `/judge`. It may take the path off or "
        "leave it on.",
    )
    metrics_port: int | None = Field(
        default=None,
        ge=0,
        le=65535,
        description="`/metrics` is served on this port alone, and no longer on `port`. On `port` if not set.",
    )
    metrics_host: str | None = Field(
        default=None, description="`metrics_port` listens on this address. On that of `host` if not set."
    )
    metrics_key: str | None = Field(
        default=None,
        min_length=16,
        description="`/metrics` needs this bearer key. It needs none if not set.",
        repr=False,
    )
    max_connections: int = Field(
        default=4096, gt=0, description="At most this many connections are open. Further ones get 503 and Retry-After."
    )
    max_connections_per_client: int = Field(
        default=2048,
        gt=0,
        description="At most this many of them are of one address (of one /64 network with IPv6). A proxy is one "
        "address.",
    )
    max_headers: int = Field(default=100, gt=0, description="A request has at most this many headers.")
    max_header_bytes: int = Field(
        default=32 * 1024, gt=0, description="Request line and headers have at most this many bytes together."
    )
    header_timeout_s: float = Field(
        default=10.0,
        gt=0,
        description="The first byte of a new connection arrives within this many seconds, and the whole headers of a "
        "request within as many after their first byte.",
    )
    idle_timeout_s: float = Field(
        default=75.0,
        gt=0,
        description="A connection is closed when no further request begins for this many seconds after an answer.",
    )
    stall_timeout_s: float = Field(
        default=30.0,
        gt=0,
        description="A connection is closed when no more of a body arrives, or no more of an answer is read, for this "
        "many seconds.",
    )
    min_bytes_per_s: float = Field(
        default=1024.0,
        gt=0,
        description="After `stall_timeout_s` a body must have arrived, and an answer been read, at this rate.",
    )
    drain_s: float = Field(default=30.0, ge=0, description="Accepted work has this many seconds to finish at shutdown.")

    @field_validator("root_path")
    @classmethod
    def _is_a_path(cls, path: str) -> str:
        if not re.fullmatch(r"(/[A-Za-z0-9._~-]+)*", path):
            raise ValueError(
                "write a path such as /judge: with a slash before each part, none at the end, and no blanks"
            )
        return path

    @field_validator("metrics_key")
    @classmethod
    def _can_be_sent(cls, key: str | None) -> str | None:
        return fits_a_header(key)
