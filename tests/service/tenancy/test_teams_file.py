"""What a teams file may say, and what is said about one that is wrong."""

import json
from pathlib import Path

import pytest

from service.errors import ConfigurationError
from service.tenancy.team import Team
from service.tenancy.teams_file import parse, read

YAML, JSON = Path("teams.yaml"), Path("teams.json")
HASH = "0123456789abcdef" * 4
WHOLE = f"""
teams:
  - name: medicine            # the big one
    weight: 3
    quota:
      tokens_per_minute: 2000000
      concurrent_tokens: 500000
      requests_per_minute: 600
      rule_seconds_per_minute: 60
    classes: [train, eval]
    cache_scope: lab
    keys: [{{sha256: {HASH}, created: 2026-11-21}}]
  - name: scope
"""


def team(text: str) -> str:
    return f"teams:\n  - {{name: a, {text}}}\n"


def keys(*hashes: str) -> str:
    return "keys: [" + ", ".join(f"{{sha256: {one}, created: 2026-11-21}}" for one in hashes) + "]"


def test_a_whole_file() -> None:
    medicine, scope = parse(WHOLE.encode(), YAML)
    assert medicine.team == Team(
        "medicine", 3.0, "scope/lab", frozenset({"train", "eval"}), 2_000_000, 500_000, 600, 60
    )
    assert medicine.hashes == (bytes.fromhex(HASH),)
    assert scope.team == Team("scope", 1.0, "team/scope", frozenset({"interactive", "train", "eval"}))
    assert scope.hashes == ()


def test_json_says_the_same() -> None:
    key = {"sha256": HASH, "created": "2026-11-21"}
    both = json.dumps({"teams": [{"name": "a", "weight": 2, "keys": [key]}]})
    assert parse(both.encode(), JSON) == parse(team(f"weight: 2, {keys(HASH)}").encode(), YAML)


def test_a_private_scope_is_never_a_shared_one() -> None:
    lab, other = parse(b"teams:\n- name: lab\n- {name: b, cache_scope: lab}\n", YAML)
    assert lab.team.scope != other.team.scope


