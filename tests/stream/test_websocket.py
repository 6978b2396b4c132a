"""Opening handshakes of WebSocket, byte for byte as gost's, and tunnels with independent peers."""

import _socket
import socket

import gevent
import pytest
from gevent.pywsgi import WSGIServer
from hypothesis import given
from hypothesis import strategies as st

from gostpy.errors import ConnectionClosed, GostError, HandshakeFailed, ProtocolError
from gostpy.net.conn import Conn
from gostpy.net.dial import dial_tcp
from gostpy.net.endpoint import SocketEndpoint
from gostpy.stream.websocket import accept_key, accept_websocket, connect_websocket, request_target
from gostpy.wire.websocket import WebSocket, apply_mask
from tests.net.pairs import socket_pair

KEY = "dGhlIHNhbXBsZSBub25jZQ=="  # of RFC 6455 section 1.3
ACCEPT = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="

# as gost 3.2.6 sends it, but for the key
REQUEST = (
    "GET /z%281%29%21%20~ HTTP/1.1\r\n"
    "Host: 127.0.0.1:8080\r\n"
    "User-Agent: Go-http-client/1.1\r\n"
    "Connection: Upgrade\r\n"
    "Sec-WebSocket-Extensions: permessage-deflate;"
    " server_no_context_takeover; client_no_context_takeover\r\n"
    "Sec-WebSocket-Key: KEY\r\n"
    "Sec-WebSocket-Version: 13\r\n"
    "Upgrade: websocket\r\n"
    "X-One: 1\r\n"
    "\r\n"
)
UPGRADE = (
    "GET /ws HTTP/1.1\r\nHost: host.test:80\r\nConnection: keep-alive, Upgrade\r\n"
    f"Upgrade: WebSocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\n\r\n"
)
SWITCHED = (
    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    f"Sec-WebSocket-Accept: {ACCEPT}\r\n"
)


def refused(upgrade, **options):
    """(answer, error) of a server to a request that it does not take."""
    left, right = socket_pair()
    left.sendall(upgrade.encode("latin-1"))
    left.shut()
    with pytest.raises(GostError) as caught:
        accept_websocket(right, **options)
    right.close()
    answer = b"".join(iter(left.recv, b""))
    left.close()
    return answer.decode(), caught.value


def test_accept_key():
    assert accept_key(KEY.encode()) == ACCEPT


PATHS = [("/ws", "/ws"), ("ws", "/ws"), ("", "/"), ("/a b?c%", "/a%20b%3Fc%25"), ("/é", "/%C3%A9")]


@pytest.mark.parametrize(("path", "target"), PATHS)
def test_request_target(path, target):
    assert request_target(path) == target


def test_request_is_gosts():
    left, right = socket_pair()
    connecting = gevent.spawn(
        connect_websocket, left, "127.0.0.1:8080", "/z(1)! ~", {"x-one": "1"}, compress=True
    )
    request = right.read_until(b"\r\n\r\n").decode() + "\r\n\r\n"
    key = request.partition("Sec-WebSocket-Key: ")[2].partition("\r\n")[0]
    assert len(key) == 24
    assert request.replace(key, "KEY") == REQUEST
    right.sendall(SWITCHED.replace(ACCEPT, accept_key(key.encode())).encode() + b"\r\n\x82\x02hi")
    assert isinstance(connecting.get(timeout=5), WebSocket)
    assert left.recv() == b"hi"  # nothing after the head is lost
    left.close()
    right.close()


def test_host_and_user_agent_can_be_replaced():
    left, right = socket_pair()
    headers = {"host": "front.test", "user-agent": "mine", "Cookie": "a=1"}
    connecting = gevent.spawn(connect_websocket, left, "x:1", "/ws", headers)
    request = right.read_until(b"\r\n\r\n")
    assert request.startswith(b"GET /ws HTTP/1.1\r\nHost: front.test\r\nUser-Agent: mine\r\n")
    assert b"\r\nCookie: a=1\r\n" in request
    right.close()
    with pytest.raises(HandshakeFailed, match="closed"):
        connecting.get(timeout=5)
    left.close()


