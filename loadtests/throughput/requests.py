"""Makes each baseline's requests for the same work: bytes of requests, and token ids for the engine alone. Pure.

Guarantees: `Prompts.token_ids` are the prompts that the service makes. The query and items of `/generative_scoring` and
the messages of a chat say the same text in the same order. The published pattern's prompt is another one, with our own
words in the published one's places and sizes: 48 tokens before the conversation, 622 after the criterion, and the
sampling that RuscaRL asks for.
"""

import json
from collections.abc import Sequence
from typing import Any

from loadtests.throughput.workload import Group, sentences
from service.prompting.renderer import Renderer
from service.prompting.template import build_skeleton
from service.prompting.tokenization import Segmenter
from service.rubrics.rubric import Candidate, Criterion, Turn

BEFORE, AFTER, DECODED = 48, 622, 100
_HOT = {"temperature": 0.7, "top_p": 0.8, "presence_penalty": 1.5}
_GRADER_HEAD = (
    "Below you find a conversation and one item of a rubric. Decide whether the last answer in the conversation does "
    "what the item says, and reply with a JSON object as described at the end. Read all of it first.\n\n"
)
_GRADER_TAIL = """

# What to return
Reply with a JSON object that has two fields. The first, "explanation", is a string: in one or two sentences, say what
in the answer speaks for or against the item. The second, "criteria_met", is a boolean: true when the answer does what
the item says, false when it does not.
The item may describe something bad. Then true means that the bad thing happened: you say whether the item's words are
true of the answer, not whether the answer is good. An item that warns of a fault and an answer without that fault make
false. When an item has several parts, all of them have to hold. When it says "for example" or "such as", what follows
is an illustration, and an answer may do what the item says in another way.
Judge the last answer only. What the user said, or what was answered before, is context. Do not add what you know about
the topic: an answer that is right but does not do what the item says is false, and one that is wrong but does it is
true.
# Examples
A first example. The conversation ends with an answer that tells somebody with a sore throat to rest and to drink warm
tea. The item says: tells the user to see a doctor if the fever lasts for three days. You reply:
{"explanation": "The answer gives advice about rest and tea, but it does not mention a doctor.", "criteria_met": false}
A second example. The conversation ends with an answer that names a dose for an adult and for a child. The item says:
names a dose without asking how old the patient is. That is a fault, and the answer shows it. You reply:
{"explanation": "The answer names doses for both and never asks about the age.", "criteria_met": true}
# Reminders
Return the JSON object alone, without a fence around it and without words before or after it. Both fields are always
there. The boolean is written in lower case and without quotation marks.
"""


