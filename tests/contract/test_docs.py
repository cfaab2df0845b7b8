"""The written contract and the pages for operators say what the code does."""

import json
import re
import tomllib
from pathlib import Path
from typing import get_args

import jsonschema
import pytest
from ruamel.yaml import YAML

from service import errors
from service.api.problems import STATUS
from service.app import create_app
from service.observability import Telemetry
from service.settings import Settings
from service.settings.judges_file import read_judges
from testkit.apps import fake_settings
from tools import judges_schema, module_table
from trainer_client import wire
from trainer_client.formulas import AGGREGATIONS

DOCS = Path(__file__).resolve().parents[2] / "docs"
ROOT = DOCS.parent
# The log and the changelog may name files that are gone.
PAGES = [
    "README.md",
    "CONTRIBUTING.md",
    "labelled/README.md",
    "miniature/README.md",
    *sorted(str(path.relative_to(ROOT)) for path in DOCS.rglob("*.md") if path.name != "EXPERIMENTS.md"),
]
OPERATIONS = (DOCS / "operate" / "operations.md").read_text(encoding="utf-8")


def test_openapi_json_is_what_the_service_serves() -> None:
    written = json.loads((DOCS / "openapi.json").read_text(encoding="utf-8"))
    assert written == create_app(fake_settings()).openapi(), "run `make openapi`"


def test_the_schema_of_judges_yaml_is_that_of_its_models_and_fits_the_example() -> None:
    text = judges_schema.PAGE.read_text(encoding="utf-8")
    assert text == judges_schema.written(), "run `make judges-schema`"
    example = ROOT / "examples" / "judges.yaml"
    jsonschema.validate(YAML(typ="safe").load(example.read_text(encoding="utf-8")), json.loads(text))
    assert list(read_judges(example).judges) == ["both", "plain", "shown", "dry_run", "by_length"]


def test_the_openapi_document_names_only_what_it_defines() -> None:
    text = (DOCS / "openapi.json").read_text(encoding="utf-8")
    named = set(re.findall(r"#/components/schemas/(\w+)", text))
    assert named <= set(json.loads(text)["components"]["schemas"])
    assert {"ScoreRequest", "ScoreResponse", "Problem"} <= named


def _rows(heading: str) -> dict[str, list[str]]:
    """The table under a heading of operations.md: first cell (a code span) to the other cells."""
    section = OPERATIONS.split(f"\n## {heading}\n", 1)[1].split("\n## ", 1)[0]
    rows = [line.strip("|").split("|") for line in section.splitlines() if line.startswith("| `")]
    return {cells[0].strip().strip("`"): [cell.strip() for cell in cells[1:]] for cells in rows}


def test_every_setting_is_documented_with_its_default_and_nothing_else() -> None:
    rows = _rows("Settings")
    fields = Settings.model_fields
    assert rows.keys() == fields.keys()
    for name, field in fields.items():
        default, sentence = rows[name][0], "|".join(rows[name][1:]).strip()
        assert default == ("" if field.default is None else f"`{json.dumps(field.default)}`"), name
        assert sentence == field.description, name


def test_every_error_code_is_documented_with_its_status() -> None:
    expected = {error.code: str(status) for error, status in STATUS.items()}
    assert {code: cells[0] for code, cells in _rows("Errors of a request").items()} == expected | {"internal": "500"}


def test_every_criterion_status_is_documented() -> None:
    assert set(_rows("Status of a criterion")) == set(get_args(wire.CriterionStatus))


def test_every_judgement_error_is_a_status_of_the_contract() -> None:
    codes = {error.code for error in errors.JudgementError.__subclasses__()}
    assert codes <= set(get_args(wire.CriterionStatus))


def test_every_metric_is_documented_with_its_type_and_labels() -> None:
    telemetry = Telemetry()
    families = [*vars(telemetry._metrics).values(), *telemetry._gauges.collect()]
    declared = dict(re.findall(r"^# TYPE (rubricd_\w+) (\w+)", telemetry.exposition().decode(), re.M))
    labels = {}
    for one in families:
        name = getattr(one, "_name", None) or one.name
        kind = getattr(one, "_type", None) or one.type
        labels[f"{name}_total" if kind == "counter" else name] = ", ".join(f"`{label}`" for label in one._labelnames)
    written = {name: cells[:2] for name, cells in _rows("Metrics").items()}
    assert written == {name: [declared[name], labels[name]] for name in declared}


