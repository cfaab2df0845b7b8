import json
from pathlib import Path

import pytest

from service.engine.identity import checkpoint_facts, hash_files, weight_files
from service.errors import ConfigurationError


def write(folder: Path, files: dict[str, bytes]) -> Path:
    folder.mkdir(exist_ok=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return folder


FILES = {
    "config.json": b"{}",
    "tokenizer.json": b"t" * 10,
    "merges.txt": b"m",
    "model.safetensors": bytes(range(256)) * 5000,
    "README.md": b"hello",
}


def test_the_same_bytes_have_the_same_facts(tmp_path: Path) -> None:
    facts = checkpoint_facts(write(tmp_path / "a", FILES))
    assert facts == checkpoint_facts(write(tmp_path / "b", FILES))
    assert facts == checkpoint_facts(write(tmp_path / "c", {**FILES, "README.md": b"other"}))
    assert len(set(facts.values())) == 3 and all(len(value) == 64 for value in facts.values())


@pytest.mark.parametrize(
    ("name", "fact"),
    [
        ("model.safetensors", "weights_sha256"),
        ("config.json", "config_sha256"),
        ("tokenizer.json", "tokenizer_sha256"),
        ("merges.txt", "tokenizer_sha256"),
    ],
)
@pytest.mark.parametrize("place", [0.0, 0.5, 1.0])
def test_one_changed_bit_changes_its_fact_alone(tmp_path: Path, name: str, fact: str, place: float) -> None:
    content = bytearray(FILES[name])
    content[round(place * (len(content) - 1))] ^= 1
    before = checkpoint_facts(write(tmp_path / "a", FILES))
    after = checkpoint_facts(write(tmp_path / "b", {**FILES, name: bytes(content)}))
    assert {key for key in before if before[key] != after[key]} == {fact}


def test_bytes_moved_between_files_or_names_change_the_hash(tmp_path: Path) -> None:
    variants = [
        {"a": b"xy", "b": b"z"},
        {"a": b"x", "b": b"yz"},
        {"a": b"z", "b": b"xy"},
        {"a": b"xyz"},
        {"ab": b"xyz"},
    ]
    folders = [write(tmp_path / str(index), files) for index, files in enumerate(variants)]
    assert len({hash_files(folder.iterdir()) for folder in folders}) == len(variants)


def test_no_tokenizer_is_a_fact_too(tmp_path: Path) -> None:
    files = {name: FILES[name] for name in ("config.json", "model.safetensors")}
    assert checkpoint_facts(write(tmp_path / "a", files))["tokenizer_sha256"] == "none"


def test_shards_are_those_of_the_index(tmp_path: Path) -> None:
    index = {"weight_map": {"x": "one.safetensors", "y": "two.safetensors", "z": "one.safetensors"}}
    folder = write(
        tmp_path / "a", {"model.safetensors.index.json": json.dumps(index).encode(), "one.safetensors": b"1"}
    )
    with pytest.raises(ConfigurationError, match=r"two\.safetensors"):
        weight_files(folder)
    write(folder, {"two.safetensors": b"2", "consolidated.safetensors": b"3"})
    assert [path.name for path in weight_files(folder)] == ["one.safetensors", "two.safetensors"]


@pytest.mark.parametrize(
    ("files", "says"),
    [
        ({}, "no model.safetensors"),
        ({"pytorch_model.bin": b""}, "pickled"),
        ({"model.safetensors": b"", "adapter_config.json": b"{}"}, "merge it"),
        ({"model.safetensors.index.json": b"[]"}, "index"),
        ({"model.safetensors.index.json": b"{"}, "index"),
        ({"model.safetensors.index.json": b'{"weight_map": {}}'}, "all of them"),
    ],
)
def test_a_folder_without_whole_safetensors_is_refused(tmp_path: Path, files: dict[str, bytes], says: str) -> None:
    with pytest.raises(ConfigurationError, match=says):
        weight_files(write(tmp_path / "a", files))
