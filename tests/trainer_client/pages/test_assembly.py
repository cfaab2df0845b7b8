"""Small files become one page, whatever they import, and two that do not fit are an error."""

from pathlib import Path

import pytest

from trainer_client.pages.assembly import assembled, script


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "page.html").write_text(
        '<style data-from="a.css b.css"></style><script data-from="main.js"></script>', encoding="utf-8"
    )
    (tmp_path / "a.css").write_text("a{}\n")
    (tmp_path / "b.css").write_text("b{}\n")
    (tmp_path / "low.js").write_text("export const low = 1;\n")
    (tmp_path / "mid.js").write_text('import { low } from "./low.js";\nexport function mid() { return low; }\n')
    (tmp_path / "main.js").write_text('import { mid } from "./mid.js";\nimport { low } from "./low.js";\nmid(low);\n')
    return tmp_path


def test_each_script_comes_once_and_after_what_it_imports(folder: Path) -> None:
    whole = '"use strict";\n(() => {\nconst low = 1;\nfunction mid() { return low; }\nmid(low);\n})();\n'
    assert assembled(folder, "page.html") == f"<style>a{{}}\nb{{}}\n</style><script>{whole}</script>"


def test_what_all_pages_share_is_in_one_folder(folder: Path) -> None:
    (folder / "main.js").write_text('import { el } from "shared/dom.js";\nel("p");\n')
    assert script(folder, "main.js").count("createElementNS") == 1


def test_two_scripts_that_declare_one_name_are_an_error(folder: Path) -> None:
    (folder / "mid.js").write_text('import { low } from "./low.js";\nconst low = 2;\n')
    with pytest.raises(ValueError, match=r"mid\.js and low\.js both declare low"):
        assembled(folder, "page.html")
