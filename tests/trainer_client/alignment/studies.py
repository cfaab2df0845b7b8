"""Pairs, judges and answers for the tests of the study."""

from pathlib import Path

from testkit.scripted_judge import judge_info
from trainer_client import wire
from trainer_client.alignment.answers import Answer, Store, open_store
from trainer_client.alignment.arms import Arm
from trainer_client.alignment.asking import Judge, key_of, sent_for
from trainer_client.client import JudgeClient
from trainer_client.preferences.pairs import PreferencePair

RUBRIC = wire.Rubric.model_validate({"criteria": [{"text": "Says to rest.", "points": 5}]})


def pair(n: int, kind: str = "given", *, rubric: bool = True, reference: bool = False) -> PreferencePair:
    shown = RUBRIC if rubric else None
    known = "Rest." if reference else None
    return PreferencePair(f"{n}", f"g{n // 2}", kind, f"p{n}", f"good {n}", f"bad {n}", shown, known)


def info(name: str) -> wire.JudgeInfo:
    told = judge_info()
    [judge] = told["judges"]
    modes = ["verdict", "implicit", "likert"]
    ways = [{**judge, "mode": mode, "fingerprint": f"{name}-{mode}"} for mode in modes]
    compare = {"judge": {**judge, "mode": "compare", "fingerprint": f"{name}-compare"}}
    return wire.JudgeInfo.model_validate({**told, "model": name, "modes": modes, "judges": ways, "compare": compare})


def judge(name: str = "one") -> Judge:
    return Judge(name, f"http://{name}", JudgeClient(f"http://{name}"), info(name))


def answered(store: Store, by: Judge, arm: Arm, pair: PreferencePair, *answers: Answer) -> None:
    fingerprint = by.fingerprint(arm.ask)
    assert fingerprint is not None
    for sent, answer in zip(sent_for(arm.ask, pair), answers, strict=True):
        store.keep(fingerprint, key_of(arm.ask, sent), answer, final=True)


__all__ = ["Answer", "Path", "answered", "info", "judge", "open_store", "pair"]
