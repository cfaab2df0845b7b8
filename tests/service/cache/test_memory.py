from service.cache.memory import MemoryCache


def test_what_was_put_comes_back_and_the_unknown_does_not() -> None:
    store = MemoryCache[int](10)
    store.put_many({b"a": 1, b"b": 2})
    assert store.get_many([b"b", b"x", b"a"]) == {b"a": 1, b"b": 2}


def test_it_is_bounded_and_forgets_the_least_recently_used() -> None:
    store = MemoryCache[int](3)
    store.put_many({b"a": 1, b"b": 2, b"c": 3})
    store.get_many([b"a"])
    store.put_many({b"d": 4})
    assert store.get_many([b"a", b"b", b"c", b"d"]) == {b"a": 1, b"c": 3, b"d": 4}
    store.put_many({bytes([n]): n for n in range(100)})
    assert len(store) == 3


def test_no_room_is_no_cache() -> None:
    store = MemoryCache[int](0)
    store.put_many({b"a": 1})
    assert store.get_many([b"a"]) == {}
