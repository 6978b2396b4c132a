"""The tun handler, both sides, on a played device and real UDP sockets."""

from __future__ import annotations

import contextlib
import socket
import tracemalloc
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gostpy.errors import ProtocolError
from gostpy.interfaces import Request
from gostpy.net.conn import ConnInfo
from gostpy.net.packet import PacketConn, dial_udp
from gostpy.net.wrapped import WrappedPackets
from gostpy.processing.tun import Handler, HandlerOptions, client, server
from gostpy.wire.tun import Registration
from tests.processing.playeddevice import PlayedDevice, eventually, udp_socket
from tests.wire.test_ip import packet

OWN, ONE, TWO, FAR = (socket.inet_aton(a) for a in ("10.0.0.1", "10.0.0.2", "10.0.0.3", "10.9.0.1"))
OWN6, ONE6 = (socket.inet_pton(10, a) for a in ("fd00::1", "fd00::2"))


def udp(source: bytes, target: bytes, text: bytes = b"data") -> bytes:
    return packet(source, target, 17, b"\0\1\0\2\0\0\0\0" + text)


class Router:
    """Dials for real; keeps the requests."""

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.conns: list[Any] = []
        self.answer: Any = None

    def dial(self, request: Request) -> Any:
        self.requests.append(request)
        conn = self.answer() if self.answer is not None else dial_udp(request.address)
        self.conns.append(conn)
        return conn


def hop(address: str) -> Any:
    return SimpleNamespace(select=lambda _: SimpleNamespace(address=address))


# -- server ----------------------------------------------------------------------------------------


class Peer:
    """A client of the server, played by hand."""

    def __init__(self, port: int) -> None:
        self.sock = udp_socket()
        self.sock.connect(("127.0.0.1", port))
        self.address = f"127.0.0.1:{self.sock.getsockname()[1]}"

    def register(self, *addresses: bytes, key: bytes = b"") -> None:
        self.sock.send(Registration(key, addresses).encode())

    def registered(self, *addresses: bytes, key: bytes = b"") -> None:
        self.register(*addresses, key=key)
        assert self.sock.recv(100) == b"GOST" + bytes(10) + b"\xff\xff\x7f\0\0\1"


@contextlib.contextmanager
def serving(device: PlayedDevice, monkeypatch: pytest.MonkeyPatch, **more: Any) -> Iterator[Any]:
    """A running server and its port."""
    options = HandlerOptions(p2p=more.pop("p2p", False))
    made: list[Any] = []
    monkeypatch.setattr(server, "Server", server.Server)
    original = server.Server.__init__

    def keep(self: Any, *arguments: Any) -> None:
        original(self, *arguments)
        made.append(self)

    monkeypatch.setattr(server.Server, "__init__", keep)
    with device.served(Handler, options, router=Router(), **more):
        eventually(lambda: made and made[0]._link)
        yield made[0], made[0]._link.packets.info.local[1]


def test_registration_and_data_both_ways(monkeypatch: pytest.MonkeyPatch) -> None:
    device = PlayedDevice("10.0.0.1/24", "fd00::1/64")
    with serving(device, monkeypatch) as (_, port):
        peer = Peer(port)
        peer.registered(ONE, ONE6)
        for own, one in ((OWN, ONE), (OWN6, ONE6)):
            peer.sock.send(udp(one, own))
            assert device.hears() == udp(one, own)
            device.says(udp(own, one))
            assert peer.sock.recv(2000) == udp(own, one)
        peer.sock.close()


def test_from_client_to_client(monkeypatch: pytest.MonkeyPatch) -> None:
    device = PlayedDevice("10.0.0.1/24")
    with serving(device, monkeypatch) as (_, port):
        one, two = Peer(port), Peer(port)
        one.registered(ONE)
        two.registered(TWO)
        one.sock.send(udp(ONE, TWO))
        assert two.sock.recv(2000) == udp(ONE, TWO)
        two.registered(ONE)  # an address that moves
        device.says(udp(OWN, ONE))
        assert two.sock.recv(2000) == udp(OWN, ONE)


def test_networks_behind_a_client(monkeypatch: pytest.MonkeyPatch) -> None:
    device = PlayedDevice("10.0.0.1/24")
    device.routes(("10.9.0.0/16", "10.0.0.2"), ("10.8.0.0/16", "10.0.0.77"))
    with serving(device, monkeypatch) as (_, port):
        peer = Peer(port)
        peer.registered(ONE)
        device.says(udp(OWN, socket.inet_aton("10.8.0.1")))
        device.says(udp(OWN, FAR))
        assert peer.sock.recv(2000) == udp(OWN, FAR)


def test_own_addresses_are_nobody_elses(monkeypatch: pytest.MonkeyPatch) -> None:
    device = PlayedDevice("10.0.0.1/24")
    with serving(device, monkeypatch) as (made, port):
        peer = Peer(port)
        peer.register(OWN, ONE)
        peer.registered(TWO)
        assert set(made.clients) == {TWO}


