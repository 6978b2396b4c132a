"""ss, both sides: the request, which form is answered in, and peers that do not know the key."""

from __future__ import annotations

import socket
from typing import Any

import gevent
import pytest

from gostpy.errors import ConfigError, Denied, DialFailed, ProtocolError, Unsupported
from gostpy.interfaces import Credentials, Request
from gostpy.net.conn import Conn
from gostpy.net.packet import listen_udp
from gostpy.processing.shadowsocks import Connector, ConnectorOptions, Handler, HandlerOptions
from gostpy.wire.address import encode_address
from gostpy.wire.codec import Codec
from gostpy.wire.shadowsocks import METHODS, SaltFilter, client_stream, secret
from gostpy.wire.shadowsocks.stream2022 import ClientStream
from tests.processing.scene import connector_context, pair, played, receive

pytestmark = pytest.mark.timeout(20)

TARGET = "127.0.0.1:19001"
KEY = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
USER = "YWFhYWFhYWFhYWFhYWFhYQ=="
AES, AES2022 = "aes-128-gcm", "2022-blake3-aes-128-gcm"


def auth(name: str) -> Credentials:
    return Credentials(name, KEY if METHODS[name].edition == "2022" else "pass")


def codec_of(name: str, target: str = TARGET) -> Codec:
    given = auth(name)
    lead = encode_address(target)
    return client_stream(secret(given.username, given.password), lead, SaltFilter())


def answer(codec: Codec, sock: socket.socket, size: int) -> bytes:
    """``size`` bytes of decoded answer, or what came before the end."""
    data = b""
    while len(data) < size and (wire := sock.recv(65536)):
        data += bytes(codec.decode(wire))
    return data


# -- handler ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", METHODS)
def test_exchange(name: str) -> None:
    codec = codec_of(name)
    with played(Handler, HandlerOptions(), auth=auth(name)) as scene:
        scene.client.sendall(codec.encode(b"hello"))
        assert receive(scene.target, 5) == b"hello"
        scene.target.sendall(b"answer")
        assert answer(codec, scene.client, 6) == b"answer"
        assert (scene.request.network, scene.request.address) == ("tcp", TARGET)


@pytest.mark.parametrize("name", [AES, AES2022, "plain"])
def test_server_speaks_first(name: str) -> None:
    codec = codec_of(name)
    with played(Handler, HandlerOptions(), auth=auth(name)) as scene:
        scene.client.sendall(codec.take())
        scene.target.sendall(b"220 hello")
        assert answer(codec, scene.client, 9) == b"220 hello"


def test_half_close() -> None:
    codec = codec_of(AES)
    with played(Handler, HandlerOptions(), auth=auth(AES)) as scene:
        scene.client.sendall(codec.encode(b"question"))
        scene.client.shutdown(socket.SHUT_WR)
        assert receive(scene.target, 100) == b"question"
        scene.target.sendall(b"answer")
        scene.target.close()
        assert answer(codec, scene.client, 100) == b"answer"


def test_byte_by_byte() -> None:
    codec = codec_of(AES2022)
    with played(Handler, HandlerOptions(), auth=auth(AES2022)) as scene:
        for byte in bytes(codec.encode(b"hello")):
            scene.client.sendall(bytes((byte,)))
            gevent.sleep(0)
        assert receive(scene.target, 5) == b"hello"


def test_hash_and_rules() -> None:
    options = HandlerOptions(hash="host")
    with played(Handler, options, auth=auth(AES)) as scene:
        scene.client.sendall(codec_of(AES).encode(b"hello"))
        assert receive(scene.target, 5) == b"hello"
        assert scene.request.hash_source == TARGET
    refuse: dict[str, Any] = {"bypassed": lambda *_: "rule"}
    with played(Handler, options, auth=auth(AES), **refuse) as scene:
        scene.client.sendall(codec_of(AES).encode(b"hello"))
        assert receive(scene.client, 1) == b""
    assert isinstance(scene.error, Denied)
    with played(Handler, options, auth=auth(AES), reach=False) as scene:
        scene.client.sendall(codec_of(AES).encode(b"hello"))
        assert receive(scene.client, 1) == b""
    assert isinstance(scene.error, DialFailed)


FORMS = [
    pytest.param("auto", "with data", True, id="auto, data right behind"),
    pytest.param("auto", "in header", False, id="auto, payload in the header"),
    pytest.param("auto", "alone", False, id="auto, header alone"),
    pytest.param("gost", "alone", True, id="gost, header alone"),
    pytest.param("gost", "in header", False, id="gost, payload in the header"),
    pytest.param("standard", "with data", False, id="standard, data right behind"),
]


@pytest.mark.parametrize(("compat", "request_form", "legacy"), FORMS)
def test_form_of_the_answer(compat: str, request_form: str, legacy: bool) -> None:
    codec = _WithPayload() if request_form == "in header" else codec_of(AES2022)
    with played(Handler, HandlerOptions(compat=compat), auth=auth(AES2022)) as scene:
        scene.client.sendall(codec.take() if request_form == "alone" else codec.encode(b"hello"))
        scene.target.sendall(b"answer")
        wire = receive(scene.client, 32 + 11 + 16 + 16)
        shared = secret(AES2022, KEY)
        size = shared.method.salt_size
        fixed = shared.session(wire[:size]).decrypt(
            bytes(12), wire[size : size + 11 + size + 16], None
        )
        assert int.from_bytes(fixed[-2:], "big") == (0 if legacy else 6)


