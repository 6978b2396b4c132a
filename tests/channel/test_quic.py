"""quic: what each option does, windows, peers that leave, lossy networks, certificates."""

from __future__ import annotations

import contextlib
import random
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import gevent
import pytest

from gostpy.channel import quic
from gostpy.channel.sessions import SessionPool
from gostpy.errors import ConfigError, ConnectionClosed, GostError, HandshakeFailed
from gostpy.interfaces import Context, TLSSettings
from gostpy.net import lasting
from gostpy.net.conn import format_address
from gostpy.options import parse
from gostpy.stream import quicserver
from gostpy.stream.quiccore import CONNECTION_WINDOW, FIRST_WINDOW
from tests.channel.fakes import SilentLog
from tests.channel.quicends import Ends, over_udp
from tests.engine.running import eventually
from tests.lossy import Lossy
from tests.stream.pki import Authority

pytestmark = pytest.mark.timeout(60)

NOISE = random.Random(7).randbytes(3 << 20)


@pytest.fixture
def make(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    made: list[Ends] = []

    def ends(*arguments: Any, kind: str = "quic", **named: Any) -> Ends:
        module = quic if kind == "quic" else over_udp(monkeypatch)
        made.append(Ends(*arguments, module=module, **named))
        return made[-1]

    yield ends
    for each in made:
        each.close()


def talk(session: Any, data: bytes) -> bytes:
    """What comes back on a new stream."""
    conn = session.open()
    with gevent.Timeout(30):
        sending = gevent.spawn(conn.sendall, data)
        found = conn.read_exact(len(data))
        sending.get()
    conn.close()
    return bytes(found)


both = pytest.mark.parametrize("kind", ["quic", "icmp"])


# -- options ---------------------------------------------------------------------------------------


@pytest.mark.effect("listener:quic", "cipherKey")
@pytest.mark.effect("dialer:quic", "cipherKey")
@pytest.mark.parametrize("size", [16, 24, 32])
def test_cipher_key(make: Any, size: int) -> None:
    """Every datagram is sealed: those who lack the key are not heard."""
    ends = make({"cipherKey": "k" * size})
    assert talk(ends.connect({"cipherKey": "k" * size}), b"hello") == b"hello"
    for other in ({}, {"cipherKey": "x" * size}):
        with pytest.raises(HandshakeFailed, match="timed out"):
            ends.connect({"handshakeTimeout": "200ms", **other})
    assert len(ends.sessions) == 1


def test_cipher_key_of_another_size(make: Any) -> None:
    with pytest.raises(ConfigError, match="16, 24 or 32"):
        make({"cipherKey": "short"})


@both
@pytest.mark.effect("dialer:quic", "handshakeTimeout")
@pytest.mark.effect("dialer:icmp", "handshakeTimeout")
def test_handshake_timeout_of_the_dialer(make: Any, kind: str) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as deaf:
        deaf.bind(("127.0.0.1", 0))
        started = time.monotonic()
        with pytest.raises(HandshakeFailed, match="timed out"):
            make(kind=kind).connect({"handshakeTimeout": "150ms"}, deaf.getsockname())
        assert time.monotonic() - started < 3


@both
@pytest.mark.effect("listener:quic", "handshakeTimeout")
@pytest.mark.effect("listener:icmp", "handshakeTimeout")
def test_handshake_timeout_of_the_listener(make: Any, kind: str) -> None:
    """A client that goes silent in the middle is forgotten."""
    ends = make({"handshakeTimeout": "800ms"}, kind=kind)
    with Lossy(ends.address, keep=True) as relay:
        ends.connect({}, relay.address)
        first = relay.seen[0]
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        known = len(ends.server)
        client.sendto(_with_new_id(first), ends.address)
        eventually(lambda: len(ends.server) == known + 1)
        eventually(lambda: len(ends.server) == known)


def _with_new_id(initial: bytes) -> bytes:
    """A first datagram made by hand: another connection id means other keys, so it is made anew."""
    from gostpy.stream.quiccore import Core
    from gostpy.stream.quictls import QuicTLS

    tls = QuicTLS(None, server=False, alpn=("h3",))
    core = Core(tls.for_name(""), 100, lambda: None, tls.prepare)
    core.connect("127.0.0.1:1", time.monotonic())
    made = core.datagrams_to_send(time.monotonic())[0][0]
    assert len(made) >= 1200
    assert made[0] & 0xF0 == initial[0] & 0xF0
    return bytes(made)


@both
@pytest.mark.parametrize("side", ["listener", "dialer"])
@pytest.mark.effect("listener:quic", "keepAlive", "ttl")
@pytest.mark.effect("dialer:quic", "keepAlive", "ttl")
@pytest.mark.effect("listener:icmp", "keepalive", "ttl")
@pytest.mark.effect("dialer:icmp", "keepalive", "ttl")
def test_keepalive(make: Any, kind: str, side: str) -> None:
    """The side that has it asks a silent peer every ttl."""
    asking, silent = {"keepalive": "true", "ttl": "60ms"}, {"keepalive": "false", "ttl": "60ms"}
    ends = make(asking if side == "listener" else silent, kind=kind)
    with Lossy(ends.address) as relay:
        session = ends.connect(asking if side == "dialer" else silent, relay.address)
        known = relay.passed
        eventually(lambda: relay.passed > known + 8)
        assert session.alive


@both
@pytest.mark.parametrize("side", ["listener", "dialer"])
@pytest.mark.effect("listener:quic", "maxIdleTimeout")
@pytest.mark.effect("dialer:quic", "maxIdleTimeout")
@pytest.mark.effect("listener:icmp", "maxIdleTimeout")
@pytest.mark.effect("dialer:icmp", "maxIdleTimeout")
def test_idle_timeout(make: Any, kind: str, side: str) -> None:
    """The shorter one of both sides counts, for both."""
    short, long = {"maxIdleTimeout": "400ms"}, {"keepalive": "false"}
    ends = make(short if side == "listener" else long, kind=kind)
    session = ends.connect({**long, **(short if side == "dialer" else {})})
    assert talk(session, b"x") == b"x"
    eventually(lambda: not session.alive)
    assert "silent" in str(session.error)
    eventually(lambda: not ends.sessions[0].alive)


def test_idle_timeout_does_not_end_what_is_asked_after(make: Any) -> None:
    ends = make({"maxIdleTimeout": "500ms"})
    with Lossy(ends.address) as relay:
        session = ends.connect({"ttl": "100ms"}, relay.address)
        known = relay.passed
        eventually(lambda: relay.passed > known + 20)
        assert session.alive


@pytest.mark.effect("listener:quic", "maxStreams")
@pytest.mark.effect("dialer:quic", "maxStreams")
def test_max_streams(make: Any) -> None:
    """What each side lets the other open; a stream above waits for another one to end."""
    ends = make({"maxStreams": 2})
    session = ends.connect({"maxStreams": 7})
    assert session.core.room == 2
    assert eventually(lambda: ends.sessions)[0].core.room == 7
    first, second = session.open(), session.open()
    for conn in (first, second):
        conn.sendall(b"a")
        assert conn.read_exact(1) == b"a"
    assert session.busy
    third = session.open()
    third.sendall(b"b")
    first.close()
    with gevent.Timeout(5):
        assert third.read_exact(1) == b"b"


@pytest.mark.effect("listener:quic", "quic.enableDatagram")
@pytest.mark.effect("dialer:quic", "quic.enableDatagram")
@pytest.mark.parametrize("key", ["quic.enableDatagram", "enableDatagram"])
def test_datagrams(make: Any, key: str) -> None:
    """The peer is told that DATAGRAM frames are taken."""
    ends = make({key: "true"})
    session = ends.connect({})
    assert session.core._remote_max_datagram_frame_size
    there = eventually(lambda: ends.sessions)[0]
    assert there.core._remote_max_datagram_frame_size is None
    again = make({}).connect({key: "true"})
    assert again.core._remote_max_datagram_frame_size is None


# -- streams ---------------------------------------------------------------------------------------


@both
def test_big_transfer_and_ends(make: Any, kind: str) -> None:
    session = make(kind=kind).connect()
    assert talk(session, NOISE[: 1 << 20]) == NOISE[: 1 << 20]
    conn = session.open()
    conn.sendall(b"last")
    conn.shut()
    with gevent.Timeout(5):
        assert conn.read_exact(4) == b"last"
        assert conn.recv() == b""
    conn.close()
    eventually(lambda: not session.core._streams)
    assert not session.core._flows
    assert not session.stream_count


def test_unread_stream_stops_its_sender_alone(make: Any) -> None:
    """A stream that nobody reads takes a window of memory, and others go on."""
    waiting = []

    def handle(conn: Any) -> None:
        if conn.read_exact(1) == b"w":
            waiting.append(conn)
            return
        while data := conn.recv():
            conn.sendall(data)

    ends = make(handle=handle)
    session = ends.connect()
    stuck = session.open()
    stuck.sendall(b"w")
    sending = gevent.spawn(stuck.sendall, bytes(16 << 20))
    core = eventually(lambda: ends.sessions)[0].core
    eventually(lambda: core.unread > 400_000)
    for _ in range(3):
        conn = session.open()
        conn.sendall(b"x")
        conn.sendall(NOISE[:300_000])
        with gevent.Timeout(10):
            assert conn.read_exact(300_000) == NOISE[:300_000]
        conn.close()
    assert core.unread <= FIRST_WINDOW
    assert not sending.ready()
    left = 16 << 20
    with gevent.Timeout(30):
        while left:  # and it goes on when somebody reads
            left -= len(waiting[0].recv())
        sending.get()


def test_all_streams_together_have_a_window(make: Any) -> None:
    ends = make(handle=lambda _: None)
    session = ends.connect()
    sending = [gevent.spawn(session.open().sendall, bytes(2 << 20)) for _ in range(40)]
    core = eventually(lambda: ends.sessions)[0].core
    eventually(lambda: core.unread > CONNECTION_WINDOW - (64 << 10))
    gevent.sleep(0.1)
    assert core.unread <= CONNECTION_WINDOW
    gevent.killall(sending)


def test_five_hundred_idle_streams(make: Any) -> None:
    """Above what the peer lets open, more connections are made; a transfer is not slowed down."""
    ends = make()
    pool = SessionPool("n", SilentLog())
    conns = [pool.open(ends.connect) for _ in range(500)]
    for conn in conns:
        conn.sendall(b"i")
    for conn in conns:
        assert conn.read_exact(1) == b"i"
    assert len(ends.sessions) == 5
    conn = pool.open(ends.connect)
    with gevent.Timeout(20):
        sending = gevent.spawn(conn.sendall, NOISE)
        left = len(NOISE)
        while left:
            left -= len(conn.recv())
        sending.get()
    pool.close()


# -- networks --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("loss", "jitter", "copies"), [(0.05, 0.0, 0.0), (0.02, 0.01, 0.05)], ids=["loss", "disorder"]
)
def test_lossy_network(make: Any, loss: float, jitter: float, copies: float) -> None:
    """Everything arrives, in order, through losses, delays, copies and disorder."""
    received = bytearray()

    def handle(conn: Any) -> None:
        while data := conn.recv():
            received.extend(data)
        conn.sendall(b"done")

    ends = make(handle=handle)
    with Lossy(ends.address, loss=loss, delay=0.01, jitter=jitter, copies=copies) as relay:
        conn = ends.connect({}, relay.address).open()
        conn.sendall(NOISE[: 1 << 20])
        conn.shut()
        with gevent.Timeout(40):
            assert conn.read_exact(4) == b"done"
        assert relay.lost > 5
    assert received == NOISE[: 1 << 20]


