"""The schedules of the experiment's arms."""

from miniature.experiment.arms import ARMS, GROUP


def test_the_arms_show_what_they_say() -> None:
    def shares(arm: str, step: int) -> list[float]:
        return [ARMS[arm].schedule.share(member, GROUP, step, 100) for member in range(GROUP)]

    assert shares("rubric-rl", 1) == [0.0] * GROUP
    assert shares("merf", 1) == shares("merf", 100) == [1.0] * GROUP
    assert shares("decay-constant", 100)[0] == 1.0
    assert shares("decay-linear", 100) == [0.0] * GROUP
    assert shares("binary-4", 1) == [shares("ruscarl", 1)[0]] * 4 + [0.0] * 4
    assert shares("ruscarl-late", 60)[0] > 0.8 > shares("ruscarl", 60)[0]
    for arm in ("ruscarl", "mixed-up", "scaffold-scaffold", "bare-scaffold", "direct-likert"):
        assert shares(arm, 1)[0] > 0.99
        assert shares(arm, 1)[-1] == 0.0
        assert max(shares(arm, 100)) < 0.01
