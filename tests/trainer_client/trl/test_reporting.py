"""A run reports where somebody has set it up, without being told."""

from pathlib import Path

import pytest

from trainer_client.trl.reporting import channels, wandb_is_set_up

KEY = "machine {host}\n  login user\n  password 0123\n"


def test_a_run_reports_to_what_is_installed_and_set_up(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("WANDB_API_KEY", "WANDB_MODE", "WANDB_BASE_URL", "NETRC"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: object())
    assert channels() == ["tensorboard", "trackio"]
    monkeypatch.setenv("WANDB_MODE", "offline")
    assert channels() == ["tensorboard", "wandb", "trackio"]
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert channels() == []


def test_wandb_is_found_by_its_variables_and_by_its_login(tmp_path: Path) -> None:
    home = {"HOME": str(tmp_path)}
    assert not wandb_is_set_up(home)
    assert wandb_is_set_up({**home, "WANDB_API_KEY": "0123"})
    (tmp_path / ".netrc").write_text(KEY.format(host="api.wandb.ai"))
    assert wandb_is_set_up(home)
    own = {**home, "WANDB_BASE_URL": "https://wandb.example.org"}
    assert not wandb_is_set_up(own), "a login at another server"
    elsewhere = tmp_path / "keys"
    elsewhere.write_text(KEY.format(host="wandb.example.org"))
    assert wandb_is_set_up({**own, "NETRC": str(elsewhere)})
    (tmp_path / ".netrc").write_text("machine [not a netrc")
    assert not wandb_is_set_up(home)
