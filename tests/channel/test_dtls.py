"""dtls on both sides: options, certificates, lost and forged datagrams, OpenSSL as the peer."""

from __future__ import annotations

import _socket
import contextlib
import hashlib
import random
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gevent
import pytest

from gostpy.addresses import ip_bytes
from gostpy.channel import dtlspackets
from gostpy.channel.dtls import Layer, Options
from gostpy.channel.dtlspackets import Carrier
from gostpy.channel.dtlspackets import Options as NoOptions
from gostpy.channel.listener import StackListener
from gostpy.errors import ConnectionClosed, GostError, HandshakeFailed, ProtocolError
from gostpy.interfaces import Context, TLSSettings
from gostpy.net import timers
from gostpy.net.conn import Conn, format_address
from gostpy.net.packet import UDPSocket, dial_udp
from gostpy.options import parse
from gostpy.stream import dtls as stream
from gostpy.wire.ip import udp_packet
from tests.channel.fakes import FakeGuards, SilentLog
from tests.contract.pairing import Pair
from tests.engine.conftest import stage
from tests.engine.running import Stage, dial, read_all
from tests.lossy import Lossy
from tests.net.privileges import needs_raw_sockets
from tests.stream.pki import Authority

__all__ = ["stage"]

pytestmark = pytest.mark.timeout(30)

SOME = hashlib.shake_128(b"dtls").digest(300_000)


class Far:
    """A listener that echoes."""

    def __init__(self, tls: TLSSettings | None = None, **metadata: Any) -> None:
        self.log = SilentLog()
        context = Context("127.0.0.1:0", self.log, listening=True, tls=tls)
        layer = Layer(parse(Options, metadata), context)
        self.guards: Any = FakeGuards()
        carrier = Carrier(NoOptions(), context)
        self.listener = StackListener(carrier, [layer], None, self.guards, context)
        self.conns: list[Conn] = []
        self.errors: list[Exception] = []
        self.listener.listen()
        self.listener.start(self._echo)

    def _echo(self, conn: Conn) -> None:
        self.conns.append(conn)
        try:
            while data := conn.recv():
                conn.sendall(data)
        except (GostError, OSError) as error:
            self.errors.append(error)
        conn.close()

    @property
    def address(self) -> tuple[str, int]:
        return self.listener.address[:2]

    @property
    def sessions(self) -> int:
        return len(self.listener._bound)


class Cut(Lossy):
    """Passes so many datagrams to the target, and no more."""

    def __init__(self, target: tuple[str, int], count: int) -> None:
        super().__init__(target, keep=True)
        self._count = count

    def _pass(self, send: Any, data: bytes) -> None:
        if not self.seen or data is not self.seen[-1] or len(self.seen) <= self._count:
            super()._pass(send, data)


@pytest.fixture
def far() -> Iterator[Any]:
    made: list[Far] = []

    def make(tls: TLSSettings | None = None, **metadata: Any) -> Far:
        made.append(Far(tls, **metadata))
        return made[-1]

    yield make
    for each in made:
        for conn in each.conns:
            conn.close(True)
        each.listener.close()


def near(
    address: tuple[str, int], tls: TLSSettings | None = None, seconds: float = 10, **metadata: Any
) -> Conn:
    """A conn to a listener."""
    context = Context(format_address(address), SilentLog(), tls=tls)
    packets = dial_udp(context.address)
    with timers.timeout(seconds):
        try:
            conn = Layer(parse(Options, metadata), context).connect(packets)
        except BaseException:
            packets.close()
            raise
    conn.settimeout(10)
    return conn


def talk(conn: Conn, data: bytes = SOME) -> bytes:
    sending = gevent.spawn(conn.sendall, data)
    found = []
    while sum(map(len, found)) < len(data):
        found.append(conn.recv())
        assert found[-1], "early end"
    sending.get(timeout=5)
    return b"".join(found)


def read_to_end(conn: Conn) -> int:
    total = 0
    while data := conn.recv():
        total += len(data)
    return total


def eventually(condition: Any) -> None:
    with gevent.Timeout(5):
        while not condition():
            gevent.sleep(0.01)


def test_both_ways(far: Any) -> None:
    conn = near(far().address)
    assert talk(conn) == SOME
    conn.close()


def test_close_is_passed_on_and_frees_the_session(far: Any) -> None:
    server = far()
    conn = near(server.address)
    assert talk(conn, b"x") == b"x"
    assert server.sessions == 1
    conn.close()
    eventually(lambda: not server.sessions)
    assert not server.errors


