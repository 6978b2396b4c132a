"""Many datagrams at a time."""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterator
from typing import Any

import gevent
import pytest

from gostpy.net.packet import UDPSocket, dial_udp, listen_udp
from gostpy.net.udpburst import BurstSocket
from gostpy.wire.ip import udp_packet
from tests.net.privileges import needs_raw_sockets


class Sink:
    def __init__(self) -> None:
        self.found: list[tuple[bytes, str]] = []
        self.over: list[BaseException | None] = []

    def datagram(self, data: bytes, address: str) -> None:
        self.found.append((data, address))

    def ended(self, error: BaseException | None) -> None:
        self.over.append(error)

    def wait(self, count: int) -> list[bytes]:
        with gevent.Timeout(10):
            while len(self.found) < count:
                gevent.sleep(0.001)
        return [data for data, _ in self.found]


@pytest.fixture
def ends() -> Iterator[tuple[BurstSocket, BurstSocket, str]]:
    """A server, a client, and the server's address."""
    server = BurstSocket(listen_udp("127.0.0.1:0"))
    address = f"127.0.0.1:{server.info.local[1]}"
    client = BurstSocket(dial_udp(address))
    yield server, client, address
    server.close()
    client.close()


GROUP = [bytes([number]) * 1000 for number in range(150)] + [b"last"]


def test_both_ways(ends: tuple[BurstSocket, BurstSocket, str]) -> None:
    server, client, address = ends
    there, back = Sink(), Sink()
    server.start(there)
    client.start(back)
    client.send_batch(GROUP, "")
    assert there.wait(151) == GROUP
    peer = there.found[0][1]
    assert {sender for _, sender in there.found} == {peer}
    server.send_batch(GROUP[-3:], peer)
    assert back.wait(3) == GROUP[-3:]
    assert back.found[0][1] == address


def test_one_by_one_where_the_system_will_not(
    ends: tuple[BurstSocket, BurstSocket, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    server, client, _ = ends
    there = Sink()
    server.start(there)

    class Refusing:
        def __init__(self, sock: Any) -> None:
            self.sock = sock

        def __getattr__(self, name: str) -> Any:
            return getattr(self.sock, name)

        def sendmsg(self, *_: Any) -> int:
            raise OSError(errno.EIO, "no")

    inner = client.sock
    client.sock = Refusing(inner)  # type: ignore[assignment]
    client.send_batch(GROUP[-5:], "")
    client.send_batch(GROUP[-5:], "")
    assert there.wait(10) == GROUP[-5:] * 2
    assert not client._segments
    client.sock = inner


def test_plain_peers(ends: tuple[BurstSocket, BurstSocket, str]) -> None:
    """A peer that knows nothing of this gets datagrams."""
    server, _, address = ends
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(10)
        sock.bind(("127.0.0.1", 0))
        server.send_batch(GROUP[:10], f"127.0.0.1:{sock.getsockname()[1]}")
        assert [sock.recv(5000) for _ in range(10)] == GROUP[:10]
        there = Sink()
        server.start(there)
        host, port = address.split(":")
        sock.sendto(b"", (host, int(port)))
        sock.sendto(b"x", (host, int(port)))
        assert there.wait(1) == [b"x"]


def test_a_sink_that_fails_ends_the_socket(
    ends: tuple[BurstSocket, BurstSocket, str],
) -> None:
    server, client, _ = ends

    class Broken(Sink):
        def datagram(self, data: bytes, address: str) -> None:
            raise RuntimeError("bug")

    sink = Broken()
    server.start(sink)
    client.send_now(b"x")
    with gevent.Timeout(10):
        while not sink.over:
            gevent.sleep(0.001)
    assert server.closed and isinstance(sink.over[0], RuntimeError)


def test_the_first_conn_is_over() -> None:
    first = listen_udp("127.0.0.1:0")
    second = BurstSocket(first)
    assert type(first) is UDPSocket and first.closed and not second.closed
    second.close()


@needs_raw_sockets
def test_datagrams_from_port_0_are_skipped(ends: tuple[BurstSocket, BurstSocket, str]) -> None:
    """Several at a time to there are refused, as if the system could not send several at all."""
    server, client, _ = ends
    there = Sink()
    server.start(there)
    here = socket.inet_aton("127.0.0.1")
    forged = udp_packet(here, here, (0, server.info.local[1]), b"forged")
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW) as raw:
        raw.sendto(forged[:26] + bytes(2) + forged[28:], ("127.0.0.1", 0))  # without a checksum
    client.send_now(b"real")
    assert there.wait(1) == [b"real"]
