"""Every data channel that exists on both sides behaves like a stream and obeys the guards."""

import contextlib
import hashlib
import socket

import gevent
import pytest

from gostpy.channel import listener as channel_listener
from gostpy.channel.stacks import LISTENERS
from tests.contract.pairing import SHAKING, STREAMS, Pair, reset
from tests.engine.running import Stage, dial, eventually, fetch, read_all, read_exact

every = pytest.mark.parametrize("name", STREAMS)
SILENT = ("kcp",)
"""Who is refused is not told."""

MEBIBYTE = hashlib.shake_128(b"gostpy").digest(1 << 20)


def talk(port: int, data: bytes) -> bytes:
    """What comes back from an echo server while ``data`` is sent."""
    with dial(port) as sock:
        sending = gevent.spawn(sock.sendall, data)
        found = read_exact(sock, len(data))
        sending.get(timeout=5)
        return found


@every
def test_echo(stage: Stage, name: str) -> None:
    pair = Pair(stage, name, stage.echo())
    assert talk(pair.port, b"hello") == b"hello"
    assert talk(pair.port, MEBIBYTE) == MEBIBYTE
    assert not pair.logs("error", "warning")


@every
def test_server_speaks_first(stage: Stage, name: str) -> None:
    assert fetch(Pair(stage, name, stage.greeter("hello")).port) == "hello"


@every
def test_half_close(stage: Stage, name: str) -> None:
    """What a target says after the client's end arrives, where the channel can tell that end."""

    def answer(sock: socket.socket) -> None:
        sock.sendall(hashlib.sha256(read_all(sock)).digest() * 1000)

    pair = Pair(stage, name, stage.serve(answer))
    with dial(pair.port) as sock:
        sock.sendall(MEBIBYTE)
        sock.shutdown(socket.SHUT_WR)
        found = read_all(sock)
    (conn,) = pair.seen.conns
    if getattr(conn, "conn", conn).endpoint.can_half:  # an exchange has its conn
        assert found == hashlib.sha256(MEBIBYTE).digest() * 1000


@every
def test_hundred_clients(stage: Stage, name: str) -> None:
    pair = Pair(stage, name, stage.echo())
    words = [f"client {number}".encode() * 50 for number in range(100)]
    talks = [gevent.spawn(talk, pair.port, word) for word in words]
    gevent.joinall(talks, timeout=20)
    assert [each.value for each in talks] == words
    assert not pair.logs("error", "warning")


@every
def test_reset_ends_both_sides(stage: Stage, name: str) -> None:
    ended = []

    def target(sock: socket.socket) -> None:
        sock.sendall(b"ready")
        read_all(sock)
        ended.append(True)

    pair = Pair(stage, name, stage.serve(target))
    sock = dial(pair.port)
    assert read_exact(sock, 5) == b"ready"
    reset(sock)
    eventually(lambda: ended)
    assert fetch_first(pair.port) == b"ready"


def fetch_first(port: int) -> bytes:
    with dial(port) as sock:
        return read_exact(sock, 5)


@every
def test_client_leaves_while_much_is_sent(stage: Stage, name: str) -> None:
    """Nothing is left behind: the target cannot send any more, the service goes on."""
    ended = []

    def flood(sock: socket.socket) -> None:
        try:
            while True:
                sock.sendall(bytes(65536))
        except OSError:
            ended.append(True)

    pair = Pair(stage, name, stage.serve(flood))
    for _ in range(2):
        with dial(pair.port) as sock:
            read_exact(sock, 300_000)
    eventually(lambda: len(ended) == 2)


@every
def test_listener_closes_while_conns_go_on(stage: Stage, name: str) -> None:
    pair = Pair(stage, name, stage.echo())
    with dial(pair.port) as sock:
        sock.sendall(b"a")
        assert read_exact(sock, 1) == b"a"
        pair.far_service.close()
        sock.sendall(b"b")
        assert read_exact(sock, 1) == b"b"


@every
def test_slow_reader_holds_the_sender(stage: Stage, name: str) -> None:
    """A client that does not read stops the target after what buffers take."""
    sent = [0]

    def flood(sock: socket.socket) -> None:
        while sent[0] < 256 << 20:
            sent[0] += sock.send(bytes(65536))

    pair = Pair(stage, name, stage.serve(flood))
    with dial(pair.port) as sock:
        read_exact(sock, 1)
        known = -1
        while known != sent[0]:
            known = sent[0]
            gevent.sleep(0.05)
        assert known < 64 << 20
        read_exact(sock, 8 << 20)
        eventually(lambda: sent[0] > known)


# -- guards --------------------------------------------------------------------------------------