def test_a_dead_peer_is_noticed(make: Any) -> None:
    """New streams go elsewhere soon; those that are open end with the idle timeout."""
    ends = make()
    with Lossy(ends.address) as relay:
        session = ends.connect({"maxIdleTimeout": "2s"}, relay.address)
        conn = session.open()
        conn.sendall(b"a")
        assert conn.read_exact(1) == b"a"
        relay.dead = True
        conn.sendall(b"b")
        eventually(lambda: session.busy)
        assert session.alive
        with gevent.Timeout(10), pytest.raises(ConnectionClosed):
            conn.read_exact(1)
        assert not session.alive


def test_a_peer_that_is_not_there(make: Any) -> None:
    """The system says so: no need to wait for the handshake's deadline."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as gone:
        gone.bind(("127.0.0.1", 0))
        address = gone.getsockname()
    started = time.monotonic()
    with pytest.raises(GostError):
        make().connect({}, address)
    assert time.monotonic() - started < 4


def test_the_client_moves(make: Any) -> None:
    """Another address of the client (a NAT that forgot it) is still the same connection."""
    ends = make()
    with Lossy(ends.address) as relay:
        session = ends.connect({}, relay.address)
        assert talk(session, b"before") == b"before"
        for sock in relay._behind.values():
            sock.close()
        relay._behind.clear()
        assert talk(session, b"after") == b"after"
    assert len(ends.sessions) == 1


def test_closing_sends_what_was_written(make: Any) -> None:
    received = bytearray()

    def handle(conn: Any) -> None:
        with contextlib.suppress(ConnectionClosed):
            while data := conn.recv():
                received.extend(data)

    ends = make(handle=handle)
    with Lossy(ends.address, delay=0.02) as relay:
        session = ends.connect({}, relay.address)
        conn = session.open()
        conn.sendall(NOISE[:200_000])
        conn.close()
        session.close()
        assert not session.alive
        eventually(lambda: len(received) == 200_000)
        eventually(lambda: not ends.sessions[0].alive)


# -- who is admitted -------------------------------------------------------------------------------


def test_retry(make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """When many handshakes are under way, a client has to return a token first."""
    monkeypatch.setattr(quicserver, "RETRY_ABOVE", 0)
    ends = make()
    with Lossy(ends.address, keep=True) as relay:
        assert talk(ends.connect({}, relay.address), b"hello") == b"hello"
        tokens = [data for data in relay.seen if data[0] & 0xF0 == 0xC0]
    assert len(tokens) >= 2


def test_listener_that_closes(make: Any) -> None:
    """Connections go on; nobody new is let in."""
    ends = make()
    session = ends.connect()
    assert talk(session, b"a") == b"a"
    ends.server.close()
    assert talk(session, b"b") == b"b"
    with pytest.raises(GostError):
        ends.connect({"handshakeTimeout": "200ms"})
    session.close()
    eventually(lambda: ends.server.packets.closed)


# -- certificates ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("pki"))


def settings(authority: Authority, name: str, **more: Any) -> TLSSettings:
    cert, key = authority.issue(name)
    return TLSSettings(cert_file=cert, key_file=key, **more)


@pytest.mark.parametrize(
    ("client", "reason"),
    [
        pytest.param({}, "", id="not verified"),
        pytest.param({"ca": True}, "", id="chain without name"),
        pytest.param({"ca": True, "secure": True, "server_name": "far.test"}, "", id="verified"),
        pytest.param({"ca": True, "secure": True}, "not for '127.0.0.1'", id="another name"),
        pytest.param({"secure": True, "server_name": "far.test"}, "verify", id="unknown authority"),
    ],
)
def test_server_certificate(
    make: Any, authority: Authority, client: dict[str, Any], reason: str
) -> None:
    ends = make(tls=settings(authority, "far.test"))
    given = {"ca_file" if key == "ca" else key: value for key, value in client.items()}
    if "ca_file" in given:
        given["ca_file"] = authority.ca
    tls = TLSSettings(**given)
    if reason:
        with pytest.raises(HandshakeFailed, match=reason):
            ends.connect({}, None, tls)
        return
    session = ends.connect({}, None, tls)
    assert talk(session, b"x") == b"x"
    facts = session.quic.info.tls
    assert facts.peer_subject == "CN=far.test"
    assert facts.alpn == "h3"
    assert ends.conns[0].info.tls.server_name == client.get("server_name", "")


def test_client_certificate(make: Any, authority: Authority, tmp_path: Any) -> None:
    """A listener with caFile takes clients of that authority only, before any stream."""
    ends = make(tls=settings(authority, "far.test", ca_file=authority.ca))
    good = ends.connect({}, None, settings(authority, "near.test"))
    assert talk(good, b"x") == b"x"
    assert ends.conns[0].info.tls.peer_subject == "CN=near.test"
    stranger = settings(Authority(tmp_path, "somebody else"), "near.test")
    for tls in (TLSSettings(), stranger):
        with contextlib.suppress(GostError):  # told during the handshake, or right after it
            session = ends.connect({}, None, tls)
            conn = session.open()
            conn.sendall(b"x")
            with gevent.Timeout(5):
                assert not conn.recv()
    assert len(ends.sessions) == len(ends.conns) == 1


def test_unknown_names_are_rejected(make: Any, authority: Authority) -> None:
    tls = settings(authority, "far.test", reject_unknown_names=True)
    ends = make(tls=tls)
    named = TLSSettings(server_name="far.test")
    assert talk(ends.connect({}, None, named), b"x") == b"x"
    with pytest.raises(HandshakeFailed):
        ends.connect({}, None, TLSSettings(server_name="other.test"))


def test_changed_certificate_is_used(make: Any, authority: Authority) -> None:
    own = settings(authority, "one.test")
    ends = make(tls=own)
    assert ends.connect().quic.info.tls.peer_subject == "CN=one.test"
    cert, key = authority.issue("two.test")
    for source, target in ((cert, own.cert_file), (key, own.key_file)):
        with open(source, "rb") as new, open(target, "wb") as old:
            old.write(new.read())
    ends.carrier._tls._look_at = 0.0
    assert ends.connect().quic.info.tls.peer_subject == "CN=two.test"


# -- sizes -----------------------------------------------------------------------------------------


def test_larger_datagrams_are_tried(make: Any) -> None:
    ends = make()
    with Lossy(ends.address, keep=True) as relay:
        session = ends.connect({}, relay.address)
        assert talk(session, NOISE[:200_000]) == NOISE[:200_000]
        assert max(map(len, relay.seen)) == 1452


def test_path_that_takes_no_larger_datagrams(make: Any) -> None:
    ends = make()
    with Lossy(ends.address, keep=True, most=1300) as relay:
        session = ends.connect({}, relay.address)
        assert talk(session, NOISE[:300_000]) == NOISE[:300_000]
        assert sum(len(data) > 1300 for data in relay.seen) <= 3


def test_port_of_a_listener_that_closed(make: Any) -> None:
    """Whoever listens there next gets it: what is left of the old listener ends."""
    ends = make()
    session = ends.connect()
    assert talk(session, b"before") == b"before"
    ends.server.close()
    assert talk(session, b"still") == b"still"
    options = parse(quic.ListenOptions, {})
    where = format_address(ends.address)
    again = quic.Carrier(options, Context(where, SilentLog(), listening=True)).listen(
        lambda *_: None
    )
    eventually(lambda: not session.alive)
    again.close()


def test_peers_are_told_when_the_process_ends(make: Any) -> None:
    ends = make()
    session = ends.connect()
    assert talk(session, b"a") == b"a"
    ends.server.close()
    lasting.end_everything()
    eventually(lambda: not session.alive)
    assert "closed by the peer" in str(session.error)


@pytest.mark.parametrize("name", ["quic", "icmp"])
def test_missing_library(name: str) -> None:
    program = (
        "import sys; sys.modules['aioquic'] = None\n"
        "from gostpy.channel.stacks import part\n"
        "from gostpy.errors import MissingExtra\n"
        f"try: part({name!r})\n"
        "except MissingExtra as error: print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=50
    )
    assert "gostpy[quic]" in done.stdout
