"""Request limits on a fake clock."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gostpy.guard.requests import RequestLimits, parse_requests


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def limits(*lines: str) -> tuple[RequestLimits, Clock]:
    clock = Clock()
    return RequestLimits(parse_requests(lines)[0], clock=clock), clock


def passed(object: RequestLimits, ip: str, times: int = 20) -> int:
    return sum(object.allow(ip) for _ in range(times))


BURSTS = [("$ 1", 2), ("$ 0.5", 1), ("$ 2.5", 3), ("$$ 4", 5), ("1.1.1.1 3", 4), ("$ 1e1", 11)]


@pytest.mark.parametrize(("line", "burst"), BURSTS)
def test_burst_then_refill(line: str, burst: int) -> None:
    object, clock = limits(line)
    assert passed(object, "1.1.1.1") == burst
    rate = parse_requests([line])[0][0].rate
    clock.now += 2 / rate
    assert passed(object, "1.1.1.1") == min(2, burst)


def test_clients_are_counted_apart() -> None:
    object, _ = limits("$$ 1", "10.0.0.0/8 2", "10.1.1.1 3")
    assert passed(object, "1.1.1.1") == 2
    assert passed(object, "1.1.1.2") == 2
    assert passed(object, "10.2.2.2") == 3
    assert passed(object, "::ffff:10.2.2.2") == 0
    assert passed(object, "10.1.1.1") == 4


def test_a_client_that_asks_too_often_does_not_use_up_what_others_share() -> None:
    object, _ = limits("$ 3", "$$ 1")
    assert passed(object, "1.1.1.1") == 2
    assert passed(object, "2.2.2.2") == 2
    assert passed(object, "3.3.3.3") == 0


def test_without_rules() -> None:
    object, _ = limits()
    assert passed(object, "1.1.1.1") == 20


def test_replaced_rules() -> None:
    object, _ = limits("$ 1")
    assert passed(object, "1.1.1.1") == 2
    object.replace(parse_requests(["$$ 2"])[0])
    assert passed(object, "1.1.1.1") == 3


def test_keys_of_no_kind() -> None:
    rules, remarks = parse_requests(["name 3"])
    assert not rules
    assert "name" in str(remarks[0])


@pytest.mark.parametrize("value", ["x", "0", "-1", "nan", "inf", "1s"])
def test_values_left_out(value: str) -> None:
    rules, remarks = parse_requests([f"$ {value}"])
    assert not rules
    assert value in str(remarks[0])


def test_idle_clients_take_no_memory() -> None:
    object, clock = limits("$$ 1")
    for number in range(20_000):
        clock.now += 0.01
        object.allow(f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}")
    assert len(object._buckets) < 2000


@given(st.lists(st.text(max_size=20), max_size=5), st.text(max_size=20))
def test_anything_may_be_written(lines: list[str], ip: str) -> None:
    RequestLimits(parse_requests(lines)[0], clock=Clock()).allow(ip)