def test_what_was_written_before_a_close_arrives(far: Any) -> None:
    server = far()
    conn = near(server.address)
    assert talk(conn, b"x") == b"x"
    conn.sendall(SOME)
    server.conns[0].close()
    read_to_end(conn)
    conn.close()
    eventually(lambda: not server.sessions)


# -- options ---------------------------------------------------------------------------------------


@pytest.mark.effect("listener:dtls", "dtls.bufferSize")
@pytest.mark.effect("dialer:dtls", "dtls.bufferSize")
def test_buffer_size_is_the_data_of_a_datagram(far: Any) -> None:
    server = far(bufferSize=700)
    with Lossy(server.address, keep=True) as relay:
        conn = near(relay.address, **{"dtls.bufferSize": 300})
        assert talk(conn, SOME[:5000]) == SOME[:5000]
        sizes = {len(each) for each in relay.seen if each[0] == 23}
        assert max(sizes) == 300 + 13 + 24
        server.conns[0].sendall(SOME[:700])
        assert len(conn.recv()) == 700
        conn.close()


@pytest.mark.effect("listener:dtls", "dtls.mtu")
@pytest.mark.effect("dialer:dtls", "dtls.mtu")
def test_mtu_bounds_the_datagrams_of_the_handshake(far: Any, tmp_path: Path) -> None:
    """Certificates go both ways, in pieces."""
    authority = Authority(tmp_path)
    cert, key = authority.issue("node.test")
    tls = TLSSettings(cert_file=cert, key_file=key, ca_file=authority.ca)
    server = far(tls, mtu=300)
    spied = []
    take = stream.DTLSEndpoint.datagram

    def spy(self: Any, data: bytes, address: str) -> None:
        spied.append(len(data))
        take(self, data, address)

    stream.DTLSEndpoint.datagram = spy  # type: ignore[method-assign]
    try:
        conn = near(server.address, tls, **{"dtls.mtu": 280})
    finally:
        stream.DTLSEndpoint.datagram = take  # type: ignore[method-assign]
    assert max(spied) <= 300
    assert len(spied) > 6
    conn.close()


@pytest.mark.effect("dialer:dtls", "dtls.flightInterval")
def test_flight_interval_of_the_dialer() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind(("127.0.0.1", 0))
        silent.settimeout(5)
        dialing = gevent.spawn(near, silent.getsockname(), flightInterval="30ms")
        hellos = [silent.recv(2000) for _ in range(3)]
        dialing.kill()
    assert all(each[0] == 22 for each in hellos)


@pytest.mark.effect("listener:dtls", "dtls.flightInterval")
def test_flight_interval_of_the_listener(far: Any) -> None:
    """The client falls silent after the server's flight, which comes again."""
    server = far(flightInterval="30ms")
    with Cut(server.address, 2) as relay:
        dialing = gevent.spawn(near, relay.address)
        eventually(lambda: relay.passed > 7)
        dialing.kill()


# -- certificates ----------------------------------------------------------------------------------