class _WithPayload(ClientStream):
    """A client as others write it: with payload in the header."""

    def __init__(self) -> None:
        super().__init__(secret(AES2022, KEY), encode_address(TARGET))

    def encode(self, data: Any) -> bytes:
        shared = self._secret
        salt = self._random(shared.method.salt_size)
        self._seal = shared.session(salt)
        variable = self._lead + b"\0\0" + data
        now = int(self._clock()).to_bytes(8, "big")
        fixed = b"\0" + now + len(variable).to_bytes(2, "big")
        return salt + self._sealed(fixed) + self._sealed(variable)


def test_users_have_names() -> None:
    server = Credentials(AES2022, USER)
    options = HandlerOptions(users={"alice": KEY})
    shared = secret(AES2022, f"{USER}:{KEY}")
    codec = client_stream(shared, encode_address(TARGET), SaltFilter())
    with played(Handler, options, auth=server) as scene:
        scene.client.sendall(codec.encode(b"hello"))
        assert receive(scene.target, 5) == b"hello"
        assert scene.request.client_id == "alice"


def test_a_stranger_is_read_and_not_answered() -> None:
    with played(Handler, HandlerOptions(read_timeout=0.2), auth=auth(AES)) as scene:
        scene.client.sendall(b"GET / HTTP/1.1\r\nHost: example.org\r\n\r\n" * 3)
        gevent.sleep(0.05)
        scene.client.sendall(b"more")  # still taken
        assert receive(scene.client, 1) == b""
    assert isinstance(scene.error, ProtocolError)
    assert scene.router.requests == []


def test_strict_mode_closes_at_once() -> None:
    options = HandlerOptions(read_timeout=30.0)
    with played(Handler, options, auth=auth(AES), strict=True) as scene:
        scene.client.sendall(bytes(100))
        assert receive(scene.client, 1) == b""


def test_silent_client() -> None:
    with played(Handler, HandlerOptions(read_timeout=0.05), auth=auth(AES)) as scene:
        assert receive(scene.client, 1) == b""
    assert isinstance(scene.error, TimeoutError)


def test_bad_configuration() -> None:
    for given in (Credentials(), Credentials("rc4-md5", "pw"), Credentials(AES2022, "pw")):
        with pytest.raises(ConfigError), played(Handler, HandlerOptions(), auth=given):
            pass
        with pytest.raises(ConfigError):
            Connector(ConnectorOptions(), connector_context(given.username, given.password))


def test_datagrams_are_refused() -> None:
    packets = listen_udp("127.0.0.1:0")
    with played(Handler, HandlerOptions(), auth=auth(AES)) as scene:
        handler = Handler(HandlerOptions(), _context(scene))
        with pytest.raises(Unsupported):
            handler.handle(packets)
    packets.close()


def _context(scene: Any) -> Any:
    from gostpy.processing.context import HandlerContext

    return HandlerContext("test", scene.log, scene.router, auth=auth(AES))


# -- connector -------------------------------------------------------------------------------------


def connected(name: str, options: ConnectorOptions) -> tuple[Conn, socket.socket]:
    given = auth(name)
    conn, node = pair()
    made = Connector(options, connector_context(given.username, given.password))
    assert made.connect(made.handshake(conn), Request("tcp", TARGET)) is conn
    return conn, node


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("nodelay", [False, True])
def test_both_sides(name: str, nodelay: bool) -> None:
    """Connector and handler in one process: their salts do not get into each other's way."""
    options = ConnectorOptions(nodelay=nodelay)
    conn, node = connected(name, options)
    with played(Handler, HandlerOptions(), auth=auth(name)) as scene:
        if nodelay:
            scene.client.sendall(node.recv(65536))
        conn.sendall(b"hello")
        scene.client.sendall(node.recv(65536))
        assert receive(scene.target, 5) == b"hello"
        scene.target.sendall(b"answer")
        node.sendall(scene.client.recv(65536))
        assert conn.read_exact(6) == b"answer"
    conn.close()
    node.close()


def test_the_request_waits_for_data() -> None:
    conn, node = connected(AES, ConnectorOptions())
    node.setblocking(False)
    with pytest.raises(BlockingIOError):
        node.recv(1)
    conn.flush()
    assert node.recv(100)
    conn.close()
    node.close()


def test_only_tcp() -> None:
    made = Connector(ConnectorOptions(), connector_context(AES, "pass"))
    conn, node = pair()
    with pytest.raises(Unsupported, match="ssu"):
        made.connect(conn, Request("udp", TARGET))
    conn.close()
    node.close()


def test_salt_memory_by_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    wire = bytes(codec_of(AES).encode(b"hello"))
    for size, passes in (("0", True), ("100", False), ("many", False)):
        monkeypatch.setenv("SHADOWSOCKS_SF_CAPACITY", size)
        handler = None
        for attempt in range(2):
            with played(_same(handler), HandlerOptions(read_timeout=0.1), auth=auth(AES)) as scene:
                handler = _same.made
                scene.client.sendall(wire)
                expected = b"hello" if passes or not attempt else b""
                if expected:
                    assert receive(scene.target, 5) == expected
                else:
                    assert receive(scene.client, 1) == b""


def _same(handler: Handler | None) -> Any:
    """A class whose instances are all one handler, with the context of the last."""

    def make(options: HandlerOptions, context: Any) -> Handler:
        made = handler or Handler(options, context)
        made.context = context
        _same.made = made  # type: ignore[attr-defined]
        return made

    return make
