"""Defines a criterion, a rubric, and what follows from their fields: sign, category and counted points.

Guarantees: polarity changes a criterion's sign and never its size. A category's first letter must be right: a word that
begins otherwise means something else ("Inessential").
"""

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from difflib import get_close_matches
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, ConfigDict, Field, field_validator, model_validator

from trainer_client.wire.graded import (
    Choices,
    Extract,
    Level,
    Levels,
    check_options,
    one_way,
    other_options,
    with_points,
)
from trainer_client.wire.models import (
    MAX_POINTS,
    MAX_TAGS,
    MAX_TEXT_CHARACTERS,
    MIN_POINTS,
    Id,
    Strict,
    Text,
    is_none,
    says_something,
)
from trainer_client.wire.stored_rubrics import rubric_content, split_ref, version_of
from trainer_client.wire.verifiers import Verifier, tag_pairs, verifier_of_tags

Polarity = Literal["positive", "negative"]
Pitfalls = Literal["met_is_good", "met_is_bad"]
"""What meeting a pitfall means. Most of RaR-Science describe good answers ("Does not ..."), most of RaR-Medicine
describe faults; both have negative weights, so that no sign fits both."""
POLARITY_OF: Mapping[Pitfalls, Polarity] = {"met_is_good": "positive", "met_is_bad": "negative"}
Category = Literal["essential", "important", "optional", "pitfall"]
CATEGORIES: tuple[Category, ...] = ("essential", "important", "optional", "pitfall")
# "Essential Criteria: …" as RaR's rows begin, and the misspellings that its released rows hold.
_PREFIX = re.compile(r"^\s*([A-Za-z]{5,12})\s+crit[a-z]{2,8}\s*[:\-\u2013]\s*", re.IGNORECASE)
# "Pitfall: …", "**Pitfalls** - …": what calls itself a pitfall without that prefix.
_CALLED_PITFALL = re.compile(r"^\W{0,8}pitfalls?(?:\s+crit[a-z]{2,8})?\W{0,4}?[:\-\u2013\]]\W{0,4}?\s", re.IGNORECASE)
TEXT_NAMES = ("text", "criterion", "description")
POINTS_NAMES = ("points", "weight")
"""Names that a criterion's text and points may have; the first is the contract's own."""
_MAX_FIELDS = 32
_OTHER_NAMES = [(names[0], other) for names in (TEXT_NAMES, POINTS_NAMES) for other in names[1:]]
_OWN_SHAPE = frozenset({"text", "points", "id", "polarity"})
"""A criterion with no other fields has one shape alone."""
_CATEGORY = {
    "enum": [*CATEGORIES],
    "type": "string",
    "description": "Means the same as the tag `category` and as a text that begins with, say, `Essential Criteria: `.",
}


def _with_category(schema: dict[str, Any]) -> None:
    schema["properties"]["category"] = _CATEGORY
    schema["examples"] = [{"text": "Tells the user to see a doctor.", "points": 5, "category": "essential"}]


def _of_sensible_size(points: float) -> float:
    if 0 < abs(points) < MIN_POINTS:
        raise ValueError(f"points are 0 (monitor only) or at least {MIN_POINTS:g} in size")
    return points


Points = Annotated[float, Field(ge=-MAX_POINTS, le=MAX_POINTS), AfterValidator(_of_sensible_size)]


