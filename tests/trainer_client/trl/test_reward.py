"""The reward function without a trainer: what it asks, what it answers, when it stops, what it logs."""

import asyncio
import gc
import json
import pickle
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from transformers import AutoTokenizer

from service.app import create_app, lifecycle_of
from service.engine.build import LoadedJudge
from service.engine.fake import FakeEngine, FaultPlan
from service.settings import Settings
from testkit.apps import fake_settings
from testkit.scripted_judge import Json, Service, answered, problem, served
from testkit.tokenizer_families import family
from tests.trainer_client.trl.tiny import EVEN, QUIET, Recorder, judged_by, rows, save_policy, texts, word
from trainer_client import wire
from trainer_client.client import JudgeClient, reward
from trainer_client.data.rows import Row
from trainer_client.errors import Unauthorized
from trainer_client.policy_answers import PolicyAnswers
from trainer_client.reward_client import JudgeConfig
from trainer_client.trl.parts import SplitReward
from trainer_client.trl.prompt_row import rowed
from trainer_client.trl.reward import reward_function
from trainer_client.trl.trainer import JudgeReward, TooFewJudged, build, dataset, grpo_config

END = 2


class Log:
    """What TRL would be told."""

    def __init__(self) -> None:
        self.columns: dict[str, list[Any]] = {}
        self.metrics: dict[str, list[float]] = defaultdict(list)

    def column(self, name: str, values: list[Any]) -> None:
        assert name not in self.columns
        self.columns[name] = values

    def metric(self, name: str, value: float) -> None:
        self.metrics[name].append(value)


def asked(
    judge: JudgeReward, given: list[Row], answers: list[str], *, ids: Any = None, log: Log | None = None, **columns: Any
) -> list[float | None]:
    """As TRL asks: one prompt, one completion and one list of ids for each answer."""
    prompts = dataset(given)["prompt"]
    completions = [[{"role": "assistant", "content": answer}] for answer in answers]
    log = log or Log()
    ids = ids or [[5, END] for _ in answers]
    logs: dict[str, Any] = {"log_extra": log.column, "log_metric": log.metric}
    return asyncio.run(judge(list(prompts), completions, ids, trainer_state=None, **logs, **columns))


def test_each_answer_has_its_own_score_and_a_group_is_one_item() -> None:
    given = [row for row in rows(3) for _ in range(2)]
    answers = [f"answer {n}" for n in range(6)]
    with judged_by() as (judging, service):
        rewards = asked(JudgeReward(judging), given, answers)
    assert rewards == [pytest.approx(word(answer)) for answer in answers]
    items = [item for body in service.bodies for item in body["items"]]
    assert [item["responses"] for item in items] == [answers[:2], answers[2:4], answers[4:]]
    for item, row in zip(items, rows(3), strict=True):
        assert item["prompt"] == list(row.messages)  # the bare one
        assert [one["text"] for one in item["rubric"]["criteria"]] == [one.text for one in row.rubric.criteria]  # type: ignore[union-attr]


def test_tickets_find_their_answers_in_any_order() -> None:
    given, answers = rows(4), [f"answer {n}" for n in range(4)]
    with judged_by() as (judging, service):
        judge = JudgeReward(judging)
        prompts = list(dataset(given)["prompt"])
        tickets = judge.begin(prompts[:3], answers[:3]) + judge.begin(prompts[3:], answers[3:])
        back = asked(judge, given[::-1], answers[::-1], ticket=tickets[::-1])
        again = asked(judge, given, answers, ticket=judge.begin(prompts, answers))
    assert back[::-1] == again == [pytest.approx(word(answer)) for answer in answers]
    assert len(service.bodies) == 3 and judge._begun == {}


def test_what_was_cut_off_is_charged_where_that_is_declared() -> None:
    """min(score, 0) minus the charge; an answer that ends keeps its score, one that was not judged has none."""
    scores = {"ends": 0.75, "cut": 0.75, "cut and bad": -0.5, "cut, unknown": None, "nothing": 0.5}
    ids = [[7, END], [7, 7], [7, 7], [7, 7], []]
    with judged_by(lambda response: scores[response]) as (judging, _):
        plain = asked(JudgeReward(judging), rows(5), list(scores), ids=ids)
        charging = JudgeConfig(judging.url, judge_timeout_s=60, max_missing_fraction=1.0, truncation_penalty=0.25)
        charged = asked(JudgeReward(charging, ends=[END, 3]), rows(5), list(scores), ids=ids)
    assert plain == list(scores.values())
    assert charged == [0.75, -0.25, -0.75, None, -0.25]