def test_secure_checks_chain_and_name(far: Any, tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    cert, key = authority.issue("node.test")
    server = far(TLSSettings(cert_file=cert, key_file=key))
    good = TLSSettings(ca_file=authority.ca, secure=True, server_name="node.test")
    conn = near(server.address, good)
    assert talk(conn, b"x") == b"x"
    conn.close()
    for tls in (
        TLSSettings(ca_file=authority.ca, secure=True, server_name="other.test"),
        TLSSettings(ca_file=authority.ca, secure=True),
        TLSSettings(secure=True, server_name="node.test"),
        TLSSettings(ca_file=Authority(tmp_path, "another").ca),
    ):
        with pytest.raises(HandshakeFailed):
            near(server.address, tls)


def test_client_certificates(far: Any, tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    cert, key = authority.issue("client.test")
    server = far(TLSSettings(ca_file=authority.ca))
    conn = near(server.address, TLSSettings(cert_file=cert, key_file=key))
    assert talk(conn, b"x") == b"x"
    conn.close()
    with pytest.raises(HandshakeFailed):
        near(server.address)


# -- the network -----------------------------------------------------------------------------------


def test_handshake_survives_loss(far: Any) -> None:
    server = far(flightInterval="20ms")
    for seed in range(4):
        with Lossy(server.address, loss=0.3, copies=0.2, seed=seed) as relay:
            conn = near(relay.address, flightInterval="20ms")
            relay.loss = 0.0
            assert talk(conn, b"hello") == b"hello"
            conn.close()


def test_path_that_is_slower_than_the_handshake_is_repeated(far: Any) -> None:
    """Both sides' last messages come twice, behind the first data."""
    server = far()
    with Lossy(server.address, delay=0.55) as relay:
        conn = near(relay.address)
        assert talk(conn, SOME[:20_000]) == SOME[:20_000]
        conn.close()
    assert not server.errors


def test_datagrams_that_overtake_each_other_and_copies(
    far: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream, "BURST", 16)
    server = far()
    with Lossy(server.address, copies=0.1) as relay:
        conn = near(relay.address)
        relay.jitter = 0.001
        assert talk(conn) == SOME
        conn.close()


def test_lost_data_ends_the_conn(far: Any) -> None:
    """Never a stream with a hole."""
    server = far()
    with Lossy(server.address) as relay:
        conn = near(relay.address)
        assert talk(conn, b"x") == b"x"
        relay.loss = 0.05
        sending = gevent.spawn(conn.sendall, SOME)
        eventually(lambda: server.errors)
        assert "lost" in str(server.errors[0])
        sending.kill()
        conn.close(True)


def test_client_that_begins_anew_from_its_port(far: Any) -> None:
    server = far()
    with Lossy(server.address) as relay:
        conn = near(relay.address)
        assert talk(conn, b"x") == b"x"
        local = conn.endpoint._packets.sock.getsockname()
        conn.endpoint._packets.close()  # without a word
        second = _from_port(relay.address, local)
        assert talk(second, b"again") == b"again"
        assert server.sessions == 1
        second.close()


def _from_port(address: tuple[str, int], local: tuple[str, int]) -> Conn:
    sock = _socket.socket(_socket.AF_INET, _socket.SOCK_DGRAM | _socket.SOCK_NONBLOCK)
    sock.bind(local)
    sock.connect(address)
    context = Context(format_address(address), SilentLog())
    with timers.timeout(10):
        conn = Layer(Options(), context).connect(UDPSocket(sock, peer=address))
    conn.settimeout(10)
    return conn


def test_refusal_is_told_at_once(far: Any) -> None:
    server = far()
    server.guards.admits = False
    with pytest.raises(HandshakeFailed):
        near(server.address, seconds=3)
    assert not server.sessions


# -- peers that mean no good -----------------------------------------------------------------------


def test_forged_sources_leave_nothing_behind(far: Any) -> None:
    """Hellos without a cookie, from many ports: one small answer each, no session."""
    server = far()
    with Lossy(server.address, keep=True) as relay:
        conn = near(relay.address)
        conn.close()
        eventually(lambda: not server.sessions)
        hello = relay.seen[0]
        cookie = relay.seen[1]
    answers = 0
    for _ in range(200):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.settimeout(5)
            sock.connect(server.address)
            sock.send(hello)
            sock.send(cookie)  # somebody else's
            answers += sum(len(sock.recv(2000)) for _ in range(2))
    assert answers < 200 * (len(hello) + len(cookie))
    eventually(lambda: not server.sessions)
    conn = near(server.address)
    assert talk(conn, b"still") == b"still"
    conn.close()


@needs_raw_sockets
def test_hello_from_port_0_does_not_end_the_listener(far: Any) -> None:
    """Nobody can be answered there."""
    server = far()
    host, port = server.address
    with Lossy(server.address, keep=True) as relay:
        near(relay.address).close()
        hello = relay.seen[0]
    forged = udp_packet(ip_bytes(host) or b"", ip_bytes(host) or b"", (0, port), hello)
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW) as raw:
        raw.sendto(forged[:26] + bytes(2) + forged[28:], (host, 0))  # without a checksum
    conn = near(server.address)
    assert talk(conn, b"still") == b"still"
    conn.close()


def test_garbage_inside_a_conn_is_ignored(far: Any) -> None:
    """Datagrams that another host forged, and copies of old ones, between those of the peer."""
    rng = random.Random(7)
    server = far()
    with Lossy(server.address, keep=True) as relay:
        conn = near(relay.address)
        assert talk(conn, b"x") == b"x"
        behind = next(iter(relay._behind.values()))
        seen = list(relay.seen)
        for number in range(300):
            old = rng.choice(seen)
            forged = bytearray(old)
            forged[rng.randrange(len(old))] ^= 1 << rng.randrange(8)
            behind.send(
                rng.choice((old, bytes(forged), old[: number % len(old)], rng.randbytes(60)))
            )
        big = b"\x17\xfe\xfd\x00\x01" + (1 << 30).to_bytes(6, "big") + b"\xff\xff" + bytes(65000)
        behind.send(big)
        assert talk(conn, b"y" * 5000) == b"y" * 5000
        conn.close()


@pytest.mark.parametrize("kind", [21, 22], ids=["alert", "handshake"])
def test_forged_records_take_no_number(far: Any, kind: int) -> None:
    """Records that are no data, with numbers that are expected next, from another host."""
    server = far()
    with Lossy(server.address) as relay:
        conn = near(relay.address)
        assert talk(conn, b"x") == b"x"
        behind = next(iter(relay._behind.values()))
        for number in range(30):
            head = bytes((kind, 0xFE, 0xFD, 0, 1)) + number.to_bytes(6, "big")
            behind.send(head + b"\0\x30" + bytes(48))
        for _ in range(20):
            assert talk(conn, b"y" * 5000) == b"y" * 5000
        conn.close()
        eventually(lambda: not server.sessions)
    assert not server.errors


def test_end_after_lost_data_is_an_error_without_a_trace(
    far: Any, capfd: pytest.CaptureFixture[str]
) -> None:
    """Data, a datagram that is lost, data, close_notify."""
    server = far()
    with Lossy(server.address) as relay:
        conn = near(relay.address)
        assert talk(conn, b"x") == b"x"
        relay.dead = True
        conn.sendall(b"lost")
        gevent.sleep(0.05)
        relay.dead = False
        conn.sendall(b"late")
        gevent.sleep(0.05)
        conn.close()
        started = timers.now()
        eventually(lambda: server.errors)
        assert timers.now() - started < 1.8
    assert isinstance(server.errors[0], ConnectionClosed)
    assert "Traceback" not in capfd.readouterr().err


def test_silent_clients_are_given_up(far: Any) -> None:
    """A handshake that stops after the cookie."""
    server = far()
    server.listener._timeout = 0.3
    with Cut(server.address, 2) as relay:
        dialing = gevent.spawn(near, relay.address)
        eventually(lambda: server.sessions)
        eventually(lambda: not server.sessions)
        dialing.kill()
    assert [level for level, _ in server.log.messages] == ["warn"]


def test_handshakes_that_are_never_finished_are_bounded(
    far: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dtlspackets, "MOST_SHAKING", 5)
    server = far()
    with contextlib.ExitStack() as stack:
        for _ in range(9):
            relay = stack.enter_context(Cut(server.address, 2))
            dialing = gevent.spawn(near, relay.address)
            eventually(lambda relay=relay: len(relay.seen) >= 2)
            dialing.kill()
        gevent.sleep(0.05)
        assert server.sessions == 5
        conn = near(server.address)  # the oldest ones give way
        assert talk(conn, b"still") == b"still"
        conn.close()


def test_reader_that_is_too_slow(far: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "_MOST_WAITING", 50_000)
    server = far()
    conn = near(server.address)
    assert talk(conn, b"x") == b"x"
    sending = gevent.spawn(server.conns[0].sendall, SOME)
    gevent.spawn(sending.join).join(timeout=5)
    eventually(lambda: conn.endpoint.reason is not None)
    assert isinstance(conn.endpoint.reason, ProtocolError)
    with pytest.raises(ConnectionClosed):
        read_to_end(conn)
    conn.close()


# -- OpenSSL ---------------------------------------------------------------------------------------


@pytest.fixture
def openssl() -> str:
    found = shutil.which("openssl")
    if not found:
        pytest.skip("needs openssl")
    return found


def test_openssl_client(far: Any, openssl: str) -> None:
    server = far()
    host, port = server.address
    command = [openssl, "s_client", "-dtls1_2", "-quiet", "-connect", f"{host}:{port}"]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as client:
        assert client.stdin is not None and client.stdout is not None
        client.stdin.write(b"hello\n")
        client.stdin.flush()
        assert client.stdout.readline() == b"hello\n"
        client.kill()


def test_openssl_server(openssl: str, tmp_path: Path) -> None:
    cert, key = Authority(tmp_path).issue("node.test")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [openssl, "s_server", "-dtls1_2", "-listen", "-quiet"]
    command += ["-accept", f"127.0.0.1:{port}", "-cert", cert, "-key", key]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as server:
        assert server.stdin is not None and server.stdout is not None
        try:
            conn = near(("127.0.0.1", port), flightInterval="50ms")
            conn.sendall(b"hello\n")
            assert server.stdout.readline() == b"hello\n"
            server.stdin.write(b"and back\n")
            server.stdin.flush()
            assert conn.read_until(b"\n") == b"and back"
            conn.close()
        finally:
            server.kill()


def test_proxy_header_travels_inside(stage: Stage) -> None:
    """Where gost's listener looks for it."""
    told = {"service": "metadata: {proxyProtocol: 2}", "node": "proxyProtocol: 2"}
    pair = Pair(stage, "dtls", stage.greeter("in"), **told)
    with dial(pair.port) as sock:
        assert read_all(sock) == b"in"
        local = sock.getsockname()
    (conn,) = pair.seen.conns
    assert conn.info.source == local
