"""Every setting, frozen, by floor, read once at the start: from flags (`--port 9000`), then from the environment
(`RUBRICD_PORT=9000`). No other module reads the environment.
"""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

EngineName = Literal["auto", "fake", "local", "remote", "vllm"]


class Settings(BaseSettings):
    """rubricd: a judge that answers POST /v1/score."""

    model_config = SettingsConfigDict(
        env_prefix="RUBRICD_",
        frozen=True,
        extra="forbid",
        cli_prog_name="python -m service",
        cli_kebab_case=True,
        cli_hide_none_type=True,
        env_ignore_empty=True,
    )

    judge: str | None = Field(
        default=None,
        description="Folder or hub name of the judge's model; the bundled miniature judge when not set. "
        "With engine `remote`: folder or hub name of its tokenizer.",
    )
    revision: str | None = Field(default=None, description="Commit of the hub repository; pin it.")
    engine: EngineName = Field(default="auto", description="What runs the judge; `auto` is `local`.")
    labels: tuple[str, str] = Field(
        default=("Yes", "No"), description="What the judge says for met and not met; each one token."
    )
    label_mass_floor: float = Field(
        default=0.5, ge=0, le=1, description="A criterion abstains when the labels hold less of the vocabulary's mass."
    )

    reasoned_tokens: int = Field(default=512, gt=0, description="Mode `reasoned`: longest answer in tokens.")
    explanation_chars: int = Field(default=1200, gt=0, description="Mode `reasoned`: longest explanation.")
    thought_tokens: int = Field(
        default=4096, gt=0, description="Mode `reasoned`: longest thought of a model that cannot help thinking aloud."
    )
    vote_temperature: float = Field(default=0.7, gt=0, description="Mode `reasoned`: temperature of `votes`.")
    healthbench_template: Path | None = Field(
        default=None,
        description="File with the text of layout `healthbench`, for example the published grader's, with "
        "`<<conversation>>` and `<<rubric_item>>` in it; a text of the same structure if not set.",
    )
    escalate_band: float = Field(
        default=0.0,
        ge=0,
        le=0.5,
        description="Verdicts with P(met) so near 0.5, and abstentions, are asked again in mode `reasoned`; 0 is off.",
    )
    escalate_share: float = Field(
        default=0.1, gt=0, le=1, description="Share of a request's judgements that may be asked again, rounded up."
    )
    canary_every_s: float = Field(
        default=300.0, ge=0, description="How often the fixed canary questions are asked again, in seconds; 0: never."
    )

    dtype: Literal["auto", "float32", "bfloat16"] = Field(
        default="auto", description="Engines `local`, `vllm`: `auto` is float32 on a CPU, bfloat16 on a GPU."
    )
    device: str | None = Field(
        default=None, description="Engine `local`: `cpu`, `cuda`, `cuda:1`; best found if not set."
    )
    max_model_len: int | None = Field(
        default=None, gt=0, description="Longest prompt in tokens; the model's own limit if not set."
    )
    remote_url: str | None = Field(
        default=None, description="Engine `remote`: base URL of an OpenAI-compatible server, with its `/v1`."
    )
    remote_model: str | None = Field(
        default=None, description="Engine `remote`: the model's name there; the only one it serves if not set."
    )
    remote_token_ids: bool = Field(
        default=True, description="Engine `remote`: tokens are told apart by id (vLLM); off: by the labels' text."
    )
    remote_key: str | None = Field(default=None, description="Engine `remote`: bearer key.", repr=False)

    vllm_tensor_parallel_size: int = Field(default=1, gt=0, description="Engine `vllm`: GPUs that share the judge.")
    vllm_quantization: str | None = Field(
        default=None, description="Engine `vllm`: how weights are quantised; what the checkpoint says if not set."
    )
    vllm_lora: str | None = Field(
        default=None, description="Engine `vllm`: folder of a LoRA adapter in safetensors; it is part of the judge."
    )
    vllm_gpu_memory_utilization: float = Field(
        default=0.9, gt=0, le=1, description="Engine `vllm`: share of a GPU's memory that it takes."
    )
    vllm_kv_cache_gb: float | None = Field(
        default=None, gt=0, description="Engine `vllm`: KV cache in GiB; 4 on a CPU, what is left on a GPU if not set."
    )
    vllm_max_num_batched_tokens: int | None = Field(
        default=None, gt=0, description="Engine `vllm`: tokens of one of its steps; its own choice if not set."
    )
    vllm_enforce_eager: bool | None = Field(
        default=None, description="Engine `vllm`: compile nothing; so on a CPU, not so on a GPU if not set."
    )
    vllm_batch_invariant: bool = Field(
        default=False, description="Engine `vllm`: a verdict never depends on what is judged beside it; slower."
    )
    vllm_hang_s: float = Field(
        default=60.0, gt=0, description="Engine `vllm`: with work in flight and silent for so long it is restarted."
    )

    max_batch_tokens: int = Field(default=8192, gt=0, description="Token budget of one micro-batch.")
    max_queued_tokens: int = Field(
        default=1_000_000, gt=0, description="Beyond it new work is refused with 503 and Retry-After."
    )
    max_in_flight: int = Field(default=2, gt=0, description="Micro-batches at the engine at a time.")
    max_writing: int = Field(default=64, gt=0, description="Written answers (mode `reasoned`) at the engine at a time.")
    max_queue_s: float = Field(
        default=120.0,
        gt=0,
        description="Work that would wait longer, at the measured rate, is refused too.",
    )
    cache_entries: int = Field(default=1_000_000, ge=0, description="Verdicts kept in memory.")
    cache_ttl_s: int = Field(
        default=7 * 86_400, gt=0, description="Redis: how long a verdict is kept; its key names its judge."
    )
    redis_url: str | None = Field(
        default=None,
        description="Redis that replicas share verdicts, quotas and replays by: `redis://`, `rediss://`, `unix://`, "
        "`redis+cluster://host:port`, `redis+sentinel://host:port,host:port/name`. Memory alone if not set.",
        repr=False,
    )
    redis_timeout_s: float = Field(
        default=0.1, gt=0, description="Redis: a call that takes longer is a fault; then it is left alone for a while."
    )
    rule_workers: int = Field(default=2, gt=0, description="Processes that run rule verifiers.")
    max_queued_checks: int = Field(
        default=10_000,
        gt=0,
        description="Rule checks that may wait; beyond it requests with rules are refused with 503.",
    )
    rule_timeout_s: float = Field(default=5.0, gt=0, description="Wall-clock limit of one rule, in seconds.")

    teams: Path | None = Field(
        default=None, description="Teams file (YAML or JSON), read again when it changes; without it no keys are asked."
    )
    idempotency_s: int = Field(
        default=3600, gt=0, description="How long an answer is replayed to the same `Idempotency-Key`."
    )
    protocol_deadline_s: float = Field(
        default=100.0,
        gt=0,
        description="Other trainers' routes (protocols.md): what is not judged by then is not judged, in seconds.",
    )
    protocol_neutral: float | None = Field(
        default=None,
        allow_inf_nan=False,
        description="`/get_reward`, `/rm`: the number, marked and counted, in place of a reward that was not judged; "
        "an error if not set.",
    )
    protocol_end_tokens: tuple[Annotated[str, Field(min_length=1)], ...] | None = Field(
        default=None,
        description="`/get_reward`, `/rm`: taken off the end of a response; those of common chat models "
        "(protocols.md) if not set, `[]` for none.",
    )
    metric_teams: int = Field(
        default=50, ge=0, description="Teams with a label of their own in the metrics; the rest is `other`."
    )
    host: str = Field(
        default="127.0.0.1", description="Address to listen on; without a teams file only loopback is allowed."
    )
    log_format: Literal["text", "json"] = Field(
        default="text", description="Log lines: `text` for a person, `json` for a machine, one object a line."
    )
    otlp_endpoint: str | None = Field(
        default=None,
        description="OpenTelemetry collector that traces are sent to by OTLP/HTTP, such as `http://collector:4318`; "
        "no traces if not set.",
    )
    trace_sample: float = Field(
        default=1.0, ge=0, le=1, description="Share of requests that are traced, where the caller has not decided."
    )
    port: int = Field(default=8000, ge=0, le=65535, description="Port to listen on.")
    max_items: int = Field(default=512, gt=0, description="Results one request may ask for.")
    max_criteria: int = Field(default=256, gt=0, description="Criteria one rubric may hold.")
    max_body_bytes: int = Field(default=16 * 1024 * 1024, gt=0, description="Largest request body.")
    drain_s: float = Field(
        default=30.0, ge=0, description="Time that accepted work has to finish at shutdown, in seconds."
    )