def test_a_charge_without_end_tokens_is_refused() -> None:
    with pytest.raises(ValueError, match="say in `ends` which tokens finish one"):
        JudgeReward(JudgeConfig("http://judge", truncation_penalty=0.1))


@pytest.mark.parametrize(("max_missing_fraction", "stops"), [(0.0, True), (0.49, True), (0.5, False), (1.0, False)])
def test_a_step_of_which_too_much_is_missing_is_not_taken(max_missing_fraction: float, stops: bool) -> None:
    scores = {"a": 0.5, "b": None, "c": 1.0, "d": None}
    with judged_by(lambda response: scores[response]) as (judging, _):
        judge = JudgeReward(JudgeConfig(judging.url, judge_timeout_s=60, max_missing_fraction=max_missing_fraction))
        if not stops:
            assert asked(judge, rows(4), list(scores)) == list(scores.values())
            return
        message = r"2 of 4 rollouts have no reward \(2 abstained\); no step .* Another attempt would not help.*"
        with pytest.raises(TooFewJudged, match=message):
            asked(judge, rows(4), list(scores))


def test_all_judged_is_never_too_few() -> None:
    with judged_by() as (judging, _):
        judge = JudgeReward(JudgeConfig(judging.url, judge_timeout_s=60, max_missing_fraction=0.0))
        assert None not in asked(judge, rows(2), ["a", "b"])


def test_who_stops_says_the_first_reason_in_the_services_words() -> None:
    with served(Service(lambda body: problem("unavailable", 503, retry_after="1000"))) as url:
        judge = JudgeReward(JudgeConfig(url, judge_timeout_s=60))
        with pytest.raises(TooFewJudged, match=r"\(2 unavailable; the first: about unavailable \(request req-\d+\)\)"):
            asked(judge, rows(2), ["a", "b"])


def test_the_hopeless_ends_the_run_at_once() -> None:
    with served(Service(lambda body: problem("unauthorized", 401))) as url, pytest.raises(Unauthorized):
        asked(JudgeReward(JudgeConfig(url, judge_timeout_s=600)), rows(2), ["a", "b"])


def test_a_prompt_without_its_row_is_refused() -> None:
    judge = JudgeReward(JudgeConfig("http://judge"))
    prompts: list[Any] = [[{"role": "user", "content": "Hello?"}]]
    completions: list[Any] = [[{"role": "assistant", "content": "a"}]]
    with pytest.raises(
        ValueError, match=r"holds no `row`: make the data set with trainer_client\.trl\.trainer\.dataset"
    ):
        asyncio.run(judge(prompts, completions, [[END]]))


RUBRIC = [{"text": "Is kind.", "points": 5.0, "id": None}, {"text": "Lies.", "points": -3.0, "id": "lies"}]


@pytest.mark.parametrize("rubric", [RUBRIC, {"criteria": RUBRIC}, json.dumps(RUBRIC)], ids=["list", "dict", "text"])
@pytest.mark.parametrize("spoken", [True, False])
def test_a_data_set_with_a_column_of_rubrics_is_enough(rubric: Any, spoken: bool) -> None:
    """As a stock trainer calls it: prompts and completions are texts or messages, the columns are a data set's."""
    log, service = Log(), Service()
    prompts: Any = [[{"role": "user", "content": "Hello?"}]] * 2 if spoken else ["Hello?"] * 2
    completions: Any = [[{"role": "assistant", "content": word}] if spoken else word for word in ("a", "b")]
    columns: dict[str, Any] = {"rubric": [rubric] * 2, "reference": ["Hi.", "Hi."], "id": ["q", "q"], "level": [1, 2]}
    with served(service) as url:
        judge = reward_function(url, token="key", soft=True)
        logs: dict[str, Any] = {"log_extra": log.column, "log_metric": log.metric}
        asyncio.run(judge(prompts, completions, [[END], [END]], trainer_state=None, **logs, **columns))
    (body,) = service.bodies
    (item,) = body["items"]
    assert (item["prompt"], item["responses"], item["reference"]) == (
        [{"role": "user", "content": "Hello?"}],
        ["a", "b"],
        "Hi.",
    )
    assert [one["text"] for one in item["rubric"]["criteria"]][-1] == "Lies." and body["soft"] is True
    assert log.columns["row"] == ["q", "q"] and log.metrics["criteria/lies"]


def test_a_mode_without_a_rubric_needs_no_column() -> None:
    prompts: Any = ["Hello?"]
    judge = reward_function("http://judge", mode="likert")
    ((ticketed,),) = [rowed(prompts, {}, rubrics=False)]
    assert json.loads(ticketed[-1]["row"]) == {"id": None, "rubric": None, "reference": None}
    with pytest.raises(ValueError, match="or give it a column `rubric`"):
        rowed(prompts, {}, rubrics=True)
    assert judge.__name__ == "judge"