@pytest.mark.parametrize(
    "headers",
    [{"Upgrade": "x"}, {"sec-websocket-key": "x"}, {"A": "b\r\nC: d"}, {"A B": "c"}],
    ids=["ours", "key", "line break", "bad name"],
)
def test_headers_that_cannot_be_set(headers):
    left, right = socket_pair()
    with pytest.raises(HandshakeFailed, match="header"):
        connect_websocket(left, "x:1", "/ws", headers)
    left.close()
    right.close()


ANSWERS = [
    pytest.param("HTTP/1.1 404 Not Found\r\n\r\n", "404 Not Found", id="refused"),
    pytest.param("HTTP/1.1 101 X\r\nUpgrade: websocket\r\n\r\n", "did not upgrade", id="half"),
    pytest.param(SWITCHED + "\r\n", "Accept is wrong", id="wrong accept"),
    pytest.param("SSH-2.0-Go\r\n\r\n", "HTTP", id="not http"),
    pytest.param("HTTP/1.1 101", "ended", id="cut"),
    pytest.param("X" * 70000, "longer", id="endless"),
]


@pytest.mark.parametrize(("answer", "message"), ANSWERS)
def test_answers_that_fail(answer, message):
    left, right = socket_pair()
    connecting = gevent.spawn(connect_websocket, left, "x:1")
    right.read_until(b"\r\n\r\n")
    sending = gevent.spawn(right.sendall, answer.encode())
    gevent.idle()
    right.shut()
    with pytest.raises(ProtocolError, match=message):
        connecting.get(timeout=5)
    sending.kill()
    left.close(True)
    right.close(True)


def test_an_extension_that_was_not_offered():
    left, right = socket_pair()
    connecting = gevent.spawn(connect_websocket, left, "x:1")
    request = right.read_until(b"\r\n\r\n").decode()
    key = request.partition("Sec-WebSocket-Key: ")[2].partition("\r\n")[0]
    answer = SWITCHED.replace(ACCEPT, accept_key(key.encode()))
    right.sendall(f"{answer}Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n".encode())
    with pytest.raises(HandshakeFailed, match="not offered"):
        connecting.get(timeout=5)
    left.close()
    right.close()


def accepted(upgrade, **options):
    left, right = socket_pair()
    left.sendall(upgrade.encode("latin-1"))
    codec = accept_websocket(right, **options)
    answer = left.read_until(b"\r\n\r\n").decode() + "\r\n"
    return left, right, codec, answer


def test_answer_is_gosts():
    left, right, codec, answer = accepted(UPGRADE)
    assert answer == SWITCHED
    assert right.info.host == "host.test:80"
    assert right.info.source is None
    assert right.codecs == (codec,)
    left.close()
    right.close()


def test_answer_with_headers_and_compression():
    upgrade = UPGRADE.replace(
        "Upgrade: W", "Sec-WebSocket-Extensions: permessage-deflate\r\nUpgrade: W"
    )
    left, right, _, answer = accepted(upgrade, headers={"x-a": "b\rc"}, compress=True)
    assert answer == SWITCHED + (
        "Sec-WebSocket-Extensions: permessage-deflate;"
        " server_no_context_takeover; client_no_context_takeover\r\nX-A: b c\r\n"
    )
    right.sendall(b"compressed")
    assert left.recv()[0] == 0xC2
    left.close()
    right.close()


def test_frames_with_the_request_are_kept():
    frame = "\x82\x82\x01\x01\x01\x01" + "".join(chr(ord(c) ^ 1) for c in "hi")
    left, right, _, _ = accepted(UPGRADE + frame)
    assert right.recv() == b"hi"
    left.close()
    right.close()


