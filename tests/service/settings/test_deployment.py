"""Tests of the entries of `judges.yaml`: their order, and who has to be able to judge."""

from itertools import product
from typing import Any

from pydantic import ValidationError

from service.judges.route_conditions import Condition, Conversation, route_of
from service.rubrics.rubric import Criterion
from service.settings import Settings
from service.settings.deployment import EngineJudge, JudgesFile, Routed


def test_members_come_before_what_is_made_of_them() -> None:
    file = JudgesFile.model_validate(
        {"judges": {"top": {"panel": ["low", "a"]}, "low": {"panel": ["a", "b"]}, "a": {}, "b": {"engine": "fake"}}}
    )
    assert file.in_order() == ["a", "b", "low", "top"]
    assert file.must_judge == ["top"], "the others are members"
    assert file.model_copy(update={"required": ["a"]}).must_judge == ["a"]


def test_an_engines_judge_has_the_services_settings_but_the_key() -> None:
    own = {name for name in EngineJudge.model_fields if not name.endswith("_env")}
    assert own <= Settings.model_fields.keys()


def test_a_route_that_can_never_decide_is_refused() -> None:
    """By all pairs of conditions: the second route is refused exactly where no criterion and conversation of a grid
    fulfils it and not the first."""
    tags, languages, lengths = [None, "k", "k:v", "k:w", "l:v"], [None, "de", "en"], [None, 10, 20]
    conditions = [one for one in product(tags, languages, lengths) if one != (None, None, None)]
    tagged: list[dict[str, str]] = [{}, {"k": "v"}, {"k": "w"}, {"k": "v", "l": "v"}, {"l": "v"}]
    worlds = list(product(tagged, ["de", "en", "fr"], [5, 15, 25]))
    refused = 0
    for first, second in product(conditions, repeat=2):
        decides = any(_fulfils(world, second) and not _fulfils(world, first) for world in worlds)
        routes = [{"judge": "a", **_route(first)}, {"judge": "b", **_route(second)}]
        try:
            Routed.model_validate({"routed": routes, "default": "a"})
        except ValidationError as error:
            assert "route 2 decides nothing: route 1 is fulfilled wherever it is" in str(error)
            refused += 1
            assert not decides, (first, second)
        else:
            assert decides, (first, second)
    assert 100 < refused < len(conditions) ** 2 / 2


Asked = tuple[str | None, str | None, int | None]


def _route(condition: Asked) -> dict[str, Any]:
    fields = dict(zip(("tag", "language", "longer_than"), condition, strict=True))
    return {name: value for name, value in fields.items() if value is not None}


def _fulfils(world: tuple[dict[str, str], str, int], condition: Asked) -> bool:
    """By the service's own conditions."""
    tags, language, characters = world
    criterion = Criterion("c", "t", 1.0, tags=tags)
    return route_of([Condition(*condition)], criterion, Conversation(language, characters)) == 0
