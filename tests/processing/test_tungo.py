"""The tungo handler on a played device; tests/netns has it with the real thing."""

from __future__ import annotations

import contextlib
import dataclasses
import ipaddress
import socket
import struct
from collections.abc import Iterator
from typing import Any

import gevent
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gostpy.errors import ConfigError, DialFailed
from gostpy.interfaces import Request
from gostpy.net.conn import ConnInfo
from gostpy.net.device import HEADER
from gostpy.net.packet import dial_udp
from gostpy.processing.context import HandlerContext
from gostpy.processing.tungo import Handler, HandlerOptions, handler, translate, udp
from gostpy.processing.tungo.stack import Stack, neighbour_of
from gostpy.processing.tungo.translate import Translator
from gostpy.wire import ip
from tests.channel.fakes import SilentLog
from tests.processing.playeddevice import PlayedDevice, eventually, udp_socket
from tests.processing.scene import pair
from tests.wire.test_fragments import PAYLOAD, fragments
from tests.wire.test_ip import A4, A6, B4, B6, packet, sums_up

N4, N6 = socket.inet_aton("10.0.0.254"), socket.inet_pton(10, "fd00::fe")
FAMILIES = [pytest.param(A4, B4, N4, id="ipv4"), pytest.param(A6, B6, N6, id="ipv6")]


# -- TCP -------------------------------------------------------------------------------------------


def tcp(
    source: bytes, target: bytes, ports: tuple[int, int], flags: int = 2, text: bytes = b""
) -> bytes:
    body = struct.pack(">HHIIBBHHH", *ports, 1000, 0, 0x50, flags, 512, 0, 0) + text
    total = ip.pseudo_sum(source, target, 6, len(body)) + ip.word_sum(body)
    body = body[:16] + struct.pack(">H", ip.checksum(total)) + body[18:]
    return packet(source, target, 6, body)


def framed(data: bytes, head: bytes = bytes(HEADER)) -> memoryview:
    return memoryview(bytearray(head + data))


def parts(frame: memoryview) -> tuple[bytes, bytes, int, int]:
    """Addresses and ports; the checksums are right."""
    data = bytes(frame[HEADER:])
    parsed = ip.parse(data)
    assert parsed is not None
    assert sums_up(data[parsed.start :], parsed.source, parsed.target, 6)
    if parsed.version == 4:
        assert ip.word_sum(data[:20]) == 0
    return parsed.source, parsed.target, *struct.unpack_from(">HH", data, parsed.start)


@pytest.mark.parametrize(("own", "far", "neighbour"), FAMILIES)
def test_there_and_back(own: bytes, far: bytes, neighbour: bytes) -> None:
    made = Translator(own, neighbour, 7777, HEADER)
    frame = framed(tcp(own, far, (40000, 443)))
    assert made.translate(frame)
    assert parts(frame) == (neighbour, own, 40000, 7777)
    answer = framed(tcp(own, neighbour, (7777, 40000), 0x12))
    assert made.translate(answer)
    assert parts(answer) == (far, own, 443, 40000)
    data = framed(tcp(own, far, (40000, 443), 0x18, b"odd"))
    assert made.translate(data)
    assert parts(data) == (neighbour, own, 40000, 7777)


@pytest.mark.parametrize(("own", "far", "neighbour"), FAMILIES)
def test_unfinished_checksums(own: bytes, far: bytes, neighbour: bytes) -> None:
    """What the system leaves to the device is the sum of the pseudo header."""
    made = Translator(own, neighbour, 7777, HEADER)
    wire = bytearray(tcp(own, far, (40000, 443)))
    at = len(wire) - 4
    struct.pack_into(">H", wire, at, ip.pseudo_sum(own, far, 6, 20) % 65535)
    frame = framed(bytes(wire), b"\1" + bytes(HEADER - 1))
    assert made.translate(frame)
    data = bytearray(frame[HEADER:])
    (partial,) = struct.unpack_from(">H", data, at)
    assert partial % 65535 == ip.pseudo_sum(neighbour, own, 6, 20) % 65535


def test_only_a_syn_begins_a_flow() -> None:
    made = Translator(A4, N4, 7777, HEADER)
    for flags in (0x10, 0x12, 0x18, 0x04, 0x11):
        frame = framed(tcp(A4, B4, (40000, 443), flags))
        before = bytes(frame)
        assert not made.translate(frame) and bytes(frame) == before
    assert len(made) == 0
    assert not made.translate(framed(tcp(B4, A4, (40000, 443))))  # to the listener's own address