@pytest.mark.effect("handler:tun", "p2p")
def test_p2p(monkeypatch: pytest.MonkeyPatch) -> None:
    """All goes to the peer, whatever its address, and all that it says to the device."""
    device = PlayedDevice("10.0.0.1/24")
    with serving(device, monkeypatch, p2p=True) as (made, port):
        peer = Peer(port)
        peer.registered(ONE)
        device.says(udp(OWN, FAR))
        assert peer.sock.recv(2000) == udp(OWN, FAR)
        peer.sock.send(udp(FAR, ONE))
        assert device.hears() == udp(FAR, ONE)
        assert len(made.clients) == 1


def authenticate(user: str, password: str, address: str) -> str | None:
    return user if (user, password) in {("10.0.0.2", "sesame"), ("10.0.0.3", "")} else None


def test_auther_sees_every_address(monkeypatch: pytest.MonkeyPatch) -> None:
    device = PlayedDevice("10.0.0.1/24")
    with serving(device, monkeypatch, authenticate=authenticate) as (made, port):
        peer = Peer(port)
        peer.register(ONE, key=b"wrong")
        peer.register(ONE, FAR, key=b"sesame")
        peer.registered(ONE, key=b"sesame")
        assert made.clients == {ONE: peer.address}
        peer.registered(TWO)


def test_spoofed_packets_are_dropped_with_an_auther(monkeypatch: pytest.MonkeyPatch) -> None:
    device = PlayedDevice("10.0.0.1/24")
    device.routes(("10.9.0.0/16", "10.0.0.2"))
    with serving(device, monkeypatch, authenticate=authenticate) as (_, port):
        peer, stranger = Peer(port), Peer(port)
        peer.registered(ONE, key=b"sesame")
        stranger.sock.send(udp(ONE, OWN, b"spoofed"))
        stranger.sock.send(udp(FAR, OWN, b"spoofed"))
        peer.sock.send(udp(TWO, OWN, b"not its own"))
        peer.sock.send(udp(ONE, OWN, b"1"))
        assert device.hears() == udp(ONE, OWN, b"1")
        peer.sock.send(udp(FAR, OWN, b"2"))  # its network
        assert device.hears() == udp(FAR, OWN, b"2")
        assert device.silent()


def test_spoofed_packets_pass_in_strict_mode(monkeypatch: pytest.MonkeyPatch) -> None:
    device = PlayedDevice("10.0.0.1/24")
    with serving(device, monkeypatch, authenticate=authenticate, strict=True) as (_, port):
        Peer(port).sock.send(udp(ONE, OWN))
        assert device.hears() == udp(ONE, OWN)


def test_admission_is_asked_about_peers(monkeypatch: pytest.MonkeyPatch) -> None:
    device = PlayedDevice("10.0.0.1/24")
    allowed: set[str] = set()
    device.conn.admits = allowed.__contains__
    with serving(device, monkeypatch) as (_, port):
        good, bad = Peer(port), Peer(port)
        allowed.add(good.address)
        bad.register(ONE)
        bad.sock.send(udp(ONE, OWN))
        good.registered(TWO)
        assert device.silent()


def test_table_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "MOST_ADDRESSES", 10)
    device = PlayedDevice("10.0.0.1/24")
    with serving(device, monkeypatch) as (made, port):
        peer = Peer(port)
        for number in range(50):
            peer.registered(bytes([10, 1, 0, number]))
        assert len(made.clients) == 10
        assert bytes([10, 1, 0, 49]) in made.clients


def test_a_flood_of_registrations_takes_little_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    device = PlayedDevice("10.0.0.1/24")
    with serving(device, monkeypatch) as (made, port):
        tracemalloc.start()
        before = tracemalloc.get_traced_memory()[0]
        for number in range(270):
            found = [
                bytes([253, 1]) + bytes(10) + bytes(divmod(number, 250)) + bytes([0, n])
                for n in range(256)
            ]
            made._outward(Registration(b"", tuple(found)).encode(), f"127.0.0.1:{port}")
        taken = tracemalloc.get_traced_memory()[0] - before
        tracemalloc.stop()
        assert len(made.clients) == server.MOST_ADDRESSES
        assert taken < 16 << 20


