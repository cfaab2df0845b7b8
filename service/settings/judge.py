"""The settings of the judge: the engine that runs it, its labels, and the modes in which it is asked."""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, JsonValue, StringConstraints, field_validator

from service.settings.floor import Floor, fits_a_header

EngineName = Literal["auto", "chat", "decisions", "fake", "local", "remote", "vllm"]
Label = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]


class LabelSettings(Floor):
    """The label tokens: the modes ask for them, and engine `remote` may have to find them by their text."""

    labels: tuple[Label, Label] = Field(
        default=("Yes", "No"),
        description="The judge is asked to answer the first label for met and the second for not met. Each is one "
        "token where the answer stands, with the space before it that the tokenizer wants there.",
    )

    @field_validator("labels", mode="before")
    @classmethod
    def _two(cls, labels: Any) -> Any:
        if isinstance(labels, list | tuple) and len(labels) != 2:
            raise ValueError("must be two labels, such as Yes,No")
        return labels


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
        default="auto",
        description="The engine runs the judge: `local`, `vllm`, `remote`, `decisions`, `chat` or `fake`; `auto` is "
        "`local`.",
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

    decisions_url: str | None = Field(
        default=None,
        description="Engine `decisions` asks the server of typed decisions at this base URL, with or without its "
        "`/v1`.",
    )
    decisions_protocol: Literal["system_one", "openai"] = Field(
        default="system_one",
        description="Engine `decisions` speaks System One (`/v1/systemone`), or OpenAI's decisions (`/v1/decisions`).",
    )
    decisions_model: str | None = Field(
        default=None,
        description="Engine `decisions` asks for the model of this name, which may be an alias. The model that must "
        "answer can be declared as `revision`.",
    )
    decisions_key: str | None = Field(default=None, description="Engine `decisions` sends this bearer key.", repr=False)
    decisions_framing: str = Field(
        default="{criterion}",
        description="Engine `decisions` asks each criterion in these words, with its text for `{criterion}`.",
    )
    decisions_questions: int = Field(
        default=64, gt=0, description="Engine `decisions` asks at most so many criteria in one call."
    )
    decisions_timeout_s: float = Field(
        default=60.0, gt=0, description="Engine `decisions` waits so many seconds for the answer to a call."
    )

    chat_url: str | None = Field(
        default=None,
        description="Engine `chat` asks the OpenAI-compatible chat API at this base URL, with or without its `/v1`.",
    )
    chat_model: str | None = Field(
        default=None,
        description="Engine `chat` asks for the model of this name. The model that must answer can be declared as "
        "`revision`.",
    )
    chat_key: str | None = Field(default=None, description="Engine `chat` sends this bearer key.", repr=False)
    chat_votes: int = Field(
        default=5,
        ge=3,
        le=16,
        description="Engine `chat` takes the share of so many written verdicts as P(met), in mode `reasoned` and where "
        "the API reports no log-probabilities.",
    )
    chat_timeout_s: float = Field(
        default=60.0, gt=0, description="Engine `chat` waits so many seconds for the answer to a call."
    )

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

    @field_validator("remote_key", "decisions_key", "chat_key")
    @classmethod
    def _fits_a_header(cls, key: str | None) -> str | None:
        return fits_a_header(key)


class ModeSettings(LabelSettings):
    """The judging modes: what the judge is shown, and how long its answers may be."""

    prompt: str = Field(
        default="question",
        description="The judge's prompt in mode `verdict` and layout `rubricd`: the name of one of ours, or a TOML "
        "file with one. A request may name another one that is served as `judge_prompt`.",
    )
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
        description="A file has the text of layouts `healthbench` and `simple_evals`, for example the published "
        "grader's, with `<<conversation>>` and `<<rubric_item>>` in it. A text of the same structure is used if not "
        "set.",
    )
    calibration: Path | None = Field(
        default=None,
        description="The calibration file, as `rubricd calibrate` writes it: what P(met) of this judge means, and how "
        "often it errs. It is part of the judge. P(met) stays as the judge gives it if not set.",
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
    exam: bool = Field(
        default=True,
        description="The judge sits an exam of built-in questions: at the start, and in another mode or layout when "
        "that is first asked for. Without it no mode is proven, and none that fails is found.",
    )
    canary_every_s: float = Field(
        default=300.0,
        ge=0,
        description="The fixed canary questions are judged every so many seconds, and the labelled ones each twelfth "
        "time. 0: never again.",
    )
    canaries: Path | None = Field(
        default=None,
        description="A file of labelled rows, one JSON object a line, which the judge is asked as labelled canaries. "
        "The questions of the exam are, if it is not set.",
    )
