"""Every recorded exchange against gostpy, as its server and as its client; see the package."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import gevent
import pytest

from tests.conformance.targets import Targets
from tests.wire_replay.cases import CASES
from tests.wire_replay.exchange import Exchange, Pattern, read_exchanges
from tests.wire_replay.matching import Mismatch, compare
from tests.wire_replay.replay import as_client, as_server

EXCHANGES = read_exchanges()
PLAYS: dict[str, Callable[[Exchange, dict[str, int], Path], None]] = {
    "server": as_server,
    "client": as_client,
}
PARTS = [
    pytest.param(exchange, role, id=f"{exchange.name} as {role}")
    for exchange in EXCHANGES
    for role in exchange.roles
]


@pytest.fixture(scope="module")
def targets() -> Iterator[dict[str, int]]:
    made = Targets()
    yield {name: int(at.rpartition(":")[2]) for name, at in made.addresses.items()}
    made.close()


@pytest.mark.timeout(20)
@pytest.mark.parametrize(("exchange", "role"), PARTS)
def test_replay(exchange: Exchange, role: str, targets: dict[str, int], tmp_path: Path) -> None:
    with gevent.Timeout(15, TimeoutError("the exchange took too long")):
        PLAYS[role](exchange, targets, tmp_path)


def test_every_case_is_recorded() -> None:
    assert sorted(case.exchange.name for case in CASES) == sorted(e.name for e in EXCHANGES)


def test_every_protocol_and_channel_is_there() -> None:
    said = " ".join(str(exchange.server) + str(exchange.client) for exchange in EXCHANGES)
    for protocol in ("http", "socks4", "socks4a", "socks5", "relay", "ss", "ssu+udp", "sni"):
        assert f"{protocol}://" in said, protocol
    for scheme in ("auto", "forward+tcp", "tcp", "udp", "rtcp", "rudp"):
        assert f"{scheme}://" in said, scheme
    assert "network: unix" in said
    for channel in ("tcp", "tls", "ws", "wss", "mtcp", "mtls", "mws", "mwss", "h2", "h2c"):
        assert f"relay+{channel}://" in said, channel


# -- the tools -----------------------------------------------------------------------------------

PORTS = {"echo": 0x4A39, "udp": 34567}


@pytest.mark.parametrize(
    ("data", "text"),
    [
        pytest.param(b"\x05\x01\0", "050100", id="hex"),
        pytest.param(b"\x7f\0\0\x01\x4a\x39hello", '7f000001 {echo} "hello"', id="port"),
        pytest.param(b"Host: a:19001\r\n", '"Host: a:" {echo text} 0d0a', id="digits"),
        pytest.param(b"\x01\x4a\x39", "014a39", id="no address before"),
        pytest.param(b"\x7f\0\0\x01\x4a\x39\x87\x07", "7f000001 {echo} {udp}", id="two ports"),
        pytest.param(b'a "b" \\', '"a \\"b\\" \\\\"', id="quotes"),
    ],
)
def test_patterns(data: bytes, text: str) -> None:
    pattern = Pattern.of(data, list(PORTS.items()))
    assert str(pattern) == text
    assert Pattern.parse(text).fill(PORTS) == data
    assert len(pattern.expect({})) == len(data)


SYN, FIN = b"\x01\0\0\0\3\0\0\0", b"\x01\x01\0\0\3\0\0\0"


def _push(data: bytes) -> bytes:
    return b"\x01\x02" + len(data).to_bytes(2, "little") + b"\3\0\0\0" + data


@pytest.mark.parametrize(
    ("expected", "got", "mux", "complete"),
    [
        pytest.param(b"abc", b"ab", None, False, id="short"),
        pytest.param(b"abc", b"abc", None, True, id="all"),
        pytest.param(b"ab" + SYN + _push(b"xy"), b"ab" + SYN, 2, False, id="opened"),
        pytest.param(SYN + _push(b"xy"), SYN + _push(b"x") + _push(b"y"), 0, True, id="cut"),
        pytest.param(SYN + _push(b"xy") + FIN, SYN + _push(b"xy"), 0, False, id="not closed"),
        pytest.param(b"ab" + SYN, b"a", 2, False, id="before mux"),
    ],
)
def test_compare(expected: bytes, got: bytes, mux: int | None, complete: bool) -> None:
    assert compare(list(expected), got, mux) is complete


def test_a_wrong_byte_is_told() -> None:
    with pytest.raises(Mismatch, match="at byte 1"):
        compare(list(b"abc"), b"axc", None)
    with pytest.raises(Mismatch, match="at byte 0"):
        compare(list(SYN + _push(b"xy")), SYN + _push(b"z"), 0)
