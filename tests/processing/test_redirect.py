"""The redirect and redu handlers, with the firewall left out; tests/transparent has it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from gostpy.errors import ConfigError, Denied, Unsupported
from gostpy.net.conn import ConnInfo
from gostpy.net.packet import dial_udp
from gostpy.options import parse
from gostpy.processing import redirect, redu
from gostpy.processing.context import HandlerContext
from tests.channel.fakes import SilentLog
from tests.processing.scene import FakeRouter, close_pairs, pair, played

pytestmark = pytest.mark.timeout(20)

HERE = "127.0.0.1:8080"


@pytest.fixture(autouse=True)
def _pairs() -> Iterator[None]:
    yield
    close_pairs()


def options(**metadata: object) -> redirect.HandlerOptions:
    return parse(redirect.HandlerOptions, {"tproxy": True, **metadata})


def test_where_it_was_going() -> None:
    with played(redirect.Handler, options()) as scene:
        scene.client.sendall(b"x")
        assert scene.target.recv(1) == b"x"
    assert (scene.request.network, scene.request.address) == ("tcp", HERE)
    assert scene.request.destination == HERE


def test_rules() -> None:
    def rule(network: str, address: str, *facts: str) -> str:
        return "a rule" if address == HERE else ""

    with played(redirect.Handler, options(), bypassed=rule) as scene:
        assert scene.client.recv(1) == b""
    assert isinstance(scene.error, Denied)
    assert not scene.router.requests


def test_not_a_socket() -> None:
    """Something else than a TCP connection was not redirected."""
    with played(redirect.Handler, options(tproxy=False)) as scene:
        assert scene.client.recv(1) == b""
    assert isinstance(scene.error, OSError | Unsupported)


@pytest.mark.effect("handler:redirect", "readTimeout")
def test_read_timeout() -> None:
    with played(redirect.Handler, options(sniffing=True, readTimeout="50ms")) as scene:
        scene.client.sendall(b"GET / HTT")
        assert scene.client.recv(1) == b""
    assert isinstance(scene.error, TimeoutError)


def test_a_request_without_a_host() -> None:
    """It goes where it was going."""
    with played(redirect.Handler, options(sniffing=True)) as scene:
        scene.client.sendall(b"GET / HTTP/1.0\r\n\r\n")
        assert scene.target.recv(100).startswith(b"GET / HTTP/1.1\r\n")
        scene.target.sendall(b"HTTP/1.0 204 No Content\r\n\r\n")
        assert scene.client.recv(100).startswith(b"HTTP/1.0 204")
    assert scene.request.address == HERE


@pytest.mark.parametrize("host", ["a.test", "a.test:99", "[fd00::1]:99"])
def test_sniffed_host_at_the_original_port(host: str) -> None:
    with played(redirect.Handler, options(sniffing=True)) as scene:
        scene.client.sendall(f"GET / HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
        assert scene.target.recv(100)
    assert scene.request.address == host.removesuffix(":99") + ":8080"


def test_interception_is_refused_by_name() -> None:
    context = HandlerContext("test", SilentLog(), FakeRouter())
    with pytest.raises(ConfigError, match=r"mitm\.certFile"):
        redirect.Handler(options(**{"mitm.certFile": "a", "mitm.keyFile": "b"}), context)


# -- redu ------------------------------------------------------------------------------------------


def datagrams(sniffing: dict[str, object]) -> tuple[redu.Handler, object]:
    handler = redu.Handler(
        parse(redu.HandlerOptions, sniffing), HandlerContext("test", SilentLog(), FakeRouter())
    )
    packets = dial_udp("127.0.0.1:9")
    packets.info = ConnInfo(peer=("127.0.0.1", 9), destination=("127.0.0.1", 53))
    return handler, packets


@pytest.mark.effect("handler:redu", "sniffing.timeout")
def test_sniffing_timeout() -> None:
    handler, packets = datagrams({"sniffing": True, "sniffing.timeout": "20ms"})
    with pytest.raises(TimeoutError):
        handler.handle(packets)
    packets.close()


def test_only_redirected_datagrams() -> None:
    handler, packets = datagrams({})
    packets.info.destination = None
    with pytest.raises(Unsupported):
        handler.handle(packets)
    packets.close()
    with pytest.raises(Unsupported):
        handler.handle(pair()[0])