SOURCES = [
    pytest.param("X-Forwarded-For: 192.0.2.1, 10.0.0.1", ("192.0.2.1", 0), id="first forwarded"),
    pytest.param("X-Real-Ip: 2001:db8::1", ("2001:db8::1", 0), id="real ip"),
    pytest.param(
        "X-Real-Ip: 192.0.2.3\r\nCF-Connecting-IP: 192.0.2.2\r\nX-Forwarded-For: 192.0.2.1",
        ("192.0.2.2", 0),
        id="cloudflare first",
    ),
    pytest.param("X-Forwarded-For: unknown", None, id="not an address"),
]


@pytest.mark.parametrize(("header", "source"), SOURCES)
def test_source_told_by_a_proxy(header, source):
    left, right, _, _ = accepted(UPGRADE.replace("\r\n\r\n", f"\r\n{header}\r\n\r\n"))
    assert right.info.source == source
    left.close()
    right.close()


REFUSED = [
    pytest.param(UPGRADE.replace("/ws", "/other"), 404, "404 page not found\n", id="path"),
    pytest.param("GET /ws HTTP/1.1\r\nHost: h\r\n\r\n", 400, "Bad Request\n", id="no upgrade"),
    pytest.param(UPGRADE.replace("WebSocket\r", "h2c\r"), 400, "Bad Request\n", id="other upgrade"),
    pytest.param(UPGRADE.replace("GET", "POST"), 405, "Method Not Allowed\n", id="method"),
    pytest.param(UPGRADE.replace(": 13", ": 8"), 400, "Bad Request\n", id="version"),
    pytest.param(UPGRADE.replace(KEY, "short"), 400, "Bad Request\n", id="key"),
    pytest.param("nonsense\r\n\r\n", 400, "", id="not http"),
]


@pytest.mark.parametrize(("upgrade", "status", "body"), REFUSED)
def test_refused(upgrade, status, body):
    answer, error = refused(upgrade)
    head, _, text = answer.partition("\r\n\r\n")
    assert head.startswith(f"HTTP/1.1 {status} ")
    assert "\r\nConnection: close" in head
    assert text == body
    assert isinstance(error, ProtocolError)


SERVED = [
    ("/ws", "/ws?ed=2048", True),
    ("/ws", "/w%73", True),
    ("ws", "/ws", True),
    ("/", "/anything", True),
    ("/a/", "/a/b", True),
    ("/a/", "/b", False),
    ("/ws", "/ws/", False),
    ("/ws", "http://host.test/ws", True),
]


@pytest.mark.parametrize(("path", "asked", "served"), SERVED)
def test_paths(path, asked, served):
    upgrade = UPGRADE.replace("/ws", asked, 1)
    if served:
        left, right, _, _ = accepted(upgrade, path=path)
        left.close()
        right.close()
    else:
        assert refused(upgrade, path=path)[0].startswith("HTTP/1.1 404")


def test_an_endless_head_is_bounded():
    left, right = socket_pair()
    sending = gevent.spawn(left.sendall, b"GET /ws HTTP/1.1\r\n" + b"X: y\r\n" * 20000)
    with pytest.raises(ProtocolError, match="longer"):
        accept_websocket(right)
    sending.kill()
    left.close(True)
    right.close(True)


@given(st.one_of(st.binary(max_size=200), st.just(UPGRADE.encode())), st.integers(0, 220))
def test_any_request(data, cut):
    left, right = socket_pair()
    left.sendall(data[:cut])
    left.shut()
    try:
        accept_websocket(right)
        assert data[:cut] == UPGRADE.encode()
    except GostError:
        pass
    finally:
        left.close(True)
        right.close(True)


def test_wrong_frames_are_answered_with_a_close_frame():
    left, right, _, _ = accepted(UPGRADE)
    left.sendall(b"\x83\x80\0\0\0\0")
    with pytest.raises(ProtocolError, match="opcode"):
        right.recv()
    right.close()
    assert left.recv() == b"\x88\x02\x03\xea"
    left.close()


