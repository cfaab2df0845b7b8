"""The recipe of docs/guide/verl.md, run as it stands. verl is not needed for it; that verl composes the command it
prints is tested in `contract/settings.py`."""

import shlex
from pathlib import Path

from pyarrow import parquet

from tests.trainer_client.verl.verl_docs import DOC, ROWS, block, recipe
from trainer_client.verl.recipe import overrides
from trainer_client.verl.rows import prompt_row


def test_the_recipe_has_ten_lines() -> None:
    assert len([line for line in block().splitlines() if line.strip() and "import" not in line]) <= 10


def test_the_recipe_writes_the_files_and_prints_the_command(tmp_path: Path) -> None:
    command = shlex.split(recipe(tmp_path))
    assert command[:3] == ["python", "-m", "verl.trainer.main_ppo"]
    for name, split in (("train", "train"), ("val", "val")):
        rows = parquet.read_table(tmp_path / f"{name}.parquet").to_pylist()
        assert len(rows) == ROWS.count("\n")
        assert [prompt_row(row["extra_info"]).split for row in rows] == [split] * 2
    assert (tmp_path / "agents.yaml").is_file()
    assert f"data.train_files={tmp_path / 'train.parquet'}" in command


def test_every_setting_is_explained() -> None:
    text = DOC.read_text(encoding="utf-8")
    told = overrides("p", train="t", val="v", agents="a", judge="j", steps=1, options={"soft": True})
    names = [one.split("=", 1)[0].lstrip("+") for one in told]
    unexplained = [name for name in names if f"`{name}`" not in text and f"`{name.rsplit('.', 1)[1]}`" not in text]
    assert unexplained == []