class Criterion(Strict):
    """One thing to check. `points` above 0 is wanted, below 0 a fault, 0 is judged and reported but never counted.

    Also accepted: `category`, which becomes the tag of that name; `criterion` for `text`; `{title, description,
    weight}` as in Rubrics as Rewards; `{name, requirement, weight, scale_type, options}` as in autorubric;
    `{name, text, weight, choices}` as in verifiers, the names of the choices from the worst to the best.
    """

    text: Text = Field(description="A statement that is literally true or not true of the response.")
    points: Points = Field(description="Weight and sign; negative means a fault, 0 means monitor only.")
    id: Id | None = Field(default=None, description="Echoed; default: the criterion's index as text.")
    tags: dict[Id, Annotated[str, Field(max_length=MAX_TEXT_CHARACTERS)]] = Field(
        default_factory=dict, max_length=MAX_TAGS, description='Also accepted as a list of `"key:value"`.'
    )
    verifier: Verifier | None = Field(default=None, description="A rule that decides instead of the judge.")
    levels: Levels | None = Field(
        default=None,
        description="A graded criterion: its levels in order, of which the judge chooses one. Their values are shares "
        "of `points`, 0 to 1; without `points` they are points.",
        exclude_if=is_none,
    )
    choices: Choices | None = Field(
        default=None, description="As `levels`, without an order: values may be equal.", exclude_if=is_none
    )
    extract: Extract | None = Field(
        default=None, description="The judge extracts a value, and a rule decides about it.", exclude_if=is_none
    )
    polarity: Polarity | None = Field(
        default=None, description="Overrides the sign of `points` where a data set's sign convention is wrong."
    )

    model_config = ConfigDict(json_schema_extra=_with_category)

    @model_validator(mode="before")
    @classmethod
    def _other_shapes(cls, data: Any) -> Any:
        if not isinstance(data, dict) or data.keys() <= _OWN_SHAPE:
            return data
        if len(data) > _MAX_FIELDS:  # each of them would be an error of its own
            raise ValueError(f"more than {_MAX_FIELDS} fields in one criterion")
        data = other_options(dict(data))
        for ours, theirs in _OTHER_NAMES:
            if theirs in data:
                if ours in data:
                    raise ValueError(f"`{theirs}` and `{ours}` say the same thing; give one")
                data[ours] = data.pop(theirs)
        data["tags"] = tag_pairs(data.get("tags", {}))
        if "category" in data:
            data["tags"] = _categorised(data.pop("category"), data["tags"])
        title = data.pop("title") if isinstance(data.get("title"), str | None) and "title" in data else None
        if title is not None and isinstance(data["tags"], dict):
            data["tags"] = {"title": title, **data["tags"]}
        if data.get("verifier") is None and isinstance(data["tags"], dict):
            data["verifier"] = verifier_of_tags(data["tags"])
        one_way(data)
        return with_points(data)

    @field_validator("text")
    @classmethod
    def _says_something(cls, text: str) -> str:
        if not says_something(text):
            raise ValueError(
                "a criterion's `text` must say something; white space and characters that nobody sees ask nothing"
            )
        return text

    @model_validator(mode="after")
    def _gradable(self) -> Self:
        if self.levels is not None or self.choices is not None:
            check_options(self.levels, self.choices)
        return self

    @property
    def plain(self) -> bool:
        """Whether it is met or not met, by the judge or by a rule on the response itself."""
        return self.levels is None and self.choices is None and self.extract is None

    @property
    def options(self) -> list[Level]:
        """The levels or choices of a graded criterion; empty where it is met or not."""
        return self.levels or self.choices or []

    @property
    def worth(self) -> float:
        """The points as they are counted: `polarity`, where given, decides the sign. Zero has no sign."""
        if self.polarity is None or self.points == 0:
            return self.points + 0.0
        return abs(self.points) if self.polarity == "positive" else -abs(self.points)

    @property
    def category_and_text(self) -> tuple[Category | None, str]:
        """The category that the tag `category` names, or else the text's prefix `<Category> Criteria: …`; and the text
        as the judge sees it, without that prefix."""
        category, text = _split(self.text)
        return (_category_of(self.tags["category"]) if "category" in self.tags else category), text

    @property
    def category(self) -> Category | None:
        return self.category_and_text[0]

    def is_one_of(self, names: Collection[str], place: int) -> bool:
        """Returns whether one of the names is this criterion's id (without one its place in the rubric), its category,
        one of its tags (`key:value`) or a tag's key."""
        own = {self.id or str(place), *self.tags, *(f"{key}:{value}" for key, value in self.tags.items())}
        return not own.union({self.category or ""}).isdisjoint(names)

    @property
    def is_unsigned_pitfall(self) -> bool:
        """Whether it is a pitfall, or its text calls it one, with negative points and no `polarity`: neither says what
        meeting it means."""
        if self.points >= 0 or self.polarity is not None:
            return False
        if _CALLED_PITFALL.match(self.text):
            return True
        # Few texts begin so; the others need no closer look.
        likely = "category" in self.tags or self.text.lstrip()[:1] in ("p", "P")
        return likely and self.category == "pitfall"

    @property
    def judged_text(self) -> str:
        return self.category_and_text[1]


