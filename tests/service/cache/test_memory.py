from service.cache.memory import MemoryCache


def test_what_was_put_comes_back_and_the_unknown_does_not() -> None:
    store = MemoryCache[int](10)
    store.put(b"a", 1)
    store.put(b"b", 2)
    assert store.get_many([b"b", b"x", b"a"]) == {b"a": 1, b"b": 2}


def test_it_is_bounded_and_forgets_the_least_recently_used() -> None:
    store = MemoryCache[int](3)
    for n, key in enumerate((b"a", b"b", b"c"), start=1):
        store.put(key, n)
    store.get_many([b"a"])
    store.put(b"d", 4)
    assert store.get_many([b"a", b"b", b"c", b"d"]) == {b"a": 1, b"c": 3, b"d": 4}
    for n in range(100):
        store.put(bytes([n]), n)
    assert len(store) == 3


def test_a_cache_without_places_holds_nothing() -> None:
    store = MemoryCache[int](0)
    store.put(b"a", 1)
    assert store.get_many([b"a"]) == {}