@every
def test_admission(stage: Stage, name: str) -> None:
    if name == "unix":
        pytest.skip("its clients have no address")
    rest = "admissions: [{name: a, matchers: [127.0.0.1]}]"
    pair = Pair(stage, name, stage.greeter("in"), service="admission: a", rest=rest)
    if name in SILENT:
        with dial(pair.port) as sock:
            sock.settimeout(0.3)
            with pytest.raises(TimeoutError):
                sock.recv(1)
    else:
        assert fetch(pair.port) == ""
    assert not pair.seen.conns


@every
def test_connection_limit(stage: Stage, name: str) -> None:
    """``$`` counts carrier connections: a mux carries all streams over the one that is let in."""
    rest = "climiters: [{name: c, limits: ['$ 1']}]"
    pair = Pair(stage, name, stage.echo(), service="climiter: c", rest=rest)
    with dial(pair.port) as sock:
        sock.sendall(b"a")
        assert read_exact(sock, 1) == b"a"
        if channel_listener_mux(pair):
            assert talk(pair.port, b"b") == b"b"
        else:
            assert fetch(pair.port) == ""
    if not channel_listener_mux(pair):
        eventually(lambda: enters(pair.port))


def enters(port: int) -> bool:
    try:
        return talk(port, b"x") == b"x"
    except (EOFError, OSError):
        return False


def channel_listener_mux(pair: Pair) -> bool:
    """One carrier connection is counted, whatever is on it."""
    listener = pair.far_service.listener
    return listener._mux is not None and not listener._counts_streams


@every
def test_traffic_limit(stage: Stage, name: str) -> None:
    import time

    rest = "limiters: [{name: l, limits: ['$ 0 400KB']}]"
    text = MEBIBYTE.hex().encode()[: 600 * 1024]  # a channel may compress
    target = stage.serve(lambda sock: sock.sendall(text))
    pair = Pair(stage, name, target, service="limiter: l", rest=rest)
    started = time.monotonic()
    assert len(fetch(pair.port)) == 600 * 1024
    assert 0.35 < time.monotonic() - started < 2


@every
def test_proxy_header(stage: Stage, name: str) -> None:
    if LISTENERS[name].carrier != "tcp":
        pytest.skip("the header is for TCP")
    pair = Pair(
        stage,
        name,
        stage.greeter("in"),
        service="metadata: {proxyProtocol: 2}",
        node="proxyProtocol: 2",
    )
    with dial(pair.port) as sock:
        assert read_all(sock) == b"in"
        client = sock.getsockname()
    (conn,) = pair.seen.conns
    assert conn.info.source == client


# -- handshakes ----------------------------------------------------------------------------------


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Handshakes may take a fraction of a second."""
    import compat.build.parts

    monkeypatch.setattr(compat.build.parts, "HANDSHAKE_TIMEOUT", 0.5)
    monkeypatch.setattr(channel_listener, "HANDSHAKE_TIMEOUT", 0.5)


def record(stage: Stage, name: str) -> bytes:
    """What a dialer sends first."""
    heard = []

    def listen(sock: socket.socket) -> None:
        heard.append(sock.recv(65536))

    pair = Pair(stage, name, 9, via=stage.serve(listen))
    with dial(pair.port) as sock:
        read_all(sock)
    return heard[0]


@pytest.mark.parametrize("name", SHAKING)
def test_slow_handshake_is_closed(stage: Stage, name: str, impatient: None) -> None:
    """Cut at every few bytes: closed in time, told once each, and others are served meanwhile."""
    hello = record(stage, name)
    pair = Pair(stage, name, stage.echo())
    cuts = range(0, len(hello), max(len(hello) // 25, 1))
    socks = []
    for cut in cuts:
        sock = dial(pair.far.port("far"))
        sock.sendall(hello[:cut])
        socks.append(sock)
    assert talk(pair.port, b"meanwhile") == b"meanwhile"
    with gevent.Timeout(4):
        for sock in socks:
            with sock:
                read_all(sock)
    told = [line for line in pair.far.messages("warning", "error") if line.startswith("handshake")]
    assert len(told) == len(cuts)
    assert talk(pair.port, b"after") == b"after"


@pytest.mark.parametrize("name", SHAKING)
def test_handshake_byte_by_byte(stage: Stage, name: str) -> None:
    """A dialer whose first message arrives in pieces is served."""
    far: list[int] = []

    def trickle(sock: socket.socket) -> None:
        with dial(far[0]) as behind:
            back = gevent.spawn(copy, behind, sock)
            for byte in sock.recv(65536):
                behind.sendall(bytes([byte]))
            copy(sock, behind)
            back.join()

    pair = Pair(stage, name, stage.echo(), via=stage.serve(trickle))
    far.append(pair.far.port("far"))
    assert talk(pair.port, b"hello") == b"hello"


def copy(source: socket.socket, target: socket.socket) -> None:
    while data := source.recv(65536):
        target.sendall(data)
    with contextlib.suppress(OSError):  # reset meanwhile
        target.shutdown(socket.SHUT_WR)
