"""Real verl classes: verl's tool agent with real tools, whose turns reach the judge as a trajectory."""

import asyncio
from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import pytest
from verl.workers.rollout.replica import TokenOutput

from testkit.scripted_judge import Service
from tests.trainer_client.verl.contract.world import World, config, rows
from trainer_client.verl.rows import TOOL_AGENT, to_parquet

TOOLS = '''
from verl.tools.function_tool import function_tool


@function_tool
def look_up(word: str) -> str:
    """Looks a word up.

    Args:
        word: The word.
    """
    return f"{word}: see a doctor"
'''
CALL = '<tool_call>{"name": "look_up", "arguments": {"word": "knee"}}</tool_call>'
THOUGHT = "<think>see a doctor, see a doctor</think>"
CALLED = {
    "role": "assistant",
    "content": "Let me see.",
    "tool_calls": [{"name": "look_up", "arguments": '{"word": "knee"}'}],
}
TOLD = {"role": "tool", "content": "knee: see a doctor"}


@cache
def _tools() -> Path:
    """The file with the tool: verl takes a name from one file, for the whole process."""
    path = Path(mkdtemp()) / "tools.py"
    path.write_text(TOOLS, encoding="utf-8")
    return path


class Said:
    """Stands for verl's LLM server: says these texts one after the other, in each rollout."""

    def __init__(self, tokenizer: Any, *texts: str) -> None:
        self.tokenizer, self.texts = tokenizer, texts
        self.rounds: dict[str, int] = {}

    async def generate(self, request_id: str, **_: Any) -> TokenOutput:
        place = self.rounds[request_id] = self.rounds.get(request_id, -1) + 1
        await asyncio.sleep(0)
        ids = [*self.tokenizer.encode(self.texts[place]), self.tokenizer.eos_token_id]
        return TokenOutput(token_ids=ids, extra_fields={"min_global_steps": 1, "max_global_steps": 1})


async def _judged(
    folder: Path,
    judge: Service,
    monkeypatch: pytest.MonkeyPatch,
    *texts: str,
    changes: tuple[str, ...] = (),
    **recipe: Any,
) -> tuple[World, list[Any]]:
    """The responses that the judge was asked about; one rollout a row."""
    for split in ("train", "val"):
        to_parquet(rows(1), folder / f"{split}.parquet", split=split, agent=TOOL_AGENT)
    tools = f"actor_rollout_ref.rollout.multi_turn.function_tool_path={_tools()}"
    world = World(config(folder, tools, *changes, **{"group": 1, "response_tokens": 400, **recipe}), monkeypatch)
    world.server = world.worker.llm_client = Said(world.tokenizer, *texts)  # type: ignore[assignment]
    await world.roll_out()
    return world, [item["response"] for body in judge.bodies for item in body["items"]]


async def test_a_tools_words_reach_the_judge_as_the_tools(
    tmp_path: Path, judge: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    world, (response,) = await _judged(tmp_path, judge, monkeypatch, f"{THOUGHT}Let me see.{CALL}", f"{THOUGHT}Rest.")
    assert response == [CALLED, TOLD, {"role": "assistant", "content": "Rest."}]
    ((uid, member),) = world.store.rollouts()
    extra = world.store.field(uid, member, "extra_fields")
    assert (extra["answer"], extra["reasoning_ended"]) == ("Rest.", "finished")
    told = world.tokenizer.decode(world.store.field(uid, member, "responses"))
    assert "see a doctor" in told and THOUGHT in told  # what is trained on is verl's own


async def test_reasoning_may_be_kept(tmp_path: Path, judge: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    _, (response,) = await _judged(
        tmp_path, judge, monkeypatch, f"Let me see.{CALL}", f"{THOUGHT}Rest.", reasoning="keep"
    )
    assert response[-1] == {"role": "assistant", "content": f"{THOUGHT}Rest."}


@pytest.mark.parametrize(
    ("changes", "texts", "turns"),
    [
        # verl ends at these limits before it notes the turn down.
        (
            ("actor_rollout_ref.rollout.multi_turn.max_assistant_turns=2",),
            (f"Let me see.{CALL}", "Rest."),
            [CALLED, TOLD, "Rest."],
        ),
        (("actor_rollout_ref.rollout.multi_turn.max_assistant_turns=1",), (f"Let me see.{CALL}",), [CALLED]),
        ((), ("Rest.",), ["Rest."]),
    ],
)
async def test_the_last_turn_is_there_also_where_a_limit_ends_the_rollout(
    changes: tuple[str, ...],
    texts: tuple[str, ...],
    turns: list[Any],
    tmp_path: Path,
    judge: Service,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    _, (response,) = await _judged(tmp_path, judge, monkeypatch, *texts, changes=changes)
    assert response == [{"role": "assistant", "content": turn} if isinstance(turn, str) else turn for turn in turns]


async def test_an_answer_ends_at_the_response_length(
    tmp_path: Path, judge: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    world, (response,) = await _judged(
        tmp_path, judge, monkeypatch, "Rest the knee and see a doctor.", response_tokens=4
    )
    ((uid, member),) = world.store.rollouts()
    trained = world.store.field(uid, member, "responses")
    assert len(trained) == 4
    assert response == [{"role": "assistant", "content": world.tokenizer.decode(trained, skip_special_tokens=True)}]


async def test_verls_own_tool_agent_is_refused_because_it_hands_on_joined_text(
    tmp_path: Path, judge: Service, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("tests.trainer_client.verl.contract.tools.TOOL_AGENT", "tool_agent")
    _, responses = await _judged(tmp_path, judge, monkeypatch, f"Let me see.{CALL}", "Rest.")
    assert responses == []
    assert "this rollout has 4 turns, and its agent loop hands on their joined text alone" in caplog.text
