"""Traffic limits. Rates and who gets which limit were recorded from gost 3.2.6."""

import gc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gostpy.errors import ConfigError
from gostpy.guard.bucket import LocalBucket
from gostpy.guard.traffic import Buckets, TrafficLimits, TrafficRule, parse_rate, parse_traffic


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


RATES = [
    ("0", 0),
    ("1B", 1),
    ("1KB", 1024),
    ("1KiB", 1024),
    ("1.5MB", 1572864),
    ("1MB512KB", 1572864),
    ("1MiB1B", 1048577),
    ("+1KB", 1024),
    ("-1KB", -1024),
    (".5KB", 512),
    ("1.KB", 1024),
    ("0.00001B", 0),
    ("1EB", 1 << 60),
]
NO_RATES = ["", "1", "100", "1kB", "1K", "1Kb", "1MB1", "1 KB", "1e3B", ".B", "8EB", "16EB", "1ZB"]
NO_RATES += ["1MB1MiB", "1..5KB", "99999999999999999999B", "KB", "B", "+", "1KB ", "\u0661B"]


@pytest.mark.parametrize(("text", "rate"), RATES)
def test_rate(text: str, rate: int) -> None:
    assert parse_rate(text) == rate


@pytest.mark.parametrize("text", NO_RATES)
def test_no_rate(text: str) -> None:
    with pytest.raises(ConfigError):
        parse_rate(text)


LINES = [
    ("$ 1MB 2MB", TrafficRule("$", 1 << 20, 2 << 20), ""),
    ("$\t1MB\t\t2MB", TrafficRule("$", 1 << 20, 2 << 20), ""),
    ("$$ 1KB", TrafficRule("$$", 1024, 0), ""),
    ("$       1KB", TrafficRule("$", 1024, 0), ""),
    ("$  2MB", TrafficRule("$", 2 << 20, 0), "limits input"),
    ("$ 0 5B", TrafficRule("$", 0, 5), ""),
    ("$ 5 6B", TrafficRule("$", 0, 6), "no limit: '5' is not a rate"),
    ("$ -5B", TrafficRule("$", 0, 0), ""),
    ("$ 1B 2B 3B", TrafficRule("$", 1, 2), "what follows '2B'"),
    ("$", None, "left out"),
    ("name 5B", None, "left out"),
]


@pytest.mark.parametrize(("line", "rule", "remark"), LINES)
def test_lines(line: str, rule: TrafficRule | None, remark: str) -> None:
    rules, remarks = parse_traffic([line])
    found = [(r.key, r.inbound, r.outbound) for r in rules]
    assert found == ([(rule.key, rule.inbound, rule.outbound)] if rule else [])
    assert bool(remarks) is bool(remark)
    assert remark in str(remarks[0] if remarks else "")


def limits(*lines: str, clock: Clock | None = None) -> TrafficLimits:
    return TrafficLimits(parse_traffic(lines)[0], clock=clock or Clock())


def rates(buckets: Buckets) -> tuple[list[float], list[float]]:
    def sorted_rates(part: tuple[object, ...]) -> list[float]:
        return sorted(bucket.rate for bucket in part if isinstance(bucket, LocalBucket))

    return sorted_rates(buckets.inbound), sorted_rates(buckets.outbound)


TABLE = [
    "$ 1MB 2MB",
    "$$ 1KB",
    "10.0.0.0/8 10B 20B",
    "10.1.0.0/16 5B",
    "10.1.1.1 7B",
    "x 5B",
]
WHO = [
    ("10.1.2.3", [10, 1024], [20]),
    ("10.1.1.1", [7, 1024], [20]),
    ("10.2.0.0", [10, 1024], [20]),
    ("9.9.9.9", [1024], []),
    ("::ffff:10.2.0.0", [10, 1024], [20]),
    ("fe80::1", [1024], []),
    ("", [1024], []),
]


@pytest.mark.parametrize(("ip", "inbound", "outbound"), WHO)
def test_who_is_limited(ip: str, inbound: list[float], outbound: list[float]) -> None:
    assert rates(limits(*TABLE).connection_buckets(ip)) == (inbound, outbound)


def test_service() -> None:
    object = limits(*TABLE)
    assert rates(object.service_buckets()) == ([1 << 20], [2 << 20])
    assert object.service_buckets() == object.service_buckets()
    assert not limits("$$ 1KB").service_buckets()


def test_rules_for() -> None:
    rules = limits(*TABLE).rules_for("10.1.1.1")
    assert [rule.line.text for rule in rules] == [TABLE[0], TABLE[1], TABLE[4], TABLE[2]]


def test_connections_of_an_address_share() -> None:
    object = limits("$$ 100B", "1.1.1.1 50B", "2.0.0.0/8 50B")
    one, two = object.connection_buckets("1.1.1.1"), object.connection_buckets("1.1.1.1")
    assert one.received(50, 1000.0) == 0.0
    assert two.received(50, 1000.0) == 1.0
    assert object.connection_buckets("2.0.0.1").received(50, 1000.0) == 0.0
    assert object.connection_buckets("2.0.0.2").received(50, 1000.0) == 0.0
    assert one.sent(10**9, 1000.0) == 0.0


def test_a_new_connection_does_not_clear_the_debt() -> None:
    clock = Clock()
    object = limits("1.1.1.1 10B", clock=clock)
    object.address_buckets("1.1.1.1").received(1000, clock.now)
    gc.collect()
    clock.now += 50
    for number in range(1000):
        object.address_buckets(f"9.9.{number % 200}.1")
    assert object.address_buckets("1.1.1.1").received(0, clock.now) == 49.0


def test_replaced_rules_reach_open_connections() -> None:
    object = limits("$ 10B", "$$ 5B", "1.1.1.1 10B", "2.2.2.2 10B")
    service, address = object.service_buckets(), object.address_buckets("1.1.1.1")
    gone = object.address_buckets("2.2.2.2")
    object.replace(parse_traffic(["$ 1KB", "1.1.1.1 1KB 1KB"])[0])
    assert rates(service) == ([1024], [])
    assert rates(address) == ([1024], [])
    assert gone.received(10**9, 1000.0) == 0.0
    assert rates(object.connection_buckets("1.1.1.1")) == ([1024], [1024])
    object.replace([])
    assert service.received(10**9, 1000.0) == 0.0
    assert not object.connection_buckets("1.1.1.1")


@given(st.text(max_size=30))
def test_only_config_errors(text: str) -> None:
    try:
        parse_rate(text)
    except ConfigError:
        pass


@given(st.lists(st.text("$1.0/KMB -+\t", max_size=20), max_size=5), st.text(max_size=20))
def test_anything_may_be_written(lines: list[str], ip: str) -> None:
    rules, _ = parse_traffic(lines)
    TrafficLimits(rules, clock=Clock()).connection_buckets(ip)