def test_one_port_for_many_targets() -> None:
    """Clients may use a port for several targets at once; the neighbour's ports differ."""
    made, seen = Translator(A4, N4, 7777, HEADER), set()
    for number in range(200):
        frame = framed(tcp(A4, bytes([10, 1, 0, number]), (40000, 443)))
        assert made.translate(frame)
        seen.add(parts(frame)[2])
    assert len(seen) == len(made) == 200


def test_table_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(translate, "MOST_FLOWS", 10)
    made = Translator(A4, N4, 7777, HEADER)
    for port in range(2000, 2100):
        assert made.translate(framed(tcp(A4, B4, (port, 80))))
    assert len(made) == 10 and len(made._rewrites) == 20
    flows = [made.accepted(("10.0.0.254", port)) for port in range(2090, 2100)]
    assert all(flows)
    assert not made.translate(framed(tcp(A4, B4, (3000, 80))))  # all are in use
    assert flows[3] is not None
    made.ended(flows[3])
    assert made.translate(framed(tcp(A4, B4, (3000, 80))))
    assert len(made) == 10


def test_flows_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(translate, "LINGER", 0.01)
    made = Translator(A4, N4, 7777, HEADER)
    for port in (2001, 2002, 2003):
        made.translate(framed(tcp(A4, B4, (port, 80))))
    flow = made.accepted(("10.0.0.254", 2002))
    ended = made.accepted(("10.0.0.254", 2003))
    assert flow is not None and ended is not None
    made.ended(ended)
    gevent.sleep(0.02)
    made._sweep()
    assert list(made._by_port) == [2002] and len(made._rewrites) == 2
    assert made.accepted(("10.0.0.254", 2002)) is None  # it has its conn
    assert made.accepted(("10.0.0.254", 2001)) is None
    made.ended(flow)
    assert made.accepted(("10.0.0.254", 2002)) is flow  # the client used its port again
    gevent.sleep(0.02)
    made._sweep()
    assert list(made._by_port) == [2002]