@pytest.mark.parametrize(
    ("file", "text", "says"),
    [
        (YAML, "", "the file: it must be a mapping; the file's begins with `teams:`"),
        (YAML, "teams: []", "teams: "),
        (YAML, "teams: [", "line 1: not YAML"),
        (YAML, "teams:\n\t- name: a", "line 2: not YAML"),
        (YAML, "teams: [{name: a}]\nteam: 1", "team: there is no such field"),
        (YAML, "teams: [{name: a}]\nteams: [{name: b}]", "line 2: a key stands twice"),
        (YAML, "teams: &a [*a, *a]", "line 1: anchors"),
        (YAML, "a: &a [x]\nteams: [*a]", "line 1: anchors"),
        (YAML, "teams: [*a]", "line 1: anchors"),
        (YAML, "teams: [{&a name: a}]", "line 1: anchors"),
        (YAML, "teams: [{name: &a a}]", "line 1: anchors"),
        (YAML, "teams: " + "[" * 200 + "]" * 200, "teams"),
        (YAML, "teams: [{name: a}]\n---\nteams: [{name: b}]", "not YAML"),
        (YAML, "teams: !!python/object:os.system {}", "line 1: tags"),
        (YAML, "teams: !!timestamp 2026-99-99", "line 1: tags"),
        (YAML, "teams: [{name: !!str 5}]", "line 1: tags"),
        (YAML, "%YAML 1.1\n---\nteams: [{name: a}]", "line 2: directives"),
        (YAML, "teams:\n- name: a\n  <<: {weight: 3}", "line 3: merge keys"),
        (YAML, team("quota: {tokens_per_minute: 0100}"), "line 2: numbers with a leading zero"),
        (YAML, team("quota: {tokens_per_minute: 0o100, tokens_per_minute: 5}"), "line 2: a key stands twice"),
        (YAML, "teams: [{name: 2026-01-01}]", r"teams\[0\]\.name.*in quotes"),
        (YAML, "teams: [{name: true}]", r"teams\[0\]\.name.*in quotes"),
        (YAML, "teams: [{name: 7}]", r"teams\[0\]\.name.*in quotes"),
        (YAML, "teams: [{name: default}]", r"teams\[0\]\.name.*another name"),
        (YAML, "teams: [{name: other}]", r"teams\[0\]\.name.*another name"),
        (JSON, '{"teams": [{"name": "_service"}]}', r"teams\[0\]\.name.*another name"),
        (YAML, "teams: " + "[" * 100_000, "nested too deep"),
        (YAML, "#" * 500_001, "larger than"),
        (YAML, "teams: [{name: Bad Name}]", r"teams\[0\]\.name"),
        (YAML, "teams: [{name: a}, {name: a}]", "two teams are named a"),
        (YAML, team("weight: 0"), r"teams\[0\]\.weight"),
        (YAML, team("weight: .nan"), r"teams\[0\]\.weight"),
        (YAML, team("weight: true"), r"teams\[0\]\.weight"),
        (YAML, team("weight: '3'"), r"teams\[0\]\.weight"),
        (YAML, team("quota: {tokens_per_minute: 0}"), r"teams\[0\]\.quota\.tokens_per_minute"),
        (YAML, team("quota: {tokens: 5}"), r"teams\[0\]\.quota\.tokens: there is no such field"),
        (YAML, team("classes: [fast]"), r"teams\[0\]\.classes\[0\]"),
        (YAML, team("classes: []"), r"teams\[0\]\.classes"),
        (YAML, team(keys("abc")), r"teams\[0\]\.keys\[0\]\.sha256"),
        (YAML, team(keys(HASH, HASH)), "01234567... appears twice"),
        (YAML, team(keys("1" * 64, "2" * 64, "3" * 64)), r"teams\[0\]\.keys"),
        (YAML, team(f"keys: [{{sha256: {HASH}, created: yesterday}}]"), r"teams\[0\]\.keys\[0\]\.created"),
        (
            JSON,
            '{"teams": [{"name": "a"}], "teams": [{"name": "b"}]}',
            "a key stands twice in one JSON object, `teams`",
        ),
        (JSON, '{"teams": ', "line 1, column"),
        (JSON, "[" * 100_000, "nested too deep"),
        (JSON, f'{{"teams": [{{"name": "a", "keys": [{{"sha256": "{HASH}", "created": 5}}]}}]}}', "created"),
        (JSON, f'{{"teams": [{{"name": "a", "keys": [{{"sha256": "{HASH}", "created": "2026-02-31"}}]}}]}}', "created"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(file: Path, text: str, says: str) -> None:
    with pytest.raises(ConfigurationError, match=says) as refused:
        parse(text.encode(), file)
    assert file.name in str(refused.value) and "_File" not in str(refused.value), "no class of ours"


def test_a_word_that_yaml_once_took_for_a_truth_value_is_a_name() -> None:
    assert [one.team.name for one in parse(b"teams: [{name: no}, {name: on}, {name: '007'}]", YAML)] == [
        "no",
        "on",
        "007",
    ]


def test_of_a_thousand_errors_the_first_are_written_out() -> None:
    with pytest.raises(ConfigurationError) as refused:
        parse(json.dumps({"teams": [{}] * 1000}).encode(), JSON)
    assert str(refused.value).endswith("teams[9].name: it is missing; write it; and 990 more")


def test_of_a_large_file_a_bounded_part_is_read(tmp_path: Path) -> None:
    file = tmp_path / "teams.yaml"
    with file.open("wb") as sparse:
        sparse.truncate(5_000_000_000)
    with pytest.raises(ConfigurationError, match="larger than 500000 bytes"):
        parse(read(file), file)


def test_a_key_written_in_place_of_its_hash_is_not_repeated() -> None:
    secret = "rbd_" + "s" * 43
    for text in (team(f"{secret}: 1"), f"{secret}: {{}}", team("weight: !!int rbd_secret"), team(keys(secret))):
        with pytest.raises(ConfigurationError) as refused:
            parse(text.encode(), YAML)
        assert "secret" not in str(refused.value)
        assert "ssss" not in str(refused.value)
    for text in (team(keys("rbd_secret")), team("keys: rbd_secret"), "rbd_secret: 1\nrbd_secret: 2", "a: @rbd_secret"):
        with pytest.raises(ConfigurationError) as refused:
            parse(text.encode(), YAML)
        assert "rbd_secret" not in str(refused.value)


def test_bytes_that_are_no_text() -> None:
    with pytest.raises(ConfigurationError, match="UTF-8"):
        parse(b"teams: \xff", YAML)
