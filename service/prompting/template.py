"""Builds the judge's prompt as a skeleton of trusted text with holes, rendered once through the model's chat template.

Guarantees: the order is instructions, conversation, documents, reference, response, criterion; after the criterion come
one short question, the template's own closing, and the words that open the answer. In layout `rubricd` a prompt can be
read in one way only: two requests of different texts have different token ids. Each text stands in a turn of its own,
behind control tokens that no text can produce; where a chat template refuses or merges such turns, its header says how
many tokens it has. Layouts `healthbench` and `simple_evals` are the published grader's, with most of its instructions
after the criterion, and ambiguous as it is: a response that contains `user: ` reads like a turn.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from service.errors import ConfigurationError
from service.prompting.chat_frame import (
    NO_ARGUMENTS,
    NO_EXAMPLES,
    ChatFrame,
    ExampleTurns,
    Message,
    frame_chat,
    frame_message,
)
from service.prompting.tokenization import ChatTokenizer
from service.prompting.wording import Example, Wording, shipped_prompt

Mode = str
YES_NO = ("Yes", "No")
RATING_DIGITS = tuple("0123456789")

POINTS = "{points}"
NAMES = "{names}"
"""Stands in the question about a graded criterion for the names of its options."""

_TEMPLATES = Path(__file__).parent / "templates"
_PLACES = re.compile(r"<<conversation>>(?P<between>.*)<<rubric_item>>", re.DOTALL)
# What may end the tail, and begin the label. Most tokenizers have a word with the space before it as one token, and a
# digit without it; where neither is so, the label begins a line. An answer without an opening begins with its label.
BEFORE_WORD = (("", " "), (" ", ""), ("\n", ""))
_AT_THE_BEGINNING = (("", ""), ("", " "))
_GRADER_VERDICT = '{\n  "criteria_met":'
SIMPLE_EVALS_SYSTEM = "You are a helpful assistant."
"""The system turn that simple-evals' sampler puts before the grader's message."""
_BEFORE_DIGIT = ((" ", ""), ("\n", ""))


@dataclass(frozen=True, slots=True)
class Skeleton:
    """The trusted text around what a caller sends, with control tokens.

    `head` stands before the conversation, `tail` after the last text. The others are headers, each directly before its
    text; `{length}` in one is the text's number of tokens. `trajectory` stands before the header of a response's first
    turn, where it has turns. `{points}` at the end of a criterion's header stands for its points, as in `[7] `. `item`
    opens each criterion where several are listed, with its weight for `{weight}`.
    `labels`: the words that the question asks for, each one token behind one of `label_gaps` (what ends the tail, what
    begins the label). `reasoning_end`: the token that ends the reasoning block in which the tail ends. `referable`:
    there is a place for a reference answer. `names_items`: listed criteria have names in place of weights.
    """

    name: str
    head: str
    tail: str
    conversation: str = "# Conversation\n"
    turn: str = "{role}:\n"
    between_turns: str = ""
    reference: str = "# Reference answer\n"
    response: str = "# Response\n"
    trajectory: str = "# Response, turn by turn\n"
    criterion: str = "# Criterion\n"
    item: str = ""
    labels: tuple[str, ...] = ()
    label_gaps: tuple[tuple[str, str], ...] = (("", ""),)
    reasoning_end: str | None = None
    referable: bool = True
    names_items: bool = False

    @property
    def shows_points(self) -> bool:
        """Returns whether the judge reads a criterion's points before its text."""
        return self.criterion.endswith(POINTS)

    @property
    def fixed_text(self) -> tuple[str, ...]:
        """Returns every byte of the template, for the fingerprint."""
        return (
            self.name,
            self.head,
            self.conversation,
            self.turn,
            self.between_turns,
            self.reference,
            self.response,
            self.trajectory,
            self.criterion,
            self.item,
            self.tail,
        )


class NoSuchMode(ConfigurationError):
    """The layout has no such mode, whatever the judge is."""


def read_grader(file: Path) -> str:
    """The text that replaces the published grader's. Raises ConfigurationError."""
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"`healthbench_template` cannot be read: {error}") from error


