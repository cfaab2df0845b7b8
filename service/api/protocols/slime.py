"""slime's remote reward model, `POST /rm` (`--rm-type remote_rm --rm-url`): the JSON of the reply is the reward.

With `?reply=object` the reply is an object, for `--reward-key reward`. Only such a reply can say that a number stands
for a reward that was not judged; a bare number never does.
"""

from typing import Any

from service.api.protocols import ends
from service.api.protocols.common import Asking, Foreign, Label, parse, request_of
from service.api.protocols.messages import sent, turns
from service.api.protocols.replying import not_judged, written
from service.api.request_body import unserved
from service.api.spoken import Spoken
from trainer_client import wire

REPLIES = ("number", "object")


class Body(Foreign):
    """One sample. `prompt` is text, or the messages where slime applies no chat template."""

    prompt: str | list[Any]
    response: str
    label: Any = None


def read(body: bytes, asking: Asking) -> Spoken:
    """Raises InvalidRequest."""
    asked = parse(body, Body)
    if asking.query.get("reply", "number") not in REPLIES:
        raise unserved("query", "`reply` is `number` or `object`")
    label = Label.of(asked.label, "label")
    if "prompt" not in label.item:
        label = label.filled(prompt=_prompt(asked.prompt))
    response = ends.without(asked.response, asking.end_tokens)
    request = request_of([(label, response)], asking, others=["reply"])
    return Spoken(request, lambda answer: reply(answer, asking))


def _prompt(prompt: str | list[Any]) -> Any:
    return prompt if isinstance(prompt, str) else sent(turns(prompt, "prompt"))


def reply(answer: wire.ScoreResponse, asking: Asking) -> bytes:
    """Raises NotJudged where no number may stand for the reward."""
    [result] = answer.results
    whole = asking.query.get("reply") == "object"
    reward = result.score
    if reward is None:
        if not whole or asking.neutral is None:
            raise not_judged(answer.results)
        reward = asking.neutral
        asking.replaced(1)
    if not whole:
        return written(reward)
    return written({"reward": reward, "judged": result.score is not None, "coverage": result.coverage})
