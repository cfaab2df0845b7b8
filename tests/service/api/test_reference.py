"""The reference page names everything of the contract, and needs nothing but itself."""

import re

from pydantic import BaseModel

from service.api.reference import RULES
from testkit.apps import fake_settings, serving
from trainer_client import wire


async def test_every_field_and_model_is_on_the_page() -> None:
    async with serving() as client:
        answer = await client.get("/docs")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "text/html; charset=utf-8")
    page = answer.text
    sent: tuple[type[BaseModel], ...] = (wire.ScoreRequest, wire.Item, wire.Message, wire.Rubric, wire.Criterion)
    answered: tuple[type[BaseModel], ...] = (
        wire.ScoreResponse,
        wire.Result,
        wire.CriterionResult,
        wire.Judge,
        wire.Usage,
        wire.Group,
        wire.Problem,
    )
    for model in (*sent, *RULES, *answered):
        assert f'id="{model.__name__}"' in page
        for name, field in model.model_fields.items():
            assert f"<code>{field.alias or name}</code>" in page, (model, name)
    for word in (*wire.CATEGORIES, "healthbench", "rar_explicit", "math_verify", "bypass", "unparseable", "polarity"):
        assert f"<code>{word}</code>" in page or word in page
    rules = {"math_verify", "regex", "contains", "choice", "length", "json_schema", "exact"}
    assert {wire_rule.model_json_schema()["properties"]["rule"]["const"] for wire_rule in RULES} == rules
    for link in re.findall(r'href="#(\w+)"', page):
        assert f'id="{link}"' in page, f"{link} has no table"


async def test_the_page_needs_no_network_and_no_script() -> None:
    async with serving(settings=fake_settings(root_path="/judge")) as client:
        answer = await client.get("/judge/docs")
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy and "script-src 'none'" in policy and "style-src 'sha256-" in policy
    assert not re.search(r"<script|\son\w+=|style=|https?://|src=", answer.text)
    assert {*re.findall(r'href="([^#"]+)"', answer.text)} == {"data:,", "openapi.json", "./"}
