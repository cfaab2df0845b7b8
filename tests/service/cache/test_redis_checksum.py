"""1,000 changed values are 1,000 misses, by the cache and on a real Redis."""

import pickle
import random

import pytest

from service.cache.redis import VERSION, add_checksum, verify_checksum
from testkit.redis import RedisServer
from tests.service.cache.replicas import key, keys, replica, truth, value_name


def changed(value: bytes, others: bytes, chance: random.Random) -> bytes:
    """A value that is not `value`, in one of eight ways."""
    match chance.randrange(8):
        case 0 | 1:
            at = chance.randrange(len(value))
            return value[:at] + bytes([value[at] ^ (1 << chance.randrange(8))]) + value[at + 1 :]
        case 2:
            return value[: chance.randrange(len(value))]
        case 3:
            return value + chance.randbytes(chance.randrange(1, 40))
        case 4:
            return others
        case 5:
            return bytes([chance.choice([n for n in range(256) if n != VERSION[0]])]) + value[1:]
        case 6:
            return pickle.dumps({"p_met": 1.0, "label_mass": chance.random()})
        case _:
            return value[len(VERSION) + 16 :]


def test_a_checksum_fits_and_1000_changes_of_the_value_do_not() -> None:
    chance = random.Random(1)
    for n in range(1000):
        value = add_checksum(key(n), truth(key(n)).encode())
        assert verify_checksum(key(n), value) == truth(key(n)).encode()
        with pytest.raises(ValueError):
            verify_checksum(key(n), changed(value, add_checksum(key(n + 1), truth(key(n + 1)).encode()), chance))


async def test_1000_changed_values_in_redis_are_1000_counted_misses(redis_server: RedisServer, redis_url: str) -> None:
    chance = random.Random(2)
    wanted = keys(1000)
    with redis_server.client() as client:
        for one in wanted:
            value, other = (add_checksum(k, truth(k).encode()) for k in (one, key(5000)))
            client.set(value_name(one), changed(value, other, chance))
    async with replica(redis_url) as a:
        looked = await a.cache.look_up(wanted)
        assert not looked.known
        assert looked.mine == set(wanted)
        assert a.faults == {"corrupt": 1000}
        a.keep(wanted)
        await a.cache.stop()
        assert (await a.cache.look_up(wanted)).known == {one: truth(one) for one in wanted}
        assert a.faults == {"corrupt": 1000}