def test_a_port_that_is_used_over_and_over_keeps_no_other_flow(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = [1000.0]
    monkeypatch.setattr(translate.timers, "now", lambda: clock[0])
    made = Translator(A4, N4, 7777, HEADER)
    for turn in range(20):
        for port in (2000, 3000 + turn):  # one always the same
            made.translate(framed(tcp(A4, B4, (port, 80))))
            flow = made.accepted(("10.0.0.254", port))
            assert flow is not None
            made.ended(flow)
        clock[0] += translate.LINGER / 2
        made._sweep()
    assert len(made) <= 4
    assert len(made._ending) <= 10


@pytest.mark.parametrize(
    ("nets", "version", "expected"),
    [
        ("10.0.0.1/24", 4, ("10.0.0.1", "10.0.0.254")),
        ("10.0.0.254/24", 4, ("10.0.0.254", "10.0.0.253")),
        ("10.0.0.1/31", 4, ("10.0.0.1", "10.0.0.0")),
        ("10.0.0.1/30,10.0.0.2/30,10.1.0.1/32,10.2.0.9/29", 4, ("10.2.0.9", "10.2.0.14")),
        ("10.0.0.1/32", 4, None),
        ("10.0.0.1/24", 6, None),
        ("10.0.0.1/24,fd00::1/64", 6, ("fd00::1", "fd00::ffff:ffff:ffff:fffe")),
    ],
)
def test_neighbour(nets: str, version: int, expected: tuple[str, str] | None) -> None:
    interfaces = tuple(ipaddress.ip_interface(net) for net in nets.split(","))
    found = neighbour_of(interfaces, version)
    wanted = expected and tuple(ipaddress.ip_address(one).packed for one in expected)
    assert found == wanted


# -- the handler -----------------------------------------------------------------------------------


class Router:
    """Dials UDP for real, TCP from what the test prepared."""

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.answers: dict[str, Any] = {}

    def dial(self, request: Request) -> Any:
        self.requests.append(dataclasses.replace(request))
        if request.address not in self.answers:
            raise DialFailed("nobody there", address=request.address)
        answer = self.answers[request.address]
        return dial_udp(answer) if isinstance(answer, str) else answer


@contextlib.contextmanager
def running(
    options: HandlerOptions | None = None, **context: Any
) -> Iterator[tuple[PlayedDevice, Router, Handler]]:
    device, router = PlayedDevice("127.0.0.1/8"), Router()
    made_options = options or HandlerOptions()
    with device.served(Handler, made_options, router=router, **context) as made:
        eventually(lambda: device.conn.sink)
        yield device, router, made


def udp_of(text: bytes, target: bytes = B4, port: int = 53) -> bytes:
    return packet(A4, target, 17, struct.pack(">HHHH", 4000, port, 8 + len(text), 0) + text)


def test_udp_both_ways() -> None:
    far = udp_socket()
    with running() as (device, router, _):
        router.answers["10.0.0.2:53"] = f"127.0.0.1:{far.getsockname()[1]}"
        for number in range(3):
            device.says(udp_of(b"query %d" % number))
            data, peer = far.recvfrom(2000)
            assert data == b"query %d" % number
            far.sendto(b"answer", peer)
            reply = device.hears()
            parsed = ip.parse(reply)
            assert parsed is not None
            assert (parsed.source, parsed.target) == (B4, A4)
            assert ip.udp_payload(reply, parsed) == (53, 4000, b"answer")
        (request,) = router.requests
        assert (request.network, request.source) == ("udp", "10.0.0.1:4000")


@pytest.mark.effect("handler:tungo", "udpTimeout")
def test_silence_ends_a_udp_flow() -> None:
    far = udp_socket()
    with running(HandlerOptions(udp_timeout=0.05)) as (device, router, _):
        router.answers["10.0.0.2:53"] = f"127.0.0.1:{far.getsockname()[1]}"
        device.says(udp_of(b"one"))
        _, peer = far.recvfrom(2000)
        eventually(lambda: any(">-<" in text for _, text in device.log.messages))
        device.says(udp_of(b"two"))
        assert far.recvfrom(2000)[1] != peer and len(router.requests) == 2


def test_a_datagram_in_fragments() -> None:
    far = udp_socket()
    with running() as (device, router, _):
        router.answers["10.0.0.2:6"] = f"127.0.0.1:{far.getsockname()[1]}"
        for piece in reversed(fragments(A4, B4)):
            device.says(piece)
        assert far.recv(5000) == PAYLOAD[8:]


def test_udp_flows_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(udp, "MOST_FLOWS", 5)
    served = []
    flows = udp.Flows(lambda _: 0.0, served.append)
    for port in range(20):
        for _ in range(100):
            flows.datagram((A4, port, B4, 53), b"x", ConnInfo)
    assert len(flows) == len(served) == 5
    assert all(len(flow._queue) == 64 for flow in served)
    flows.close()
    assert len(flows) == 0


@pytest.mark.effect("handler:tungo", "multicastGroups")
def test_multicast_groups() -> None:
    far, group = udp_socket(), socket.inet_aton("239.1.2.3")
    with running(HandlerOptions(multicast_groups="239.1.2.3, ff02::fb")) as (device, router, _):
        router.answers["239.1.2.3:53"] = f"127.0.0.1:{far.getsockname()[1]}"
        device.says(udp_of(b"other", socket.inet_aton("239.1.2.4")))
        device.says(udp_of(b"all", b"\xff\xff\xff\xff"))
        device.says(udp_of(b"ours", group))
        assert far.recv(2000) == b"ours"
        assert len(router.requests) == 1


@pytest.mark.parametrize(
    ("net", "text"),
    [("10.199.0.1/24", "no TCP over IPv4"), ("127.0.0.1/32", "no TCP: net")],
    ids=["not ours", "alone"],
)
def test_without_tcp(net: str, text: str) -> None:
    """The rest works, and somebody is told."""
    device = PlayedDevice(net)
    with device.served(Handler, HandlerOptions(), router=Router()):
        device.says(packet(A4, B4, 1, b"\x08\0\0\0abcd"))
        assert device.hears()[20] == 0
        assert any(text in said for level, said in device.log.messages if level == "warn")


@pytest.mark.parametrize("text", ["10.0.0.1", "x", "239.0.0.1,fd00::1"])
def test_groups_are_multicast_addresses(text: str) -> None:
    context = HandlerContext("test", SilentLog(), Router())
    with pytest.raises(ConfigError):
        Handler(HandlerOptions(multicast_groups=text), context)


def test_ping_and_reset() -> None:
    with running() as (device, _, _):
        device.says(packet(A4, B4, 1, b"\x08\0\0\0abcd"))
        assert device.hears()[20:] == packet(B4, A4, 1, b"\0\0" + device_sum(b"abcd"))[20:]
        device.says(tcp(A4, B4, (1, 2), 0x10))
        reply = device.hears()
        assert reply[9] == 6 and reply[33] & 0x04


def device_sum(body: bytes) -> bytes:
    return struct.pack(">H", ip.checksum(ip.word_sum(body))) + body


def test_policies_hold_for_udp() -> None:
    refused: list[tuple[str, str]] = []

    def bypassed(network: str, address: str, *_: str) -> str:
        refused.append((network, address))
        return "rule"

    with running(bypassed=bypassed) as (device, router, _):
        device.says(udp_of(b"query"))
        eventually(lambda: refused)
        assert refused == [("udp", "10.0.0.2:53")] and not router.requests
    with running(admit_request=lambda _: False) as (device, router, _):
        device.says(udp_of(b"query"))
        eventually(lambda: any("refused" in text for _, text in device.log.messages))
        assert not router.requests


def test_strangers_at_the_listener() -> None:
    with running() as (device, router, made):
        stack = device.conn.sink
        assert isinstance(stack, Stack)
        port = stack._acceptors[0].address[1]
        with socket.create_connection(("127.0.0.1", port), 10) as sock:
            assert sock.recv(10) == b""
        assert not router.requests and made is not None


# -- TCP in the handler: conns as the stack delivers them ------------------------------------------


@contextlib.contextmanager
def served(
    options: HandlerOptions, destination: tuple[str, int], *answers: str, **context: Any
) -> Iterator[tuple[socket.socket, socket.socket, Router, SilentLog]]:
    """(client, target, router, log) while the handler serves one conn."""
    conn, client = pair()
    conn.info.destination = conn.info.local = destination
    conn.info.peer = ("fd00::9", 1234) if ":" in destination[0] else ("10.0.0.9", 1234)
    upstream, target = pair()
    router, log = Router(), SilentLog()
    router.answers = dict.fromkeys(answers, upstream)
    made = Handler(options, HandlerContext("test", log, router, **context))
    thread = gevent.spawn(made._guarded, made._serve_tcp, conn)
    try:
        yield client, target, router, log
    finally:
        client.close()
        target.close()
        thread.join(10)


def test_tcp_is_dialed_and_relayed() -> None:
    with served(HandlerOptions(), ("10.9.0.1", 80), "10.9.0.1:80") as (client, target, router, _):
        client.sendall(b"ping")
        assert target.recv(10) == b"ping"
        target.sendall(b"pong")
        assert client.recv(10) == b"pong"
        assert router.requests[0].source == "10.0.0.9:1234"


@pytest.mark.effect("handler:tungo", "ipv6")
@pytest.mark.parametrize(
    ("option", "host", "network"),
    [(True, "fd09::1", "tcp6"), (True, "10.9.0.1", "tcp"), (False, "fd09::1", "tcp")],
)
def test_network_of_ipv6_clients(option: bool, host: str, network: str) -> None:
    address = f"[{host}]:80" if ":" in host else f"{host}:80"
    options = HandlerOptions(ipv6=option)
    with served(options, (host, 80), address) as (client, target, router, _):
        client.sendall(b"x")
        assert target.recv(1) == b"x"
        assert router.requests[0].network == network


def test_nobody_there() -> None:
    with served(HandlerOptions(), ("10.9.0.1", 80)) as (client, _, _, log):
        assert client.recv(10) == b""
        assert ("error", "nobody there") in log.messages


def test_a_node_that_is_routed_to_the_device(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each dial makes another one and waits for it."""
    monkeypatch.setattr(handler, "MOST_DIALING", 5)
    depth = []

    class Looping(Router):
        def dial(self, request: Request) -> Any:
            depth.append(request.address)
            conn, peer = pair()
            conn.info.destination = ("10.9.0.1", 80)
            made._guarded(made._serve_tcp, conn)
            assert peer.recv(1) == b""
            raise DialFailed("the node said nothing")

    log = SilentLog()
    made = Handler(HandlerOptions(), HandlerContext("test", log, Looping()))
    conn, peer = pair()
    conn.info.destination = ("10.9.0.1", 80)
    made._guarded(made._serve_tcp, conn)
    assert peer.recv(1) == b""
    assert len(depth) == 5 and not made._dialing
    assert any("is it routed to the device?" in text for _, text in log.messages)


def test_bypass() -> None:
    with served(HandlerOptions(), ("10.9.0.1", 80), "10.9.0.1:80", bypassed=lambda *_: "rule") as (
        client,
        _,
        router,
        _,
    ):
        assert client.recv(10) == b"" and not router.requests


GET = b"GET / HTTP/1.1\r\nHost: example.org\r\n\r\n"
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


@pytest.mark.effect("handler:tungo", "sniffing")
def test_sniffed_host_is_dialed_at_the_clients_port() -> None:
    options = HandlerOptions(sniffing=True)
    with served(options, ("10.9.0.1", 8080), "example.org:8080") as (client, target, _, _):
        client.sendall(GET)
        assert target.recv(1000).startswith(b"GET / HTTP/1.1\r\n")
        target.sendall(ANSWER)
        assert client.recv(1000).endswith(b"ok")


def test_not_sniffed_by_default() -> None:
    with served(HandlerOptions(), ("10.9.0.1", 80), "10.9.0.1:80") as (client, target, _, _):
        client.sendall(GET)
        assert target.recv(1000) == GET


@pytest.mark.effect("handler:tungo", "sniffing.fallback")
@pytest.mark.parametrize("fallback", [True, False])
def test_fallback(fallback: bool) -> None:
    options = HandlerOptions(sniffing=True, sniffing_fallback=fallback)
    with served(options, ("10.9.0.1", 80), "10.9.0.1:80") as (client, target, router, _):
        client.sendall(GET)
        if fallback:
            assert target.recv(1000).startswith(b"GET /")
            assert [one.address for one in router.requests] == ["example.org:80", "10.9.0.1:80"]
        else:
            assert b"503" in client.recv(1000)


@pytest.mark.effect("handler:tungo", "sniffing.timeout")
def test_a_client_that_waits_for_the_server() -> None:
    options = HandlerOptions(sniffing=True, sniffing_timeout=0.05)
    with served(options, ("10.9.0.1", 25), "10.9.0.1:25") as (client, target, _, _):
        target.sendall(b"220 ready")
        assert client.recv(100) == b"220 ready"


@pytest.mark.effect("handler:tungo", "sniffing.responseTimeout")
def test_a_request_that_does_not_end() -> None:
    options = HandlerOptions(sniffing=True, sniffing_response_timeout=0.05)
    with served(options, ("10.9.0.1", 80), "example.org:80") as (client, _, router, _):
        client.sendall(GET[:20])
        assert client.recv(100) == b"" and not router.requests


class Sock:
    def __init__(self) -> None:
        self.set: dict[int, int] = {}

    def setsockopt(self, level: int, option: int, value: int) -> None:
        self.set[option] = value


@pytest.mark.effect(
    "handler:tungo", "tcpSendBufferSize", "tcpReceiveBufferSize", "tcpModerateReceiveBuffer"
)
@pytest.mark.parametrize("moderate", [False, True])
def test_buffers(moderate: bool) -> None:
    options = HandlerOptions(
        tcp_send_buffer_size=70000,
        tcp_receive_buffer_size=80000,
        tcp_moderate_receive_buffer=moderate,
    )
    sock, plain = Sock(), Sock()
    Handler(options, HandlerContext("test", SilentLog(), Router()))._tune(sock)  # type: ignore[arg-type]
    expected = {socket.SO_SNDBUF: 70000} | ({} if moderate else {socket.SO_RCVBUF: 80000})
    assert sock.set == expected
    context = HandlerContext("test", SilentLog(), Router())
    Handler(HandlerOptions(), context)._tune(plain)  # type: ignore[arg-type]
    assert not plain.set


# -- whatever comes --------------------------------------------------------------------------------


@given(st.sampled_from([b"", b"\x45", b"\x60", b"\x46"]), st.binary(max_size=150), st.data())
def test_no_packet_raises(first: bytes, rest: bytes, draw: st.DataObject) -> None:
    device = PlayedDevice("10.0.0.1/24")
    stack = Stack(device.conn, frozenset(), *[lambda _: None] * 4)
    stack.translators = {
        4: Translator(A4, N4, 7777, HEADER),
        6: Translator(A6, N6, 7777, HEADER),
    }
    stack.frame(framed(first + rest))
    bent = bytearray(tcp(A4, B4, (1, 2), draw.draw(st.integers(0, 63))))
    bent[draw.draw(st.integers(0, len(bent) - 1))] = draw.draw(st.integers(0, 255))
    stack.frame(framed(bytes(bent[: draw.draw(st.integers(0, len(bent)))])))
    stack.close()
    device.conn.close()
    device.kernel.close()
