"""Every datagram channel that exists on both sides carries datagrams and obeys the guards."""

import socket
from collections.abc import Iterator

import gevent
import pytest

from tests.contract.pairing import PACKETS, Pair
from tests.engine.running import Stage, eventually

every = pytest.mark.parametrize("name", PACKETS)


@pytest.fixture
def echo() -> Iterator[int]:
    """The port of a server that returns datagrams; ``drop`` is not answered."""
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    server.bind(("127.0.0.1", 0))

    def loop() -> None:
        while True:
            data, peer = server.recvfrom(65535)
            if data != b"drop":
                server.sendto(data, peer)

    serving = gevent.spawn(loop)
    yield server.getsockname()[1]
    serving.kill()
    server.close()


def client(pair: Pair) -> socket.socket:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.settimeout(2)
    sock.connect(("127.0.0.1", pair.port))
    return sock


def ask(pair: Pair, data: bytes, seconds: float = 2) -> bytes:
    with client(pair) as sock:
        sock.settimeout(seconds)
        sock.send(data)
        try:
            return sock.recv(65535)
        except TimeoutError:
            return b""


@every
def test_echo(stage: Stage, name: str, echo: int) -> None:
    pair = Pair(stage, name, echo, network="udp")
    for size in (0, 1, 1000, 9000):
        assert ask(pair, b"x" * size) == b"x" * size


@every
def test_many_clients(stage: Stage, name: str, echo: int) -> None:
    pair = Pair(stage, name, echo, network="udp")
    words = [b"client %d" % number for number in range(50)]
    asking = [gevent.spawn(ask, pair, word) for word in words]
    gevent.joinall(asking, timeout=10)
    assert [each.value for each in asking] == words


@every
def test_unanswered_datagrams_hold_nothing(stage: Stage, name: str, echo: int) -> None:
    pair = Pair(stage, name, echo, network="udp")
    assert ask(pair, b"drop", 0.05) == b""
    assert ask(pair, b"after") == b"after"


@every
def test_admission(stage: Stage, name: str, echo: int) -> None:
    rest = "admissions: [{name: a, matchers: [127.0.0.1]}]"
    pair = Pair(stage, name, echo, network="udp", service="admission: a", rest=rest)
    assert ask(pair, b"x", 0.1) == b""
    assert not pair.seen.conns


@every
@pytest.mark.parametrize("kind", ["limiter", "climiter"])
def test_missing_limiter_refuses(stage: Stage, name: str, kind: str, echo: int) -> None:
    pair = Pair(stage, name, echo, network="udp", service=f"{kind}: gone")
    assert ask(pair, b"x", 0.1) == b""
    assert not pair.seen.conns


@every
def test_session_limit(stage: Stage, name: str, echo: int) -> None:
    rest = "climiters: [{name: c, limits: ['$ 1']}]"
    pair = Pair(stage, name, echo, network="udp", service="climiter: c", rest=rest)
    with client(pair) as first:
        first.send(b"drop")
        eventually(lambda: pair.seen.conns)
        assert ask(pair, b"x", 0.1) == b""


@every
def test_traffic_limit_drops_what_is_larger_than_a_burst(
    stage: Stage, name: str, echo: int
) -> None:
    rest = "limiters: [{name: l, limits: ['$ 1KB 1KB']}]"
    pair = Pair(stage, name, echo, network="udp", service="limiter: l", rest=rest)
    assert ask(pair, b"x" * 1025, 0.1) == b""
    assert ask(pair, b"x" * 500) == b"x" * 500