# -- independent peers -----------------------------------------------------------------------------


@pytest.fixture
def echo_server():
    """A server of gevent-websocket that sends every message back; its port."""
    handler = pytest.importorskip("geventwebsocket.handler", reason="needs gevent-websocket")

    def application(environ, start_response):
        peer = environ["wsgi.websocket"]
        while (message := peer.receive()) is not None:
            peer.send(message, binary=True)
        return []

    server = WSGIServer(
        ("127.0.0.1", 0),
        application,
        handler_class=handler.WebSocketHandler,
        log=None,
        error_log=None,
    )
    server.start()
    yield server.server_port
    server.stop(timeout=1)


def test_gevent_websocket_serves_us(echo_server):
    address = f"127.0.0.1:{echo_server}"
    conn = dial_tcp(address)
    codec = connect_websocket(conn, address)
    for size in (1, 125, 126, 65535, 65536):
        data = bytes(index % 251 for index in range(size))
        conn.sendall(data)
        assert conn.read_exact(size) == data
    codec.ping(b"?")
    conn.flush()
    codec.close()
    conn.flush()
    assert conn.recv() == b""
    assert codec.ended
    assert codec.close_code in (1000, 1005)
    assert codec.pongs == 1
    conn.close()


class Client:
    """gevent-websocket's framing as a client, over a plain socket."""

    handler = None

    def __init__(self, sock, framing):
        self.sock = sock
        self.header = framing.Header
        self.file = sock.makefile("rb")
        self.frames = framing.WebSocket({}, self, None)

    def read(self, size):
        return self.file.read(size)

    def write(self, data):
        self.sock.sendall(data)

    def send(self, opcode, payload, fin=True):
        mask = b"\x11\x22\x33\x44"
        head = self.header.encode_header(fin, opcode, mask, len(payload), 0)
        self.write(bytes(head) + apply_mask(payload, mask))


def test_gevent_websocket_talks_to_us():
    framing = pytest.importorskip("geventwebsocket.websocket", reason="needs gevent-websocket")
    listener = socket.create_server(("127.0.0.1", 0))
    raw = socket.create_connection(listener.getsockname())
    served, _ = listener.accept()
    listener.close()
    inner = _socket.socket(socket.AF_INET, socket.SOCK_STREAM, 0, served.detach())
    inner.setblocking(False)
    conn = Conn(SocketEndpoint(inner))
    raw.sendall(UPGRADE.encode())
    accept_websocket(conn)
    client = Client(raw, framing)
    while client.file.readline() not in (b"\r\n", b""):
        pass
    client.send(2, b"frag", fin=False)
    client.send(9, b"ping")
    client.send(0, b"ments")
    client.send(1, "täxt".encode())
    assert conn.read_exact(14) == b"fragments" + "täxt".encode()
    header, payload = client.frames.read_frame()
    assert (header.opcode, bytes(payload)) == (10, b"ping")
    conn.sendall(b"y" * 70000)
    header, payload = client.frames.read_frame()
    assert (header.opcode, len(payload)) == (2, 70000)
    client.send(8, b"\x03\xe8")
    assert conn.recv() == b""
    header, payload = client.frames.read_frame()
    assert (header.opcode, bytes(payload)) == (8, b"\x03\xe8")
    conn.close()
    client.file.close()
    raw.close()


def test_a_peer_that_pings_and_never_reads_is_dropped(monkeypatch):
    monkeypatch.setattr("gostpy.net.conn.MOST_UNSENT", 50_000)
    left, right, _, _ = accepted(UPGRADE)
    flood = gevent.spawn(left.sendall, (b"\x89\xfd\0\0\0\0" + b"x" * 125) * 20000)
    with pytest.raises(ConnectionClosed, match="does not read"):
        right.recv()
    assert right.endpoint.unsent < 200_000
    flood.kill()
    left.close(True)
    right.close(True)
