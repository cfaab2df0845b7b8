"""Whatever a stranger may read in a reference has a sentence: fields, routes, options, metrics, run files."""

import importlib
import inspect
import pkgutil
from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import BaseModel

from service.app import create_app
from testkit.apps import fake_settings
from tools import operations, reference_pages, training_tables
from trainer_client import wire
from trainer_client.cli import exit_codes


def _said(text: str | None) -> bool:
    """A sentence with its full stop, or with what explains it in brackets."""
    return text is not None and text.strip().endswith((".", ")"))


def _models() -> Iterator[type[BaseModel]]:
    modules = [importlib.import_module(f"{wire.__name__}.{one.name}") for one in pkgutil.iter_modules(wire.__path__)]
    for module in modules:
        for _, one in inspect.getmembers(module, inspect.isclass):
            if issubclass(one, BaseModel) and one.__module__ == module.__name__:
                yield one


def test_every_field_and_model_of_the_wire_has_a_sentence() -> None:
    fields = {f"{model.__name__}.{name}": one for model in _models() for name, one in model.model_fields.items()}
    assert len(fields) > 400
    assert [name for name, one in fields.items() if not _said(one.description)] == []
    assert [model.__name__ for model in _models() if not _said(model.__doc__)] == []


def _described(document: dict[str, Any]) -> Iterator[tuple[str, str | None]]:
    for name, schema in document["components"]["schemas"].items():
        yield name, schema.get("description")
        for field, one in schema.get("properties", {}).items():
            yield f"{name}.{field}", one.get("description")
    for path, methods in document["paths"].items():
        for method, one in methods.items():
            yield f"{method} {path}", one.get("description") or one.get("summary")
            for parameter in one.get("parameters", ()):
                yield f"{method} {path} {parameter['name']}", parameter.get("description")


def test_all_that_the_openapi_document_holds_has_a_sentence() -> None:
    described = dict(_described(create_app(fake_settings()).openapi()))
    assert len(described) > 400
    assert [name for name, text in described.items() if not text] == []


PARSERS = dict(reference_pages.parsers())


@pytest.mark.parametrize("name", PARSERS)
def test_a_command_and_each_of_its_options_say_what_they_do(name: str) -> None:
    parser = PARSERS[name]
    assert _said(parser.description), "the command"
    assert [one for one, says in reference_pages.arguments(parser) if not says] == []


def test_every_field_of_a_run_file_has_a_sentence() -> None:
    rows = [line.strip("|").split(" | ") for line in training_tables.fields().splitlines() if line.startswith("| `")]
    assert len(rows) > 80
    assert [cells[0] for cells in rows if not _said(cells[-1])] == []


@pytest.mark.parametrize("heading", operations.REFERENCES)
def test_a_row_of_the_reference_says_something_in_each_cell_that_explains(heading: str) -> None:
    assert [name for name, cells in operations.rows(heading).items() if not cells[-1]] == []


def test_every_exit_code_has_a_meaning() -> None:
    assert set(exit_codes.MEANINGS) >= {0, 1, 2} and all(exit_codes.MEANINGS.values())