def test_the_contracts_aggregations_are_the_ones_that_exist() -> None:
    assert get_args(wire.AggregationName) == AGGREGATIONS


@pytest.mark.parametrize("page", PAGES)
def test_pages_link_and_name_only_files_that_exist(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    links = re.findall(r"\]\((?!https?:|#)([^)#]+)", text)
    named = re.findall(
        r"`((?:service|trainer_client|labelled|miniature|loadtests|deploy|docs|testkit|tests|tools)/[\w./]+\.(?:py|md|txt|json|html|ya?ml|conf))`",
        text,
    )
    missing = [name for name in named if not (ROOT / name).exists()]
    missing += [link for link in links if not ((ROOT / page).parent / link).exists()]
    assert not missing


@pytest.mark.parametrize(
    "page", [page for page in PAGES if re.match(r"docs/(tutorial|guide|operate|explanation)/", page)]
)
def test_a_page_begins_with_what_it_is_for_and_ends_with_where_to_go(page: str) -> None:
    parts = re.split(r"\n{2,}", (ROOT / page).read_text(encoding="utf-8").strip())
    assert parts[0].startswith("# ") and re.match(r"[\w`*\[]", parts[1]), "a heading, then a sentence"
    assert parts[-1].startswith("Next: ") and re.search(r"\]\([^)]+\)[^\n]*\.$", parts[-1]), "a link to what comes next"


def _anchors(page: Path) -> set[str]:
    """As GitHub makes them of headings."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES)
def test_pages_link_to_headings_that_exist(page: str) -> None:
    links = re.findall(r"\]\((?!https?:)([^)#]*)#([^)]+)\)", (ROOT / page).read_text(encoding="utf-8"))
    targets = [((ROOT / page).parent / file if file else ROOT / page, anchor) for file, anchor in links]
    missing = [f"{file.name}#{anchor}" for file, anchor in targets if anchor not in _anchors(file)]
    assert not missing


def _code(page: str) -> str:
    """What a reader may copy: blocks of code and code in a line."""
    text = (ROOT / page).read_text(encoding="utf-8")
    return "\n".join(re.findall(r"^```.*?^```|`[^`\n]+`", text, re.S | re.M))


@pytest.mark.parametrize("page", PAGES)
def test_pages_name_commands_of_make_that_exist(page: str) -> None:
    targets = set(re.findall(r"^([a-z-]+):.*##", (ROOT / "Makefile").read_text(encoding="utf-8"), re.M))
    assert set(re.findall(r"\bmake ([a-z][a-z-]*)", _code(page))) <= targets


def test_the_changelog_names_what_exists_by_its_new_name_only() -> None:
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    rows = [
        [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
        for line in changelog.splitlines()
        if "| `" in line
    ]
    pages = "".join((ROOT / page).read_text(encoding="utf-8") for page in ["Makefile", *PAGES])
    assert len(rows) > 20
    for where, old, new in rows:
        assert [name for name in _names(new) if name not in pages] == [], where
        if where in ("setting", "metric", "alert"):
            assert [name for name in _names(old) if name in pages] == [], where


def test_the_changelog_has_the_version_that_the_package_says() -> None:
    package = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    headings = re.findall(r"^## (.+)$", changelog, re.M)
    assert headings[0] == "Unreleased" and re.fullmatch(rf"{re.escape(package)} - \d{{4}}-\d\d-\d\d", headings[1])


def _names(cell: str) -> list[str]:
    """The names in code spans, without labels and commands' first words."""
    return [re.split(r"[{ ]", span)[-1 if " " in span else 0] for span in re.findall(r"`([^`]+)`", cell)]


def test_the_index_links_to_every_page() -> None:
    links = re.findall(r"\]\(([^)#]+)\)", (DOCS / "index.md").read_text(encoding="utf-8"))
    linked = {(DOCS / link).resolve() for link in links}
    pages = {path.resolve() for path in DOCS.rglob("*.md")} | {ROOT / page for page in PAGES}
    pages = {path for path in pages if path.parent.name != "decisions" and path.name != "index.md"}
    assert pages <= linked


def test_architecture_lists_every_module_with_its_first_sentence() -> None:
    page = module_table.PAGE.read_text(encoding="utf-8")
    assert page == module_table.written(page), "run `make modules`"