def test_a_broken_auther_lets_nobody_in(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(user: str, password: str, address: str) -> str | None:
        raise RuntimeError("plugin is gone")

    device = PlayedDevice("10.0.0.1/24")
    with serving(device, monkeypatch, authenticate=broken) as (made, port):
        Peer(port).register(ONE)
        eventually(lambda: any("plugin is gone" in text for _, text in device.log.messages))
        assert not made.clients and made._checks == 0


def test_garbage_from_peers(monkeypatch: pytest.MonkeyPatch) -> None:
    device = PlayedDevice("10.0.0.1/24")
    with serving(device, monkeypatch) as (_, port):
        peer = Peer(port)
        whole = udp(ONE, OWN)
        for cut in range(20):
            peer.sock.send(whole[:cut])
        for junk in (b"GOST", b"GOST" + bytes(17), b"GOST" + bytes(15), b"\x4f" * 30, b"\x60" * 39):
            peer.sock.send(junk)
        peer.sock.send(whole)
        assert device.hears() == whole
        peer.registered(ONE)


# -- client ----------------------------------------------------------------------------------------


@contextlib.contextmanager
def client_of(
    target: socket.socket, device: PlayedDevice, options: HandlerOptions
) -> Iterator[Router]:
    router = Router()
    address = f"127.0.0.1:{target.getsockname()[1]}"
    with device.served(Handler, options, router=router, hop=hop(address)):
        yield router


@pytest.mark.effect("handler:tun", "token")
def test_client_registers_and_carries() -> None:
    device, far = PlayedDevice("10.0.0.2/24", "fd00::2/64"), udp_socket()
    with client_of(far, device, HandlerOptions(token="sesame")) as router:
        first, peer = far.recvfrom(2000)
        assert Registration.read(first) == Registration(b"sesame", (ONE, ONE6))
        device.says(udp(ONE, OWN))
        assert far.recv(2000) == udp(ONE, OWN)
        far.sendto(b"GOST" + bytes(16), peer)  # an acknowledgement is no packet
        far.sendto(b"garbage", peer)
        far.sendto(udp(OWN, ONE), peer)
        assert device.hears() == udp(OWN, ONE)
        assert router.requests[0].network == "udp"


@pytest.mark.effect("handler:tun", "keepalive", "ttl")
def test_keepalive(monkeypatch: pytest.MonkeyPatch) -> None:
    """Registers every ttl; dials anew when nothing is acknowledged three times."""
    monkeypatch.setattr("gostpy.processing.tun.DELAY", 0.01)
    device, far = PlayedDevice("10.0.0.2/24"), udp_socket()
    with client_of(far, device, HandlerOptions(keepalive=True, ttl=0.05)) as router:
        first, peer = far.recvfrom(2000)
        for _ in range(5):
            far.sendto(b"GOST" + bytes(16), peer)
            again, sender = far.recvfrom(2000)
            assert (again, sender) == (first, peer)
        assert len(router.requests) == 1
        eventually(lambda: len(router.requests) == 2)
        eventually(lambda: far.recvfrom(2000)[1] != peer)


def test_no_keepalive(monkeypatch: pytest.MonkeyPatch) -> None:
    scheduled: list[float] = []
    monkeypatch.setattr(client, "KeepAlive", lambda seconds, *_, **__: scheduled.append(seconds))
    device, far = PlayedDevice("10.0.0.2/24"), udp_socket()
    with client_of(far, device, HandlerOptions()):
        far.recv(2000)
        assert not scheduled


def test_dials_again_after_failures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gostpy.processing.tun.DELAY", 0.01)
    device, far = PlayedDevice("10.0.0.2/24"), udp_socket()
    with client_of(far, device, HandlerOptions()) as router:
        router.answer = lambda: WrappedPackets(dial_udp(router.requests[-1].address), ConnInfo())
        far.recv(2000)
        router.conns[0].close()
        far.recv(2000)
        device.says(udp(ONE, OWN))
        assert far.recv(2000) == udp(ONE, OWN)


class Plain(PacketConn):
    """What a router connector gives; works in green threads only."""

    def __init__(self) -> None:
        super().__init__()
        self.sent: list[bytes] = []

    def recv_from(self) -> tuple[bytes, str]:
        import gevent

        gevent.sleep(3600)
        return b"", ""

    def send_to(self, data: bytes, address: str = "") -> None:
        self.sent.append(data)


def test_a_target_without_port_is_asked_for_by_ip() -> None:
    """For the router connector: no registration, bare packets."""
    device, plain, router = PlayedDevice("10.0.0.2/24"), Plain(), Router()
    router.answer = lambda: plain
    with device.served(Handler, HandlerOptions(keepalive=True), router=router, hop=hop("tun")):
        eventually(lambda: device.conn.sink and router.conns)
        device.says(udp(ONE, OWN))
        eventually(lambda: plain.sent)
        assert plain.sent == [udp(ONE, OWN)]
        assert (router.requests[0].network, router.requests[0].address) == ("ip", "tun")


def test_client_without_net() -> None:
    device = PlayedDevice()
    with device.served(Handler, HandlerOptions(), router=Router(), hop=hop("127.0.0.1:1")):
        eventually(lambda: device.log.messages)
    assert "needs net" in device.log.messages[0][1]


def test_no_device() -> None:
    from gostpy.processing.context import HandlerContext
    from tests.channel.fakes import SilentLog

    handler = Handler(HandlerOptions(), HandlerContext("test", SilentLog(), Router()))
    with pytest.raises(ProtocolError):
        handler.handle(Plain())  # type: ignore[arg-type]


# -- whatever comes --------------------------------------------------------------------------------


@given(st.binary(max_size=120), st.booleans())
def test_no_datagram_raises(data: bytes, magic: bool) -> None:
    from gostpy.processing.context import HandlerContext
    from tests.channel.fakes import SilentLog

    device = PlayedDevice("10.0.0.1/24")
    context = HandlerContext("test", SilentLog(), Router())
    made = server.Server(HandlerOptions(), context, device.conn)
    made._outward(b"GOST" + data if magic else data, "127.0.0.1:5")
    client.Client(HandlerOptions(), context, device.conn, "x:1")._outward(data, "")
    device.conn.close()
    device.kernel.close()