def test_a_misspelt_option_is_refused_when_it_is_written() -> None:
    with pytest.raises(TypeError, match="unknown options: agregation"):
        reward_function("http://judge", agregation="mean")  # type: ignore[call-arg]


def test_two_judges_side_by_side_log_under_their_own_names() -> None:
    first, second = Log(), Log()
    with judged_by() as (judging, _):
        asked(JudgeReward(judging), rows(2), ["a", "b"], log=first)
        asked(JudgeReward(judging, name="safety"), rows(2), ["a", "b"], log=second)
    assert not first.columns.keys() & second.columns.keys() and not first.metrics.keys() & second.metrics.keys()
    assert {"safety/score", "safety/row"} < second.columns.keys()
    assert {"safety/none_share", "safety/reward/bare", "safety/criteria/c0"} < second.metrics.keys()
    assert all(name.startswith("safety/") for name in (*second.columns, *second.metrics))


def test_a_pickled_judge_judges_in_its_new_process() -> None:
    """TRL's asynchronous trainer sends its reward functions to a spawned process. This one has connections open."""
    with judged_by() as (judging, _):
        config = JudgeConfig(judging.url, options={"soft": True}, truncation_penalty=0.5, max_missing_fraction=1.0)
        judge = JudgeReward(config, ends=[END], name="safety")
        before = asked(judge, rows(1), ["a"])
        copy = pickle.loads(pickle.dumps(judge))  # noqa: S301  our own
        assert asked(copy, rows(1), ["a"]) == before == [pytest.approx(word("a"))]
        assert asked(copy, rows(1), ["a"], ids=[[5]]) == [-0.5] and copy.__name__ == "safety"


def test_a_pickled_judge_reads_the_policys_answers_as_the_first_one_does(policy: str) -> None:
    """What the trainer told it after it was made: the tokenizer, its tags and the tokens that end an answer."""
    tokenizer = AutoTokenizer.from_pretrained(policy)
    tokenizer.chat_template += "{# <think> </think> #}"
    with judged_by() as (judging, service):
        judge = JudgeReward(JudgeConfig(judging.url, truncation_penalty=0.5), ends=[99])
        judge.end_at([END])
        judge.read_with(PolicyAnswers("remove", tokenizer))
        split = SplitReward(judging, by="tag", soft=False)
        split.read_with(PolicyAnswers("remove", tokenizer))
        for one in (judge, split):
            copy = pickle.loads(pickle.dumps(one))  # noqa: S301  our own
            ids = [tokenizer("<think>My knee.</think>Rest.", add_special_tokens=False)["input_ids"] + [END]]
            before = asked(one, rows(1), [""], ids=ids)
            assert asked(copy, rows(1), [""], ids=ids) == before
            assert [body["items"][0]["responses"] for body in service.bodies[-2:]] == [["Rest."]] * 2


def test_a_judge_that_nobody_needs_any_more_leaves_no_thread_and_no_connection() -> None:
    def threads() -> set[threading.Thread]:
        return {thread for thread in threading.enumerate() if thread.name == "judge"}

    gc.collect()
    before = threads()
    with judged_by() as (judging, _):
        judge = JudgeReward(judging)
        asked(judge, rows(1), ["a"])
        (own,) = threads() - before
        del judge
        gc.collect()
        own.join(30)
    assert not own.is_alive()
    gc.collect()  # a connection that was left open would warn, and a warning is an error here


def test_columns_of_the_completions_table() -> None:
    log = Log()
    with judged_by(lambda response: None if response == "b" else 0.5) as (judging, _):
        columns = {"member": [0, 1], "revealed": ["[0]", "[]"], "revealed_share": [1.0, 0.0], "other": [1, 2]}
        asked(JudgeReward(judging), rows(2), ["a", "b"], log=log, **columns)
    drawn = ["member", "revealed_share", "revealed"]
    assert list(log.columns) == ["row", *drawn, "answer", "score", "reward", "status", "criteria"]
    assert log.columns["answer"] == ["a", "b"]
    assert log.columns["row"] == ["row-0", "row-1"]
    assert log.columns["score"] == log.columns["reward"] == [0.5, None]
    assert log.columns["status"] == ["ok", "abstained"]
    assert set(json.loads(log.columns["criteria"][0])) == {"c0", "c1", "c2"}
    assert json.loads(log.columns["criteria"][1]) == dict.fromkeys(("c0", "c1", "c2"))