def build_skeleton(
    tokenizer: ChatTokenizer,
    layout: str = "rubricd",
    mode: Mode = "verdict",
    *,
    wording: Wording | None = None,
    asks_opposite: bool = False,
    grader: str | None = None,
    labels: tuple[str, str] = YES_NO,
    arguments: Mapping[str, Any] = NO_ARGUMENTS,
) -> Skeleton:
    """Builds the layout's skeleton for the mode, in the model's chat template, which gets `arguments`. `wording` is the
    prompt of mode `verdict` in layout `rubricd`, the shipped default where None, with its opposite question if
    `asks_opposite`; `labels` are the words that it asks for where it has none. `grader` replaces the text of layouts
    `healthbench` and `simple_evals`. Raises ConfigurationError where the template cannot carry it, or the layout has no
    such mode."""
    builders: dict[tuple[str, Mode], Callable[[], Skeleton]] = {
        ("rubricd", "verdict"): lambda: _verdict(
            tokenizer, (wording or shipped_prompt()).in_words(labels), asks_opposite, arguments
        ),
        ("rubricd", "reasoned"): lambda: _reasoned(tokenizer, arguments),
        ("rubricd", "reasoned_all"): lambda: _listed(_reasoned(tokenizer, arguments, "reasoned_all")),
        ("rubricd", "implicit"): lambda: _rating(tokenizer, "implicit", arguments),
        ("rubricd", "likert"): lambda: _rating(tokenizer, "likert", arguments),
        ("rubricd", "compare"): lambda: _comparison(tokenizer, arguments),
        ("rubricd", "levels"): lambda: _graded(tokenizer, arguments),
        ("rubricd", "reasoned_levels"): lambda: _with_options(_reasoned(tokenizer, arguments, "reasoned_levels")),
        ("rubricd", "extract"): lambda: _extraction(tokenizer, arguments),
        ("healthbench", "verdict"): lambda: _healthbench(tokenizer, grader, arguments, _GRADER_VERDICT),
        ("healthbench", "reasoned"): lambda: _healthbench(tokenizer, grader, arguments, None),
        ("simple_evals", "verdict"): lambda: _simple_evals(tokenizer, grader, arguments, _GRADER_VERDICT),
        ("simple_evals", "reasoned"): lambda: _simple_evals(tokenizer, grader, arguments, None),
    }
    if (layout, mode) not in builders:
        raise NoSuchMode(f"layout `{layout}` has no mode `{mode}`")
    return builders[layout, mode]()


def _texts(mode: Mode) -> tuple[str, str]:
    """Returns the instructions and the question of a mode in layout `rubricd` that has one prompt."""
    text = (_TEMPLATES / f"rubricd_{mode}.txt").read_text(encoding="utf-8")
    instructions, _, question = text.partition("<<material>>")
    return instructions.strip(), question.strip()


def _verdict(tokenizer: ChatTokenizer, wording: Wording, asks_opposite: bool, arguments: Mapping[str, Any]) -> Skeleton:
    question = wording.opposite if asks_opposite else wording.question
    if question is None or wording.labels is None:
        raise ConfigurationError(f"prompt `{wording.name}` has no question `opposite`")
    examples = ExampleTurns(
        fenced=[turn for one in wording.examples for turn in _example(tokenizer, wording, one, fenced=True)],
        joined=[turn for one in wording.examples for turn in _example(tokenizer, wording, one, fenced=False)],
    )
    skeleton, frame = _rubricd(tokenizer, (wording.instructions, question), arguments, examples)
    return replace(
        skeleton,
        tail=f"{skeleton.tail}{frame.tail_after_reasoning}{wording.opening}",
        labels=wording.labels,
        label_gaps=BEFORE_WORD if wording.opening else _AT_THE_BEGINNING,
    )


def _example(tokenizer: ChatTokenizer, wording: Wording, example: Example, *, fenced: bool) -> list[Message]:
    """The turns of a worked example, as the judge will see the real material."""
    labels = wording.labels or YES_NO

    def headed(header: str, text: str) -> str:
        return f"{header.replace('{length}', str(_tokens(tokenizer, text)))}{text}"

    made = _headers("\n\n", lengths=not fenced)
    parts = [
        made.conversation + headed(made.turn.replace("{role}", "user"), example.prompt.strip()),
        headed(made.response, example.response.strip()),
        f"{headed(made.criterion, example.criterion.strip())}\n\n{wording.question}",
    ]
    users = [part.strip() for part in parts] if fenced else ["".join(parts)]
    answer = f"{wording.opening} {labels[0] if example.met else labels[1]}".strip()
    return [*({"role": "user", "content": text} for text in users), {"role": "assistant", "content": answer}]


def _tokens(tokenizer: ChatTokenizer, text: str) -> int:
    return len(tokenizer.backend_tokenizer.encode(text, add_special_tokens=False).ids)


def _reasoned(tokenizer: ChatTokenizer, arguments: Mapping[str, Any], texts: str = "reasoned") -> Skeleton:
    skeleton, frame = _rubricd(tokenizer, _texts(texts), arguments)
    return replace(skeleton, tail=skeleton.tail + frame.tail, reasoning_end=frame.reasoning_end)


def _listed(skeleton: Skeleton) -> Skeleton:
    """All criteria behind each other, each behind its name, under which it is answered."""
    return replace(
        skeleton,
        criterion="",
        item=skeleton.criterion.replace("# Criterion", "# Criterion {weight}"),
        names_items=True,
    )


def _rating(tokenizer: ChatTokenizer, mode: Mode, arguments: Mapping[str, Any]) -> Skeleton:
    skeleton, frame = _rubricd(tokenizer, _texts(mode), arguments)
    return replace(
        skeleton,
        criterion="",
        item=skeleton.criterion.replace("# Criterion", "# Criterion, {weight}") if mode == "implicit" else "",
        tail=f"{skeleton.tail}{frame.tail_after_reasoning}Rating:",
        labels=RATING_DIGITS,
        label_gaps=_BEFORE_DIGIT,
    )


