"""Which choice a response states: never one that it does not."""

import time

import pytest

from service.verifiers.choice import stated_choice

STATED = {
    "B": ["B", "(b)", "**B.**", "So I take\nB.", "I think it is (B).", "Answer: B", "answer: b", "ANSWER = b"],
    "C": [
        "The answer is C.",
        "**Answer:** (C)",
        "**Answer**: **C**",
        "Final Answer: **C**",
        "Answer: `C`",
        "Answer: [C]",
    ],
    "D": ['{"answer": "D", "why": "x"}', "{'answer': 'd'}", "Answer:\n\nD\n", "Answer: D) Paris", "Answer: D - Paris"],
    "E": [r"\boxed{E}", r"$\boxed{\text{E}}$", r"\boxed{(e)}", r"\boxed{\textbf{(E)}}", r"\boxed{\text{E. Paris}}"],
    "F": [r"The answer is $\boxed{F}$", r"Answer: $\mathrm{F}$", "The correct answer is option F", "Answer choice: F"],
    "G": [
        "Answer: A. Wait, no. Answer: G",
        "(A) is wrong.\nI take (G).",
        "(A)\nAnswer: G\n(B)",
        "Answer: G\n\nA pity.",
    ],
    "H": ["Answer: H, a city", "Answer: H, I think", "The answer should be H!", r"Answer: H, which has \boxed{12}"],
    "A": [
        "The answer is A because it is.",
        "Answer: A",
        "answer: a",
        "Answer: A or maybe not",
        "Answer: A\nB is wrong",
    ],
    "I": ["Answer: I", "The answer is I, since the rest is wrong."],
}
UNSTATED = [
    "",
    "I have no idea.",
    "Answer: A or B",
    "Answer: A, B",
    "Answer: A/B",
    "Answer: (A) and (B)",
    "The answer is B or C.",
    r"\boxed{A, B}",
    r"\boxed{B or C}",
    r"\boxed{a + b}",
    r"\boxed{12}",
    "(A) and (C) are wrong, so (B)",
    "The answer is not B",
    "The answer is a long story",
    "Answer: I think it is hard",
    "Answer: A combination of both",
    "Answer: x+1",
    "Answer: e.g. this",
    "Answer: Boston",
    "Answer: BC",
    "Answer: 3",
    "Answer: é",
    "answers: b",
    "Take f(x)",
    "Your answer(s)",
    r"\(x)",
]


@pytest.mark.parametrize(("letter", "response"), [(letter, text) for letter, texts in STATED.items() for text in texts])
def test_stated(letter: str, response: str) -> None:
    assert stated_choice(response) == letter


@pytest.mark.parametrize("response", UNSTATED)
def test_not_stated(response: str) -> None:
    assert stated_choice(response) is None


@pytest.mark.parametrize(
    "piece",
    ["answer:", "answer ", " ", "*", "(", "\n", "\\boxed{", "answer: (a, ", "answer is option ", "answer:\\text", "B,"],
)
def test_time_is_linear(piece: str) -> None:
    """300,000 characters of what the patterns begin with, in front of an end that they do not match."""
    text = "answer: B" + piece * (300_000 // len(piece)) + "!x"
    begin = time.perf_counter()
    stated_choice(text)
    assert time.perf_counter() - begin < 60
