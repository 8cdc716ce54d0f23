"""How much CPU the control plane itself takes."""

from innkeeper.telemetry.own_cpu import OwnCpu


def test_it_is_averaged_from_one_look_to_the_next() -> None:
    at, used = 100.0, 5.0
    own = OwnCpu(lambda: used, lambda: at)
    at, used = 110.0, 5.5
    assert own.millis() == 50
    assert own.millis() == 0
    at, used = 111.0, 7.5
    assert own.millis() == 2000


def test_the_real_one_counts_this_process() -> None:
    own = OwnCpu()
    assert sum(range(2_000_000)) > 0
    assert own.millis() > 0
