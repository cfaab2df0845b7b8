import random
from pathlib import Path

from trainer_client.json_lines import whole_lines


def _read(path: Path) -> list[tuple[int, bytes]]:
    with path.open("r+b") as file:
        return list(whole_lines(file))


def test_wherever_a_kill_tears_a_file_the_next_line_stands_by_itself(tmp_path: Path) -> None:
    """Every place of 40 files: 0 whole lines lost, and 0 lines that are two."""
    rng, tried = random.Random(0), 0
    for _ in range(40):
        lines = [bytes(rng.choices(b"{}:\r\x85\xe2", k=rng.randrange(6))) + b"\n" for _ in range(rng.randrange(5))]
        for end in range(len(whole := b"".join(lines)) + 1):
            path = tmp_path / "kept.jsonl"
            path.write_bytes(whole[:end])
            kept = _read(path)
            assert kept == list(enumerate(lines[: whole[:end].count(b"\n")], 1))
            with path.open("ab") as file:
                file.write(b"next\n")
            assert _read(path) == [*kept, (len(kept) + 1, b"next\n")]
            tried += 1
    print(f"{tried} places")


def test_a_file_that_is_not_read_to_its_end_is_not_cut(tmp_path: Path) -> None:
    path = tmp_path / "kept.jsonl"
    path.write_bytes(b"1\n2\n3")
    with path.open("r+b") as file:
        assert next(whole_lines(file)) == (1, b"1\n")
    assert path.read_bytes() == b"1\n2\n3"
