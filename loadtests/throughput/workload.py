"""Makes the workload: made-up conversations, responses and criteria in HealthBench's sizes, in GRPO groups.

Guarantees: Pure. The same seed gives the same text. A text has exactly as many tokens as asked for. Texts of different
seeds have no beginning in common, so nothing that was computed for one serves another.
"""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

Cut = Callable[[str, int], str]
"""Shortens a text to so many tokens. Raises ValueError where it has fewer."""

CONVERSATION, RESPONSE, CRITERION, SPREAD = 600, 600, 60, 20
CRITERIA, RESPONSES = 12, 8

_VOCABULARY = """
able about above accept account across action adult advice after again against age agree allow almost alone along also
although always amount answer anxious appear apply area arm ask asleep avoid away back bad bandage base become bed
before begin behind believe below best better between bleed blood body both bottle box breath breathe bring brother
build call calm care carry case catch cause change chart check chest child choice choose clean clear clinic close cold
come common complete concern condition consider contact continue cool correct cost cough count course cover crash cut
daily danger daughter day deal decide deep degree describe detail diet different difficult dinner direct doctor dose
down drink drive drop drug dry during each early easy eat effect eight either elbow else emergency empty end enough
entire even evening ever every exact example exercise expect explain eye face fact fall family fast father feel fever
few fill find fine finger first five fluid follow food foot force forget form four free fresh friend full further give
glass good gradual great group grow half hand happen hard head heal health hear heart heat heavy help high history hold
home hospital hot hour house how hurt husband idea ill immediate important improve include increase indeed infection
inform inside instead iron itch joint keep kind kitchen knee know large last late later leave leg less let level life
light likely limit line list listen little liver local long look lose loss low lung main make manage many matter may
meal mean measure medicine meet member mention middle might mild mind minute miss moment month more morning most mother
mouth move much muscle must name near neck need never new next night nine normal note nothing notice nurse offer office
often old once only open opinion order other outside over own pain pale parent part past patient pay people period
person phone piece place plain plan point poor possible practice prepare present press pressure prevent problem proper
protect provide pulse question quick quiet quite raise range rash rate rather reach read ready reason receive recent
record reduce refer regular relief remain remember remove repeat reply report rest result return right rinse rise risk
room round rule safe salt same save say scan school second see seem sense serious serve seven severe several share
sharp short should shoulder show side sign similar simple since sister sit six size skin sleep slow small smoke smooth
soft some soon sore sort source speak special spread stand start state stay step still stomach stop story strange
strong study such sudden sugar suggest support sure surface swallow sweat swell symptom table take talk team tell
temperature ten test thank therapy thick thin thing think third thirsty though three throat through tired today
together tomorrow tooth total touch toward travel treat trouble true trust try turn twice two type under understand
until upper urgent use usual vaccine various vein very visit voice vomit wait wake walk warm warn wash watch water weak
week weight well wheeze whole why wide wife wish within without woman wonder word work worry worse wound wrist write
wrong year yesterday young
"""
_WORDS = tuple(_VOCABULARY.split())


@dataclass(frozen=True, slots=True)
class Group:
    """One prompt, its rubric, and the responses that are scored by it."""

    conversation: str
    responses: tuple[str, ...]
    criteria: tuple[str, ...]

    @property
    def verdicts(self) -> int:
        return len(self.responses) * len(self.criteria)


def group(seed: str, cut: Cut, *, responses: int = RESPONSES, criteria: int = CRITERIA) -> Group:
    """A group of the seed."""
    lengths = random.Random(seed).choices(range(CRITERION - SPREAD, CRITERION + SPREAD + 1), k=criteria)
    return Group(
        conversation=_text(f"{seed} conversation", CONVERSATION, cut),
        responses=tuple(_text(f"{seed} response {n}", RESPONSE, cut) for n in range(responses)),
        criteria=tuple(_text(f"{seed} criterion {n}", length, cut) for n, length in enumerate(lengths)),
    )


def groups(seed: str, count: int, cut: Cut) -> Sequence[Group]:
    return [group(f"{seed} group {n}", cut) for n in range(count)]


def sentences(seed: str, words: int) -> str:
    """At least so many words in sentences, some of them more often than others."""
    rng = random.Random(seed)
    made: list[str] = []
    while len(made) < words:
        sentence = [_WORDS[int(len(_WORDS) * rng.random() ** 1.5)] for _ in range(rng.randint(6, 16))]
        made += [sentence[0].capitalize(), *sentence[1:-1], sentence[-1] + "."]
    return " ".join(made)


def _text(seed: str, tokens: int, cut: Cut) -> str:
    return cut(sentences(seed, tokens + 20), tokens)
