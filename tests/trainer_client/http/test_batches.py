from hypothesis import given
from hypothesis import strategies as st

from trainer_client import wire
from trainer_client.http import batches

_item = st.builds(
    lambda text, group, id: {
        "prompt": "p",
        **({"responses": [text] * group} if group else {"response": text}),
        **({"id": id} if id else {}),
    },
    st.text(st.characters(codec="utf-8"), max_size=300),
    st.integers(0, 6),
    st.none(),
)


def _parsed(items: list[dict[str, object]]) -> list[wire.Item]:
    return [wire.Item.model_validate(item) for item in items]


@given(st.lists(_item, max_size=40), st.integers(1, 10), st.integers(1, 1500))
def test_cutting_keeps_every_item_once_in_order_with_its_id_and_within_bounds(
    raw: list[dict[str, object]], most: int, most_bytes: int
) -> None:
    items = _parsed(raw)
    cut = list(batches.cut(batches.entries(items), most, most_bytes))
    flat = [entry for chunk in cut for entry in chunk]
    assert [entry.index for entry in flat] == list(range(len(items)))
    assert [id for entry in flat for id in entry.ids] == [
        id for i, item in enumerate(items) for id in item.result_ids(i)
    ]
    places = [entry.first + n for entry in flat for n in range(len(entry.ids))]
    assert places == list(range(len(places)))
    for chunk in cut:
        assert chunk
        assert len(chunk) == 1 or sum(len(entry.ids) for entry in chunk) <= most
        assert len(chunk) == 1 or sum((entry.size or 0) + 1 for entry in chunk) <= most_bytes


@given(st.lists(_item, min_size=2, max_size=20), st.integers(1, 5))
def test_ids_within_a_chunk_are_the_whole_lists(raw: list[dict[str, object]], most: int) -> None:
    for chunk in batches.cut(batches.entries(_parsed(raw)), most, 10_000):
        named = [entry.item for entry in chunk]
        alone = [id for index, item in enumerate(named) for id in item.result_ids(index)]
        assert alone == [id for entry in chunk for id in entry.ids]


def test_chunks_are_filled() -> None:
    entries = batches.entries(_parsed([{"prompt": "p", "response": "r"}] * 70))
    assert [len(chunk) for chunk in batches.cut(entries, 32, 10_000)] == [32, 32, 6]


def test_text_that_no_json_can_hold_has_no_size() -> None:
    entries = batches.entries(_parsed([{"prompt": "p", "response": "\ud800"}, {"prompt": "p", "response": "é"}]))
    assert [entry.size is None for entry in entries] == [True, False]