PARROT = "I was shown: see a doctor."
FORMS = {
    "plain": "Rest.",
    "tagged": f"<think>{PARROT}</think>Rest.",
    "prefilled": f"{PARROT}\n</think>\n\nRest.",
    "nested": f"<think>{PARROT}<think>{PARROT}</think></think>Rest.",
    "channels": f"<|channel|>analysis<|message|>{PARROT}<|end|><|start|>assistant<|channel|>final<|message|>Rest.",
    "unclosed": f"<think>{PARROT}",
}


def test_a_policy_that_repeats_in_its_reasoning_what_it_was_shown_earns_nothing() -> None:
    log, kept = Log(), Log()
    with judged_by(lambda response: 0.577 if "doctor" in response else 0.0) as (judging, service):
        given, texts = rows(len(FORMS)), list(FORMS.values())
        assert asked(JudgeReward(judging), given, texts, log=log) == [0.0] * len(FORMS)
        seen = [text for body in service.bodies for one in body["items"] for text in one["responses"]]
        keeping = JudgeReward(replace(judging, reasoning="keep"))
        assert asked(keeping, given, texts, log=kept) == [0.0] + [0.577] * (len(FORMS) - 1)
    assert log.columns["answer"] == seen == ["Rest."] * 5 + [""]
    assert log.metrics["answer/empty"] == log.metrics["answer/reasoning_unfinished"] == [0] * 5 + [1]
    assert kept.columns["answer"] == texts


def test_a_completion_with_tools_is_sent_turn_by_turn_and_a_tools_words_are_no_answer() -> None:
    call = {"type": "function", "function": {"name": "look", "arguments": {"q": "neck"}}}
    completion = [
        {"role": "assistant", "content": f"<think>{PARROT}</think>I look.", "tool_calls": [call]},
        {"role": "tool", "name": "look", "content": PARROT},
        {"role": "assistant", "content": "Rest."},
    ]
    cut, log, plain = completion[:2], Log(), [{"role": "assistant", "content": "Rest."}]
    with judged_by(lambda response: 0.25) as (judging, service):
        judge, given = JudgeReward(judging), rows(3)
        prompts = list(dataset(given)["prompt"])
        completions: list[Any] = [completion, cut, plain]
        asyncio.run(judge(prompts, completions, [[5]] * 3, log_extra=log.column, log_metric=log.metric))
        sent = [one for body in service.bodies for item in body["items"] for one in item["responses"]]
    calls = [{"name": "look", "arguments": '{"q": "neck"}'}]
    turns = [
        {"role": "assistant", "content": "I look.", "tool_calls": calls},
        {"role": "tool", "content": PARROT},
        {"role": "assistant", "content": "Rest."},
    ]
    assert sent == [turns, turns[:2], "Rest."]
    assert log.columns["answer"] == ["Rest.", "", "Rest."]


def test_metrics() -> None:
    log = Log()
    with judged_by(lambda response: None if response == "c" else word(response)) as (judging, _):
        asked(JudgeReward(judging), rows(3), ["a", "b", "c"], log=log, revealed_share=[1.0, 0.0, 0.5])
    told = log.metrics
    assert told["judge/none_share"] == [0, 0, 1] and told["scaffold/revealed_share"] == [1, 0, 0.5]
    assert (told["reward/scaffolded"], told["reward/bare"]) == ([word("a")], [word("b")])
    assert told["judge/abstained"] == [0] * 6 + [1] * 3
    assert len(told["judge/p_met"]) == len(told["judge/met_share"]) == 6
    assert told["criteria/c0"] == told["judge/met_share"][::3]
    assert len(told["judge/latency_s"]) == len(told["judge/waited_s"]) == 1
    assert told["judge/coverage"] == [1, 1, 0]


def test_what_a_batch_cost_is_logged() -> None:
    """Of a batch alone, and not of those before it."""
    with judged_by() as (judging, service):
        usage = {"judgements": 9, "cache_hits": 2, "prompt_tokens": 70, "cached_tokens": 50, "completion_tokens": 3}
        plain = service.answer

        def answer(body: Json) -> httpx.Response:
            whole = plain(body).json()
            return answered({**whole, "usage": {**whole["usage"], **usage}})

        service.answer = answer
        judge = JudgeReward(judging)
        for _ in range(2):
            log = Log()
            asked(judge, rows(1), ["a"], log=log)
            told = {name.removeprefix("judge/usage/"): value for name, value in log.metrics.items() if "usage" in name}
            assert told == {
                "answers": [1], "retries": [0], "deduplicated": [0], **{name: [one] for name, one in usage.items()}
            }  # fmt: skip