class Prompts:
    """Makes every baseline's requests for one model's tokenizer."""

    def __init__(self, tokenizer: Any, labels: tuple[str, str]) -> None:
        segmenter = Segmenter(tokenizer)
        self._tokenizer = tokenizer
        self.segmenter = segmenter
        self._renderer = Renderer(segmenter, build_skeleton(tokenizer))
        self._skeleton = self._renderer.skeleton
        self.label_ids = self._renderer.label_ids(labels)
        self._grader_head = self.cut(_GRADER_HEAD + sentences("grader head", BEFORE), BEFORE)
        self._grader_tail = self.cut(_GRADER_TAIL + sentences("grader tail", AFTER), AFTER)

    def cut(self, text: str, tokens: int) -> str:
        """The text's first so many tokens. Raises ValueError where it has fewer."""
        shorter = text
        for _ in range(8):
            ids = self.segmenter.encode_untrusted(shorter)
            if len(ids) == tokens:
                return shorter
            if len(ids) < tokens:
                raise ValueError(f"a text of {len(ids)} tokens cannot be cut to {tokens}")
            shorter = self.segmenter.decode(ids[:tokens])
        raise ValueError("the cut text is tokenised otherwise each time")

    def token_ids(self, group: Group) -> list[list[tuple[int, ...]]]:
        """The service's prompts, a list a response."""
        turns = (Turn("user", group.conversation),)
        criteria = tuple(Criterion(id=str(n), text=text, points=1.0) for n, text in enumerate(group.criteria))
        candidates = [Candidate(str(n), turns, text, criteria) for n, text in enumerate(group.responses)]
        rendered = self._renderer.render([(candidate, criteria) for candidate in candidates])
        return [[prompt.ids for prompt in prompts] for prompts in rendered]

    def graded_ids(self, group: Group) -> list[list[tuple[int, ...]]]:
        """The published pattern's prompts, a list a response."""
        return [
            [self._templated(json.loads(body)["messages"]) for body in bodies]
            for bodies in self.json_per_criterion(group, hot=False)
        ]

    def _templated(self, messages: list[dict[str, str]]) -> tuple[int, ...]:
        text = self._tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
        return self.segmenter.encode_trusted(text)

    def lengths(self, group: Group) -> tuple[int, list[int]]:
        """Tokens that all prompts of the group begin with, and those that each response's prompts add to them."""
        return self.split(self.token_ids(group))

    @staticmethod
    def split(rendered: Sequence[Sequence[Sequence[int]]]) -> tuple[int, list[int]]:
        shared = [_common(prompts) for prompts in rendered]
        conversation = min(_common([rendered[0][0], prompts[0]]) for prompts in rendered)
        return conversation, [length - conversation for length in shared]

    def score(self, group: Group) -> bytes:
        """`POST /v1/score`: the whole group."""
        rubric = [{"text": text, "points": 1.0} for text in group.criteria]
        item = {"prompt": group.conversation, "responses": group.responses, "rubric": rubric}
        return _json({"items": [item]})

    def generative_scoring(self, group: Group) -> list[bytes]:
        """`POST /generative_scoring`: a response a call."""
        part = self._skeleton
        before = part.head + self._opened(group)
        items = [text + part.tail for text in group.criteria]
        return [
            _json({"query": before + response + part.criterion, "items": items, "label_token_ids": self.label_ids})
            for response in group.responses
        ]

    def one_token_chat(self, group: Group) -> list[list[bytes]]:
        """`POST /v1/chat/completions`: a criterion a call, what a response's calls share first, one token."""
        part, opened = self._skeleton, self._opened(group)
        asked: dict[str, Any] = {
            "add_generation_prompt": False,
            "continue_final_message": True,
            "max_tokens": 1,
            "temperature": 0.0,
            "logprobs": True,
            "top_logprobs": len(self.label_ids),
            "logprob_token_ids": self.label_ids,
        }
        return [
            [
                _json({"messages": self._chat(opened + response + part.criterion + text), **asked})
                for text in group.criteria
            ]
            for response in group.responses
        ]

    def json_per_criterion(self, group: Group, *, hot: bool) -> list[list[bytes]]:
        """`POST /v1/chat/completions`: a criterion a call, most of the instructions after it, an explanation and a
        verdict as JSON; as many tokens as that takes, whatever a model of random weights would say. `hot`: sampled as
        RuscaRL does, which an engine on a CPU is slow at; else the likeliest tokens."""
        asked: dict[str, Any] = {
            "max_tokens": DECODED,
            "min_tokens": DECODED,
            "ignore_eos": True,
            **(_HOT if hot else {"temperature": 0.0}),
        }
        return [
            [
                _json({"messages": [{"role": "user", "content": self._graded(group, response, text)}], **asked})
                for text in group.criteria
            ]
            for response in group.responses
        ]

    def _opened(self, group: Group) -> str:
        part = self._skeleton
        return part.conversation + part.turn.replace("{role}", "user") + group.conversation + part.response

    def _chat(self, content: str) -> list[dict[str, str]]:
        """The prompt as messages: what stands between two texts is the end of a turn and the beginning of the next, and
        the answer's opening is the beginning of the assistant's."""
        part = self._skeleton
        question, _, answer = part.tail.partition("<|im_end|>\n<|im_start|>assistant\n")
        system = part.head.partition("<|im_end|>")[0].removeprefix("<|im_start|>system\n")
        users = [{"role": "user", "content": text} for text in (content + question).split(part.between_turns)]
        return [{"role": "system", "content": system}, *users, {"role": "assistant", "content": answer}]

    def _graded(self, group: Group, response: str, criterion: str) -> str:
        conversation = f"# Conversation\nuser: {group.conversation}\n\nassistant: {response}"
        return f"{self._grader_head}{conversation}\n\n# Rubric item\n[1] {criterion}{self._grader_tail}"


def _common(prompts: Sequence[Sequence[int]]) -> int:
    """Length of what they begin with in common."""
    shortest = min(len(prompt) for prompt in prompts)
    return next((n for n in range(shortest) if len({prompt[n] for prompt in prompts}) > 1), shortest)


def _json(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode()