def _comparison(tokenizer: ChatTokenizer, arguments: Mapping[str, Any]) -> Skeleton:
    """Two responses, each as a turn that says which one it is, and a rubric behind them if there is one."""
    skeleton, frame = _rubricd(tokenizer, _texts("compare"), arguments)
    return replace(
        skeleton,
        trajectory=skeleton.trajectory.replace("# Response, turn by turn.", "# The two responses."),
        criterion="",
        item=skeleton.criterion.replace("# Criterion", "# Criterion, {weight}"),
        tail=f"{skeleton.tail}{frame.tail_after_reasoning}Answer:",
        labels=("A", "B"),
        label_gaps=BEFORE_WORD,
    )


def _graded(tokenizer: ChatTokenizer, arguments: Mapping[str, Any]) -> Skeleton:
    """A criterion with options, each behind its name, which is the answer."""
    skeleton, frame = _rubricd(tokenizer, _texts("levels"), arguments)
    tail = f"{skeleton.tail}{frame.tail_after_reasoning}Option:"
    return replace(_with_options(skeleton), tail=tail, labels=("A", "B"), label_gaps=BEFORE_WORD)


def _with_options(skeleton: Skeleton) -> Skeleton:
    return replace(skeleton, item=skeleton.criterion.replace("# Criterion", "# Option {weight}"))


def _extraction(tokenizer: ChatTokenizer, arguments: Mapping[str, Any]) -> Skeleton:
    """What to look for stands in the criterion's place, and the values to choose from, if there are any, behind it."""
    skeleton, frame = _rubricd(tokenizer, _texts("extract"), arguments)
    return replace(
        skeleton,
        criterion=skeleton.criterion.replace("# Criterion", "# What to look for"),
        item=skeleton.criterion.replace("# Criterion", "# Value {weight}"),
        tail=skeleton.tail + frame.tail_after_reasoning,
    )


def _rubricd(
    tokenizer: ChatTokenizer,
    texts: tuple[str, str],
    arguments: Mapping[str, Any],
    examples: ExampleTurns = NO_EXAMPLES,
) -> tuple[Skeleton, ChatFrame]:
    """Returns the skeleton whose tail is the question alone, and the frame whose tail belongs behind it."""
    instructions, question = texts
    frame = frame_chat(tokenizer, instructions, arguments, examples)
    headers = _headers("\n\n", lengths=True) if frame.fence is None else _headers(frame.fence, lengths=False)
    return replace(headers, head=frame.head, tail=f"\n\n{question}"), frame


def _headers(gap: str, *, lengths: bool) -> Skeleton:
    """Layout `rubricd` without head and tail. Before each text but the first stand `gap` and its header, which says the
    text's length if `lengths`."""
    length = " ({length} tokens)" if lengths else ""
    return Skeleton(
        name="rubricd",
        head="",
        tail="",
        turn=f"{{role}}{length}:\n",
        between_turns=gap,
        reference=f"{gap}# Reference answer{length}\n",
        response=f"{gap}# Response{length}\n",
        trajectory=f"{gap}# Response, turn by turn. What a tool says is not said by the assistant.\n",
        criterion=f"{gap}# Criterion{length}\n",
    )


def _healthbench(
    tokenizer: ChatTokenizer,
    grader: str | None,
    arguments: Mapping[str, Any],
    before_label: str | None,
    system: str | None = None,
) -> Skeleton:
    """Makes a skeleton of the grader's text with its two places: one user turn, behind `system` where it is given, the
    response as the last turn in it."""
    text = (_TEMPLATES / "healthbench.txt").read_text(encoding="utf-8") if grader is None else grader
    found = _PLACES.search(text)
    if found is None or text.count("<<conversation>>") != 1 or text.count("<<rubric_item>>") != 1:
        raise ConfigurationError("the grader's text needs <<conversation>> and, after it, <<rubric_item>>, each once")
    frame = frame_message(tokenizer, text[: found.start()], text[found.end() :].rstrip(), arguments, system)
    return Skeleton(
        name="healthbench",
        head=frame.head,
        tail=frame.tail if before_label is None else frame.tail_after_reasoning + before_label,
        conversation="",
        turn="{role}: ",
        between_turns="\n\n",
        response="\n\nassistant: ",
        trajectory="\n\n",
        criterion=found.group("between"),
        reasoning_end=frame.reasoning_end if before_label is None else None,
        referable=False,
    )


def _simple_evals(
    tokenizer: ChatTokenizer, grader: str | None, arguments: Mapping[str, Any], before_label: str | None
) -> Skeleton:
    """As OpenAI's simple-evals asks its grader: RuscaRL's form of the prompt, with the criterion's points before its
    text (`RubricItem.__str__`), behind the sampler's system turn."""
    skeleton = _healthbench(tokenizer, grader, arguments, before_label, SIMPLE_EVALS_SYSTEM)
    return replace(skeleton, name="simple_evals", criterion=skeleton.criterion + POINTS)