def test_at_most_64_criteria_are_followed_by_name() -> None:
    tags = {"axis": "a"}
    made = [wire.Criterion(id=f"c{n}", text=f"Says {n}.", points=1, tags=tags if n == 99 else {}) for n in range(100)]
    row = Row("r", ({"role": "user", "content": "Hello?"},), wire.Rubric(criteria=made), None, "s")
    log = Log()
    with judged_by() as (judging, _):
        judge = JudgeReward(judging)
        asked(judge, [row], ["a"], log=log)
        asked(judge, [row], ["b"], log=Log())
    names = [name for name in log.metrics if name.startswith("criteria/")]
    assert names == [*(f"criteria/c{n}" for n in range(64)), "criteria/other"]
    assert len(log.metrics["criteria/other"]) == 37


def test_criteria_without_a_name_are_followed_by_their_tags_only() -> None:
    made = [wire.Criterion(text=f"Says {n}.", points=1, tags={"axis": "ab"[n % 2]}) for n in range(5)]
    row = Row("r", ({"role": "user", "content": "Hello?"},), wire.Rubric(criteria=made), None, "s")
    log = Log()
    with judged_by() as (judging, _):
        asked(JudgeReward(judging), [row], ["a"], log=log)
    named = {name: len(values) for name, values in log.metrics.items() if name.startswith("criteria/")}
    assert named == {"criteria/axis:a": 3, "criteria/axis:b": 2}


@contextmanager
def faulty(**rates: float) -> Iterator[str]:
    """The service itself on a loopback port, with a judge that fails so from when it is ready; without rates a healthy
    one."""
    engine = FakeEngine()

    async def build_engine(settings: Settings) -> LoadedJudge:
        return LoadedJudge(engine, family("qwen"))

    app = create_app(fake_settings(cache_entries=0, canary_every_s=0), build=build_engine)
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_config=None, ws="none"))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started or lifecycle_of(app).state == "loading":
        time.sleep(0.01)
    assert lifecycle_of(app).state == "ready"
    engine.plan = FaultPlan(rates=rates)  # type: ignore[arg-type]
    try:
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()


def test_a_judge_that_fails_some_criteria(tmp_path: Path) -> None:
    """Trained against the service while its engine fails: every reward in the loss is a healthy judge's, or none."""
    policy = save_policy(tmp_path / "policy")
    sizes = {"group": 4, "prompts_per_batch": 3, "mini_batch": 3, "per_device": 12, "steps": 4}
    config = grpo_config(tmp_path / "out", **{**QUIET, **sizes, "save_strategy": "no", "log_completions": True})
    given = [row for _ in range(4) for row in rows(3)]
    with faulty(some=0.3, low_mass=0.2, nan=0.1) as url:
        judging = JudgeConfig(url, judge_timeout_s=0.3, max_missing_fraction=1.0)
        trainer = build(policy, given, judging=judging, config=config, scaffold=EVEN)
        seen = Recorder()
        seen.watch(trainer).train()
    logs = [trainer.state.log_history[n]["judge/none_share"] for n in range(4)]
    with faulty() as url:
        right = [_healthy(url, policy, rollout) for rollout in seen.rollouts]
    assert None not in right[0]
    judged = unjudged = 0
    for values, part, share in zip(_logged(tmp_path / "out"), seen.losses, logs, strict=True):
        wanted = right.pop(0)
        assert all(one is None or one == pytest.approx(good) for one, good in zip(values, wanted, strict=True))
        assert share == pytest.approx(values.count(None) / 12)
        judged, unjudged = judged + 12 - values.count(None), unjudged + values.count(None)
        assert part["advantages"].eq(0).sum() >= values.count(None)
        assert not part["advantages"].isnan().any()
    assert judged > 5 and unjudged > 5


def _logged(out: Path) -> list[list[float | None]]:
    import pyarrow.parquet as pq

    tables = [pq.read_table(file).to_pydict()["reward"] for file in sorted((out / "completions").glob("*.parquet"))]
    return [[None if one is None or one != one else float(one) for one in rewards] for rewards in tables]


def _healthy(url: str, policy: str, rollout: dict[str, Any]) -> list[float | None]:
    items = [
        {
            "prompt": rollout["prompts"][n][0]["content"],
            "response": answer,
            "rubric": json.loads(rollout["prompts"][n][-1]["row"])["rubric"],
        }
        for n, answer in enumerate(texts(policy, rollout["completion_ids"]))
    ]

    async def ask() -> list[float | None]:
        async with JudgeClient(url) as client:
            return [reward(outcome) for outcome in await client.score(items)]

    return asyncio.run(ask())
