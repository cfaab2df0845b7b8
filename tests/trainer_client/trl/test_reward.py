"""The reward function without a trainer: what it asks, what it answers, when it stops, what it logs."""

import asyncio
import gc
import json
import pickle
import threading
from dataclasses import replace
from typing import Any

import httpx
import pytest
from transformers import AutoTokenizer

from testkit.scripted_judge import Service, answered, problem, scores, served
from testkit.waiting import HUNG_S
from tests.trainer_client.trl.asking import END, Log, asked
from tests.trainer_client.trl.tiny import judged_by, rows, word
from trainer_client import wire
from trainer_client.data.rows import Row
from trainer_client.errors import Unauthorized
from trainer_client.policy_answers import PolicyAnswers
from trainer_client.reward_client import JudgeConfig
from trainer_client.trl.parts import SplitReward
from trainer_client.trl.prompt_row import row_of, rowed, with_row
from trainer_client.trl.reward import reward_function
from trainer_client.trl.trainer import JudgeReward, TooFewJudged, dataset


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


def test_a_stored_rubric_travels_with_its_criteria_and_is_sent_by_its_reference() -> None:
    rubric = wire.Rubric.model_validate([{"text": "Is kind.", "points": 5}])
    ref = f"knee@{wire.version_of(wire.rubric_content(rubric))}"
    stored = wire.Rubric.model_validate({"criteria": rubric.criteria, "ref": ref})
    held = with_row(Row("q", ({"role": "user", "content": "Hello?"},), stored, None, "here"))
    (column,) = rowed(["Hello?"], {"rubric": [stored.model_dump()], "id": ["q"]}, rubrics=True)
    for prompt in (held, column):
        row = row_of(prompt)
        assert ([one["text"] for one in row["rubric"]], row["ref"]) == (["Is kind."], ref)
    bodies: list[Any] = []

    def respond(body: Any) -> httpx.Response:
        bodies.append(json.loads(json.dumps(body)))
        body["items"][0]["rubric"] = {"criteria": [{"text": "Is kind.", "points": 5}]}
        return answered(scores(body))

    with served(Service(respond)) as url:
        rewards = asyncio.run(reward_function(url)([held, held], ["a", "b"], [[END], [END]], trainer_state=None))
    assert [body["items"][0]["rubric"] for body in bodies] == [{"ref": ref}]
    assert None not in rewards
    with pytest.raises(ValueError, match="a reference without criteria"):
        rowed(["Hello?"], {"rubric": [{"ref": ref}], "id": ["q"]}, rubrics=True)


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
        own.join(HUNG_S)
    assert not own.is_alive()
    gc.collect()  # a connection that was left open would warn, and a warning is an error here


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
        {"role": "tool", "content": PARROT, "name": "look"},
        {"role": "assistant", "content": "Rest."},
    ]
    assert sent == [turns, turns[:2], "Rest."]
    assert log.columns["answer"] == ["Rest.", "", "Rest."]
