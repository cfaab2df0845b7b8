"""Runs verl's tool agent as it is, and hands on who said what: verl itself gives a reward function only joined text.

Guarantees: the turns are those of verl's loop, with the last one where verl ends before it notes it down. The tokens
that are trained on are verl's own. Rollouts are generated from the bare prompt.
"""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from trainer_client.live_rubrics.dropout import RubricDropout
from trainer_client.policy_answers import PolicyAnswers
from trainer_client.verl.agent_loop import check_trainer, handed_on, rubric_now
from trainer_client.verl.evolving import VerlEvolving
from trainer_client.verl.rows import prompt_row

try:
    from verl.experimental.agent_loop import AgentLoopOutput
    from verl.experimental.agent_loop.tool_agent_loop import AgentData, AgentState, ToolAgentLoop
except ImportError as missing:
    raise ImportError(
        f"rubricd's tool agent runs inside verl 0.9, which cannot be imported ({missing}): "
        "pip install 'verl[vllm]==0.9.*' in the environment of the training"
    ) from missing

Turn = Mapping[str, Any]


class TurnsToolAgentLoop(ToolAgentLoop):  # type: ignore[misc]
    """verl makes one for each rollout, and passes the tools of `rollout.multi_turn`. A reward function finds the turns
    in `extra_info`: `turns` without the policy's reasoning, and `turns_with_reasoning`."""

    def __init__(
        self,
        *args: Any,
        dropout: RubricDropout | None = None,
        evolving: VerlEvolving | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        self._dropout, self._evolving = dropout, evolving
        check_trainer(self.config)
        self._answers = PolicyAnswers("remove", self.tokenizer, self.apply_chat_template_kwargs)
        self._data: AgentData

    async def run(self, sampling_params: dict[str, Any], priority: int = 0, **kwargs: Any) -> AgentLoopOutput:
        """Makes one rollout of one row, as verl's loop does."""
        now = None
        if self._dropout or self._evolving:
            own = prompt_row(kwargs["extra_info"])
            now = await asyncio.to_thread(rubric_now, own, self._dropout, kwargs, self._evolving)
        output: AgentLoopOutput = await super().run(sampling_params, priority=priority, **kwargs)
        turns = [self._plain(turn) for turn in await self._turns(len(kwargs["raw_prompt"]))]
        last = turns[-1]
        split = self._answers.split(last["content"] if last["role"] == "assistant" else "")
        read = [{**turn, "content": self._answer(turn)} for turn in turns]
        output.extra_fields.update(
            turns=read,
            turns_with_reasoning=turns,
            answer=split.answer,
            reasoning_ended=split.ended,
            **handed_on(now, self._evolving, kwargs, int(self.rollout_config.n)),
        )
        return output

    async def _handle_pending_state(self, agent_data: AgentData, sampling_params: dict[str, Any]) -> AgentState:
        self._data = agent_data
        return await super()._handle_pending_state(agent_data, sampling_params)

    async def _turns(self, prompt: int) -> Sequence[Turn]:
        """The turns behind the prompt's. verl leaves out an assistant's turn that reached a limit."""
        data = self._data
        turns: list[Turn] = list(data.messages[prompt:])
        if sum(turn["role"] == "assistant" for turn in turns) == data.assistant_turns:
            return turns
        over = max(len(data.response_mask) - self.response_length, 0)
        kept = data.response_ids[: len(data.response_ids) - over]
        content, data.tool_calls = await self.tool_parser.extract_tool_calls(
            kept, [tool.tool_schema for tool in self.tools.values()]
        )
        return [*turns, self._build_assistant_message(content, data)]

    def _plain(self, turn: Turn) -> Turn:
        """The turn without the tokens that end it; verl's tool parsers leave them in the text."""
        return {**turn, "content": self._answers.plain(turn["content"])} if turn["role"] == "assistant" else turn

    def _answer(self, turn: Turn) -> Any:
        return self._answers.split(turn["content"]).answer if turn["role"] == "assistant" else turn["content"]
