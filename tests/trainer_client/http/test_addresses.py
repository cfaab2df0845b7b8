import random
from collections import Counter

import httpx
import pytest

from trainer_client.errors import AnswerTimedOut, ConnectFailed, InvalidRequest, JudgeMismatch, Overloaded, Unavailable
from trainer_client.http.addresses import Addresses


class Manual:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def _three() -> tuple[Addresses, Manual]:
    manual = Manual()
    return Addresses([httpx.URL(f"http://judge-{n}") for n in range(3)], manual), manual


def test_a_key_stays_where_it_is_and_keys_are_spread() -> None:
    addresses, _ = _three()
    chosen = {f"{n:03x}": addresses.choose(f"{n:03x}") for n in range(3000)}
    assert all(addresses.choose(key) is one for key, one in chosen.items())
    assert all(900 < times < 1100 for times in Counter(one.url.host for one in chosen.values()).values())


def test_calls_without_a_key_take_turns() -> None:
    addresses, _ = _three()
    assert Counter(addresses.choose(None).url.host for _ in range(30)) == {f"judge-{n}": 10 for n in range(3)}


def test_where_one_rests_only_its_keys_move_and_they_come_back() -> None:
    addresses, manual = _three()
    keys = [f"{n:03x}" for n in range(600)]
    before = {key: addresses.choose(key) for key in keys}
    ill = addresses.all[0]
    assert addresses.failed(ill, ConnectFailed("refused")) is True
    during = {key: addresses.choose(key) for key in keys}
    assert ill not in during.values()
    assert all(during[key] is before[key] for key in keys if before[key] is not ill)
    assert len({during[key].url for key in keys if before[key] is ill}) == 2
    manual.now += 1.0
    assert {key: addresses.choose(key) for key in keys} == before


def test_rests_grow_up_to_half_a_minute_and_end_with_a_success() -> None:
    addresses, manual = _three()
    ill, rests = addresses.all[0], []
    for _ in range(8):
        addresses.failed(ill, Unavailable("loading"))
        addresses.failed(ill, Unavailable("loading"))  # of calls that were under way together
        rests.append(ill.rests_until - manual.now)
        manual.now = ill.rests_until
    assert rests == [1, 2, 4, 8, 16, 30, 30, 30]
    addresses.succeeded(ill)
    addresses.failed(ill, Overloaded("full", retry_after_s=7.0))
    assert ill.rests_until - manual.now == 7.0, "at least as long as the service asks for"


def test_what_another_address_would_not_change_rests_nobody() -> None:
    addresses, _ = _three()
    for error in (InvalidRequest("no"), JudgeMismatch("another")):
        assert addresses.failed(addresses.all[0], error) is False
    assert all(one.failures == 0 for one in addresses.all)


def test_where_all_rest_the_first_to_wake_is_asked_after_the_usual_pause() -> None:
    addresses, _ = _three()
    order = random.Random(1).sample(addresses.all, 3)
    told = [addresses.failed(one, Overloaded("full", retry_after_s=5.0 + n)) for n, one in enumerate(order)]
    assert told == [True, True, False]
    assert addresses.choose("abc") is addresses.choose(None) is order[0]


@pytest.mark.parametrize("error", [ConnectFailed("refused"), AnswerTimedOut("silent"), Overloaded("full")])
def test_one_address_alone_never_rests(error: ConnectFailed) -> None:
    addresses = Addresses([httpx.URL("http://judge")], lambda: 0.0)
    assert addresses.failed(addresses.all[0], error) is False
    assert addresses.choose("abc").failures == 0