def _categorised(category: Any, tags: Any) -> Any:
    """The tags with the category that the field of that name gives. Raises ValueError."""
    if category is None or not isinstance(tags, dict):
        return tags
    if category not in CATEGORIES:
        raise ValueError(f"`category` is one of {', '.join(CATEGORIES)}")
    if tags.get("category", category) != category:
        raise ValueError("`category` and the tag `category` say different things; give one")
    return {**tags, "category": category}


def _category_of(word: str) -> Category | None:
    """The category that `word` names or almost names ("Esential", "Pitfal")."""
    match = get_close_matches(word.lower(), CATEGORIES, n=1, cutoff=0.8)
    return next((category for category in CATEGORIES if category in match and word[0].lower() == category[0]), None)


def _split(text: str) -> tuple[Category | None, str]:
    """Category and remaining text of `"<Category> Criteria: …"`; `(None, text)` where there is no such prefix."""
    found = _PREFIX.match(text)
    category = _category_of(found.group(1)) if found else None
    if found is None or category is None or not says_something(text[found.end() :]):
        return None, text
    return category, text[found.end() :]


def first_repeated(ids: Iterable[str]) -> tuple[int, int] | None:
    """The places of the first two ids that are equal."""
    seen: dict[str, int] = {}
    for place, id in enumerate(ids):
        if id in seen:
            return seen[id], place
        seen[id] = place
    return None


def _criteria_or_ref(schema: dict[str, Any]) -> None:
    schema["anyOf"] = [{"required": ["criteria"]}, {"required": ["ref"]}]


class Rubric(Strict):
    """The criteria of one item. Also accepted as a bare list. `ref` names a stored rubric in place of its criteria;
    where both are there, the criteria are those of the version that `ref` names.
    """

    criteria: list[Criterion] = Field(
        default_factory=list,
        min_length=1,
        exclude_if=lambda criteria: not criteria,
        description="The criteria, at least one.",
    )
    ref: str | None = Field(
        default=None,
        description="A stored rubric, `name@version`; see `PUT /v1/rubrics/{name}`.",
        exclude_if=lambda ref: ref is None,
    )

    model_config = ConfigDict(json_schema_extra=_criteria_or_ref)

    @model_validator(mode="before")
    @classmethod
    def _bare_list(cls, data: Any) -> Any:
        return {"criteria": data} if isinstance(data, list) else data

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if same := first_repeated(self.ids()):
            raise ValueError(
                f"criteria {same[0]} and {same[1]} have one id; ids must be distinct (without one, the index is the id)"
            )
        if self.ref is not None:
            _, version = split_ref(self.ref)
            if self.criteria and version_of(rubric_content(self)) != version:
                raise ValueError("these criteria are not those that `ref` names; leave one of the two out")
        elif not self.criteria:
            raise ValueError("give `criteria`, a list of at least one, or the `ref` of a stored rubric")
        return self

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """A copy with other criteria is no longer the stored rubric, so it has no `ref`: it is sent as it is."""
        if update is not None and "criteria" in update:
            update = {"ref": None, **update}
        return super().model_copy(update=update, deep=deep)

    def by_ref(self) -> "Rubric":
        """What is sent of a rubric that has a `ref`: that alone."""
        return Rubric(ref=self.ref)

    def ids(self) -> Iterator[str]:
        """The criteria's ids, defaults filled in."""
        return (str(i) if c.id is None else c.id for i, c in enumerate(self.criteria))

    def counted(self) -> list[int]:
        """Indexes of the criteria that a score counts: those with points."""
        return [index for index, criterion in enumerate(self.criteria) if criterion.worth != 0]

    def lacking_category(self) -> list[int]:
        """Indexes of the counted criteria without a category where others have one: `rar_explicit` refuses the rubric.

        Empty where every counted criterion has a category, or none has.
        """
        counted = self.counted()
        lacking = [index for index in counted if self.criteria[index].category is None]
        return lacking if len(lacking) < len(counted) else []
