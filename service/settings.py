"""The settings are read once: from flags (`--port 9000`), then from the environment (`RUBRICD_PORT=9000`).

Each floor has a frozen model of its own, and `Settings` is all of them: a floor is given the settings as its own model,
so that no field is copied and a floor's code cannot name what belongs to another.
"""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue, StringConstraints, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

EngineName = Literal["auto", "fake", "local", "remote", "vllm"]
Label = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]


class _Floor(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class LabelSettings(_Floor):
    """The label tokens: the modes ask for them, and engine `remote` may have to find them by their text."""

    labels: tuple[Label, Label] = Field(
        default=("Yes", "No"),
        description="The judge is asked to answer the first label for met and the second for not met. Each is one "
        "token where the answer stands, with the space before it that the tokenizer wants there.",
    )


class EngineSettings(LabelSettings):
    """The judge, and the engine that runs it."""

    judge: str | None = Field(
        default=None,
        description="The judge's model, as a folder or as a name on the hub. The bundled miniature judge serves if it "
        "is not set. With engine `remote` this is the folder or hub name of the tokenizer.",
    )
    revision: str | None = Field(
        default=None, description="The commit of the hub repository. Pin it, so that the judge stays the same."
    )
    engine: EngineName = Field(
        default="auto", description="The engine runs the judge: `local`, `vllm`, `remote` or `fake`; `auto` is `local`."
    )
    dtype: Literal["auto", "float32", "bfloat16"] = Field(
        default="auto",
        description="Engines `local` and `vllm` compute in this type; `auto` is float32 on a CPU, bfloat16 on a GPU.",
    )
    device: str | None = Field(
        default=None,
        description="Engine `local` runs on this device: `cpu`, `cuda` or `cuda:1`. The best one that it finds if not "
        "set.",
    )
    max_model_len: int | None = Field(
        default=None, gt=0, description="The longest prompt in tokens. The model's own limit if not set."
    )
    local_hang_s: float = Field(
        default=60.0,
        gt=0,
        description="Engine `local` restarts its process when that has work and computes nothing for so many seconds.",
    )

    remote_url: str | None = Field(
        default=None, description="Engine `remote` calls the OpenAI-compatible server at this base URL, with its `/v1`."
    )
    remote_model: str | None = Field(
        default=None,
        description="Engine `remote` requests the model of this name. The only one there is if not set.",
    )
    remote_token_ids: bool = Field(
        default=True,
        description="Engine `remote` tells tokens apart by id, as vLLM can. Without it, by the text that each decodes "
        "to.",
    )
    remote_key: str | None = Field(default=None, description="Engine `remote` sends this bearer key.", repr=False)

    vllm_tensor_parallel_size: int = Field(
        default=1, gt=0, description="Engine `vllm` shares the judge among this many GPUs."
    )
    vllm_quantization: str | None = Field(
        default=None, description="Engine `vllm` quantises the weights so. As the checkpoint says if not set."
    )
    vllm_lora: str | None = Field(
        default=None,
        description="Engine `vllm` loads the LoRA adapter in this folder (safetensors). It is part of the judge.",
    )
    vllm_gpu_memory_utilization: float = Field(
        default=0.9, gt=0, le=1, description="Engine `vllm` takes this share of a GPU's memory."
    )
    vllm_kv_cache_gb: float | None = Field(
        default=None,
        gt=0,
        description="Engine `vllm` has a KV cache of this many GiB. 4 on a CPU, what is left on a GPU if not set.",
    )
    vllm_max_num_batched_tokens: int | None = Field(
        default=None, gt=0, description="Engine `vllm` computes so many tokens in one step. Its own choice if not set."
    )
    vllm_enforce_eager: bool | None = Field(
        default=None, description="Engine `vllm` compiles nothing. True on a CPU, false on a GPU if not set."
    )
    vllm_batch_invariant: bool = Field(
        default=False,
        description="Engine `vllm` gives a prompt the same verdict whatever is in its batch. It is slower.",
    )
    vllm_hang_s: float = Field(
        default=60.0,
        gt=0,
        description="Engine `vllm` is restarted when it has work and is silent for this many seconds.",
    )

    @field_validator("remote_key")
    @classmethod
    def _fits_a_header(cls, key: str | None) -> str | None:
        if key is not None and not (key and all("!" <= character <= "~" for character in key)):
            raise ValueError(
                "it is empty or holds white space, a line break or a character outside ASCII, which no HTTP header can "
                "carry; take it out (the last line break of a file comes along easily)"
            )
        return key


class ModeSettings(LabelSettings):
    """The judging modes: what the judge is shown, and how long its answers may be."""

    label_mass_floor: float = Field(
        default=0.5,
        ge=0,
        le=1,
        description="A criterion abstains when the labels hold less than this share of the probability of all tokens.",
    )
    reasoned_tokens: int = Field(default=512, gt=0, description="Mode `reasoned`: the longest answer in tokens.")
    explanation_chars: int = Field(
        default=1200, gt=0, description="Mode `reasoned`: the longest explanation in characters."
    )
    max_reasoning_tokens: int = Field(
        default=4096,
        gt=0,
        description="Mode `reasoned`: the longest reasoning in tokens of a model that reasons before it answers.",
    )
    vote_temperature: float = Field(
        default=0.7, gt=0, description="Mode `reasoned`: the temperature at which several `votes` are sampled."
    )
    chat_template_kwargs: dict[str, JsonValue] = Field(
        default={},
        description="The judge's chat template gets these arguments, as a JSON object: "
        '`{"reasoning_effort": "low"}`, or a `date_string` for a template that prints a date.',
    )
    healthbench_template: Path | None = Field(
        default=None,
        description="A file has the text of layout `healthbench`, for example the published grader's, with "
        "`<<conversation>>` and `<<rubric_item>>` in it. A text of the same structure is used if not set.",
    )
    escalate_band: float = Field(
        default=0.0,
        ge=0,
        le=0.5,
        description="Verdicts whose P(met) is so near 0.5, and abstentions, are judged again in mode `reasoned`. 0: "
        "none is.",
    )
    escalate_share: float = Field(
        default=0.1,
        gt=0,
        le=1,
        description="At most this share of a request's judgements, rounded up, is judged again in mode `reasoned`.",
    )
    canary_every_s: float = Field(
        default=300.0, ge=0, description="The fixed canary questions are judged every so many seconds. 0: never again."
    )


class SchedulingSettings(_Floor):
    """The bounded queue before the engine, and the batches that the engine gets. Tokens are those that the engine will
    compute."""

    max_batch_tokens: int = Field(default=8192, gt=0, description="A micro-batch has at most this many tokens.")
    max_queued_tokens: int = Field(
        default=1_000_000,
        gt=0,
        description="New work is refused with 503 and Retry-After when more tokens than this would wait.",
    )
    max_in_flight: int = Field(default=2, gt=0, description="The engine has at most this many micro-batches at a time.")
    max_concurrent_generations: int = Field(
        default=64, gt=0, description="The engine generates at most this many answers (mode `reasoned`) at a time."
    )
    max_queue_s: float = Field(
        default=120.0,
        gt=0,
        description="New work is refused too when it would wait longer than this at the measured rate, in seconds.",
    )


class CacheSettings(_Floor):
    """The verdicts that are kept, and the Redis that processes share."""

    cache_entries: int = Field(default=1_000_000, ge=0, description="Each process keeps at most this many verdicts.")
    cache_ttl_s: int = Field(
        default=7 * 86_400, gt=0, description="Redis keeps a verdict for this many seconds. Its key names its judge."
    )
    redis_url: str | None = Field(
        default=None,
        description="Processes share verdicts, quotas and replayed answers through this Redis: `redis://`, "
        "`rediss://`, `unix://`, `redis+cluster://host:port`, `redis+sentinel://host:port,host:port/name`. Each "
        "process uses its own memory if not set.",
        repr=False,
    )
    redis_timeout_s: float = Field(
        default=0.1,
        gt=0,
        description="A call of Redis that takes longer is a fault: the circuit breaker opens, and Redis is not used "
        "until it answers a ping.",
    )


class RuleSettings(_Floor):
    """The processes that run rule verifiers. A check here is one that needs a process: the cheap rules (rules.md) on
    short responses need none, and on long ones a process checks many of them as one."""

    rule_workers: int = Field(
        default=2,
        gt=0,
        description="This many processes run rule verifiers, and one more for a team that would wait for others.",
    )
    max_request_checks: int = Field(
        default=10_000, gt=0, description="Requests with more rule checks than this are refused with 422."
    )
    max_team_queued_checks: int = Field(
        default=10_000,
        gt=0,
        description="A team's requests with rules are refused with 503 when more of its rule checks than this would "
        "wait.",
    )
    max_queued_checks: int = Field(
        default=20_000,
        gt=0,
        description="When more rule checks than this would wait in all, a team that has more than an equal division of "
        "them waiting is refused with 503.",
    )
    rule_timeout_s: float = Field(default=5.0, gt=0, description="One rule check may take this many seconds.")
    max_rule_chars: int = Field(
        default=1_000_000,
        gt=0,
        description="A rule on a response with more characters than this has status `too_long`.",
    )


class TeamsFileSettings(_Floor):
    """The teams file."""

    teams: Path | None = Field(
        default=None,
        description="The teams file (YAML or JSON). It is read again when it changes. Without it no key is needed.",
    )


class TenancySettings(TeamsFileSettings):
    """The teams, and the answers that are kept for them."""

    idempotency_s: int = Field(
        default=3600,
        gt=0,
        description="An answer is replayed to the same `Idempotency-Key` for this many seconds.",
    )


class ApiSettings(_Floor):
    """The limits of one request, and the routes of other trainers."""

    max_items: int = Field(default=512, gt=0, description="One request has at most this many responses to score.")
    max_criteria: int = Field(default=256, gt=0, description="One rubric has at most this many criteria.")
    max_judgements: int = Field(
        default=32_768,
        gt=0,
        description="One request has at most this many judgements: criteria of its responses, times `votes`.",
    )
    max_body_bytes: int = Field(
        default=16 * 1024 * 1024, gt=0, description="One request body has at most this many bytes."
    )
    protocol_deadline_s: float = Field(
        default=100.0,
        gt=0,
        le=86_400,
        description="Other trainers' routes (protocols.md) answer after at most this many seconds, with the verdicts "
        "that there are by then.",
    )
    protocol_neutral: float | None = Field(
        default=None,
        ge=-1e6,
        le=1e6,
        allow_inf_nan=False,
        description="`/get_reward` and `/rm` answer this number, marked and counted, in place of a reward that was not "
        "judged. They answer an error if not set.",
    )
    protocol_reasoning: Literal["keep", "remove"] = Field(
        default="keep",
        description="Whether other trainers' routes take the reasoning off a response, where its label and URL do not "
        "say.",
    )
    protocol_end_tokens: tuple[Annotated[str, Field(min_length=1)], ...] | None = Field(
        default=None,
        description="`/get_reward` and `/rm` take these texts off the end of a response. Those of common chat models "
        "(protocols.md) if not set, none with `[]`.",
    )


class ObservabilitySettings(_Floor):
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


class ServerSettings(_Floor):
    """The process: where it listens, what its connections may take, and how long it takes to end."""

    host: str = Field(
        default="127.0.0.1",
        description="The address to listen on. Without a teams file it must be a loopback address.",
    )
    port: int = Field(default=8000, ge=0, le=65535, description="The port to listen on. 0: any free port.")
    root_path: str = Field(
        default="",
        pattern=r"^(/[A-Za-z0-9._~-]+)*\z",
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


class Settings(
    ServerSettings,  # the top floor; pydantic lists the fields of the last base first
    ObservabilitySettings,
    ApiSettings,
    TenancySettings,
    RuleSettings,
    CacheSettings,
    SchedulingSettings,
    ModeSettings,
    EngineSettings,
    BaseSettings,
):
    """Every setting of the service."""

    model_config = SettingsConfigDict(
        env_prefix="RUBRICD_",
        frozen=True,
        extra="forbid",
        hide_input_in_errors=True,  # a URL or a key may be in it
        cli_prog_name="python -m service",
        cli_kebab_case=True,
        cli_hide_none_type=True,
        env_ignore_empty=True,
    )


class KeysSettings(TeamsFileSettings, BaseSettings):
    """The one setting that `python -m service keys` reads from the environment. The others may be wrong."""

    model_config = SettingsConfigDict(env_prefix="RUBRICD_", frozen=True, extra="ignore", env_ignore_empty=True)


class PrometheusSettings(BaseSettings):
    """Prometheus' client shares metrics among processes through the folder of this variable. The service has no use for
    it; where the variable is set the folder has to be there."""

    model_config = SettingsConfigDict(frozen=True, extra="ignore", env_ignore_empty=True)

    prometheus_multiproc_dir: Path | None = None
