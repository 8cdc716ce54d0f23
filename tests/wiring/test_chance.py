"""Chance comes from the system, in any number of bits, and no share of it is given out twice."""

import threading

import pytest

from innkeeper.wiring.chance import Chance


@pytest.mark.parametrize("count", [1, 7, 8, 32, 64, 127, 128, 129, 322])
def test_a_number_has_so_many_bits(count: int) -> None:
    chance = Chance()
    drawn = [chance.getrandbits(count) for _ in range(300)]
    assert min(drawn) >= 0
    assert max(drawn) < 2**count
    assert max(drawn).bit_length() > count - 8 or count == 1
    assert {n & 1 for n in drawn} == {0, 1}


def test_threads_never_draw_the_same() -> None:
    chance, drawn = Chance(), []

    def draw() -> None:
        drawn.extend([chance.getrandbits(128) for _ in range(5000)])

    threads = [threading.Thread(target=draw) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(drawn)) == len(drawn) == 20_000
