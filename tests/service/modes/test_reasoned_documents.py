"""Whatever a judge writes in mode `reasoned`, a verdict is what it said behind an explanation of its own, or none."""

import json
import math
import random
from collections import Counter
from collections.abc import Sequence

from service.engine.base import Generation, GenerationOutcome, LabelLogprobs, Outcome, Prompt, Sampling
from service.engine.fake import FakeEngine
from service.rubrics.rubric import Candidate, Criterion, Turn
from service.scoring.request import Options
from tests.service.scoring.test_scorer import scoring

RESPONSE = "Rest the knee for a week, cool it with ice, and see a doctor if the swelling does not go down by then."
SENSIBLE = ("It tells the user to rest.", "No doctor is named.", "The response says to cool it with ice.")
ECHOES = ("", "...", "yes no", "🌟", RESPONSE, "Criterion number 7.", "My knee hurts a lot now.")
CASES = 10_000
A_REQUEST = 200


class Writer(FakeEngine):
    """Writes a document of a random kind, and then a random P with a random label mass. `told` has what the verdict of
    each query must be, by the ids of its first prompt: P(met), or the status."""

    def __init__(self, seed: int) -> None:
        super().__init__(remember=0)
        self._rng = random.Random(seed)
        self.kinds: Counter[str] = Counter()
        self.told: dict[tuple[int, ...], float | str] = {}

    async def generate(self, prompts: Sequence[Prompt], samplings: Sequence[Sampling]) -> Sequence[GenerationOutcome]:
        return [self._document(prompt) for prompt in prompts]

    def _document(self, prompt: Prompt) -> Generation:
        echo = self._rng.choice(ECHOES)
        whole = json.dumps({"explanation": self._rng.choice(SENSIBLE), "criteria_met": self._rng.random() < 0.5})
        documents = {
            "sensible": whole,
            "echo": json.dumps({"explanation": echo, "criteria_met": True}),
            "cut": whole[: self._rng.randrange(len(whole))],
            "other": json.dumps({"explanation": "It tells the user to rest."}),
            "loop": json.dumps({"explanation": "it is good and " * 20, "criteria_met": True}),
        }
        kind = self._rng.choice(list(documents))
        self.kinds[kind] += 1
        self.told[prompt.ids] = "abstained" if kind == "sensible" else "unparseable"
        return Generation(documents[kind], finished=True, tokens=9)

    async def read_labels(self, prompts: Sequence[Prompt], label_ids: tuple[int, ...]) -> Sequence[Outcome]:
        return [self._labels(prompt) for prompt in prompts]

    def _labels(self, prompt: Prompt) -> LabelLogprobs:
        p, mass = self._rng.uniform(0.01, 0.99), self._rng.choice([0.1, 0.4, 0.6, 0.99])
        lengths = {len(ids) for ids in self.told}
        [first] = [prompt.ids[:length] for length in lengths if prompt.ids[:length] in self.told]
        if self.told[first] == "abstained" and mass >= 0.5:
            self.told[first] = p
        return LabelLogprobs((math.log(p * mass), math.log((1 - p) * mass)))


async def test_10_000_documents_hold_no_invented_verdict() -> None:
    writer = Writer(1)
    texts = [f"Criterion number {n}." for n in range(A_REQUEST)]
    wrong = ok = 0
    async with scoring(writer) as scorer:
        renderer = scorer.judging_modes["reasoned", "rubricd"].renderer
        for request in range(CASES // A_REQUEST):
            criteria = tuple(Criterion(text, text, 1.0) for text in texts)
            turns = (Turn("user", "My knee hurts a lot now."), Turn("user", f"This is question {request}."))
            asked = Candidate("0", turns, RESPONSE, criteria)
            [scored], _ = await scorer.score([asked], Options(mode="reasoned"))
            [prompts] = renderer.render([(asked, criteria)])
            for prompt, one in zip(prompts, scored.judgements, strict=True):
                told = writer.told[prompt.ids]
                ok += one.ok
                if isinstance(told, float):
                    wrong += one.p is None or abs(one.p - told) > 1e-9 or one.met is not (one.p >= 0.5)
                else:
                    wrong += (one.status, one.p, one.met) != (told, None, None)
            writer.told.clear()
    assert wrong == 0
    assert set(writer.kinds) == {"sensible", "echo", "cut", "other", "loop"}
    assert CASES * 0.08 < ok < CASES * 0.12, "one in five documents is sensible, and half of these are sure of a label"
