"""ClientHello and ServerHello."""

import ssl

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gostpy.errors import ProtocolError, Truncated
from gostpy.wire.address import BytesReader
from gostpy.wire.httptarget import EXTENSION, decode_name
from gostpy.wire.sni import Disguise, disguise_request
from gostpy.wire.tlshello import ClientHello, complete, read_client_hello, read_server_hello


def hello_of(name: str | None, alpn: list[str]) -> bytes:
    """What OpenSSL sends first."""
    context = ssl.create_default_context()
    if alpn:
        context.set_alpn_protocols(alpn)
    if name is None:
        context.check_hostname = False
    outgoing = ssl.MemoryBIO()
    tls = context.wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname=name)
    with pytest.raises(ssl.SSLWantReadError):
        tls.do_handshake()
    return outgoing.read()


HELLOS = [
    pytest.param("example.com", ["h2", "http/1.1"], id="name and protocols"),
    pytest.param("a.b.example.com", [], id="name"),
    pytest.param(None, ["h2"], id="no name"),
]


@pytest.mark.parametrize(("name", "alpn"), HELLOS)
def test_real_hellos(name: str | None, alpn: list[str]) -> None:
    wire = hello_of(name, alpn)
    reader = BytesReader(wire + b"more")
    hello, raw = read_client_hello(reader)
    assert raw == wire
    assert reader.rest == b"more"
    assert hello.server_name == (name or "")
    assert list(hello.alpn) == alpn
    assert hello.encode() == wire
    assert complete(wire)
    for cut in range(len(wire)):
        assert not complete(wire[:cut])
        with pytest.raises(Truncated):
            read_client_hello(BytesReader(wire[:cut]))


def test_hello_over_several_records() -> None:
    wire = hello_of("example.com", ["h2"])
    message, pieces = wire[5:], b""
    for start in range(0, len(message), 50):
        piece = message[start : start + 50]
        pieces += wire[:3] + len(piece).to_bytes(2, "big") + piece
    hello, raw = read_client_hello(BytesReader(pieces))
    assert raw == pieces
    assert hello.server_name == "example.com"
    assert hello.encode() == wire


def test_disguised() -> None:
    hello, _ = read_client_hello(BytesReader(hello_of("real.example", ["h2"])))
    shown, _ = read_client_hello(BytesReader(hello.disguised("decoy.example").encode()))
    assert shown.server_name == "decoy.example"
    assert shown.extensions is not None
    kind, data = shown.extensions[-1]
    assert kind == EXTENSION
    assert decode_name(data.decode()) == "real.example"
    nameless, _ = read_client_hello(BytesReader(hello_of(None, [])))
    assert nameless.disguised("decoy.example") is nameless


BAD = [
    pytest.param(b"\x17\x03\x01\x00\x01a", id="other record"),
    pytest.param(b"\x16\x02\x01\x00\x01a", id="SSL 2"),
    pytest.param(b"\x16\x03\x01\x00\x00", id="empty record"),
    pytest.param(b"\x16\x03\x01\x50\x00" + bytes(0x5000), id="large record"),
    pytest.param(b"\x16\x03\x01\x00\x04\x02\x00\x00\x00", id="not a client's"),
    pytest.param(b"\x16\x03\x01\x00\x04\x01\xff\xff\xff", id="large hello"),
    pytest.param(b"\x16\x03\x01\x00\x05\x01\x00\x00\x01a", id="short hello"),
]


@pytest.mark.parametrize("wire", BAD)
def test_bad_hellos(wire: bytes) -> None:
    with pytest.raises(ProtocolError):
        read_client_hello(BytesReader(wire))


def server_hello(version: int, extensions: bytes) -> bytes:
    body = version.to_bytes(2, "big") + bytes(32) + b"\x00" + b"\x13\x01" + b"\x00"
    if extensions:
        body += len(extensions).to_bytes(2, "big") + extensions
    message = b"\x02" + len(body).to_bytes(3, "big") + body
    return b"\x16\x03\x03" + len(message).to_bytes(2, "big") + message


SERVERS = [
    pytest.param(0x0303, b"", (0x0303, ""), id="TLS 1.2"),
    pytest.param(0x0303, b"\x00\x2b\x00\x02\x03\x04", (0x0304, ""), id="TLS 1.3"),
    pytest.param(0x0303, b"\x00\x10\x00\x05\x00\x03\x02h2", (0x0303, "h2"), id="protocol"),
]


@pytest.mark.parametrize(("version", "extensions", "expected"), SERVERS)
def test_server_hellos(version: int, extensions: bytes, expected: tuple[int, str]) -> None:
    wire = server_hello(version, extensions)
    hello, raw = read_server_hello(BytesReader(wire))
    assert raw == wire
    assert (hello.version, hello.alpn) == expected
    assert (hello.cipher_suite, hello.compression) == (0x1301, 0)
    for cut in range(len(wire)):
        with pytest.raises(Truncated):
            read_server_hello(BytesReader(wire[:cut]))


@given(
    st.binary(max_size=200), st.sampled_from([b"", b"\x16\x03\x01\x00\x40\x01\x00\x00\x3c\x03\x03"])
)
def test_any_bytes(data: bytes, lead: bytes) -> None:
    for read in (read_client_hello, read_server_hello):
        try:
            read(BytesReader(lead + data))
        except ProtocolError:
            continue


@given(st.binary(max_size=120))
def test_any_body(data: bytes) -> None:
    lead = b"\x03\x03" + bytes(32) + b"\x00\x00\x02\x13\x01\x01\x00"
    try:
        hello = ClientHello.parse(lead + data, 0x0301)
        hello.disguised("decoy.example").encode()
        assert hello.alpn is not None
    except ProtocolError:
        return


HEAD = b"GET /x HTTP/1.1\r\nAccept: */*\r\nhost: real.example\r\nX: host\r\n\r\n"


def test_disguised_request() -> None:
    shown = disguise_request(HEAD, "decoy.example")
    assert shown == HEAD.replace(
        b"host: real.example",
        b"Host: decoy.example\r\nGost-Target: CSnKBWNtVmhiQzVsZUdGdGNHeGw",
    )
    assert disguise_request(b"GET / HTTP/1.1\r\n\r\n", "d") == b"GET / HTTP/1.1\r\n\r\n"


STREAMS = [
    pytest.param(HEAD + b"body", disguise_request(HEAD, "decoy.example") + b"body", id="http"),
    pytest.param(b"SSH-2.0-x\r\n", b"SSH-2.0-x\r\n", id="ssh"),
    pytest.param(b"EHLO me\r\n", b"EHLO me\r\n", id="mail"),
]


@pytest.mark.parametrize(("stream", "expected"), STREAMS)
def test_disguise_however_it_is_written(stream: bytes, expected: bytes) -> None:
    for cut in range(len(stream)):
        codec = Disguise("decoy.example")
        written = bytes(codec.encode(stream[:cut])) + bytes(codec.encode(stream[cut:]))
        assert written == expected
        assert codec.take() == b""


def test_disguise_of_a_hello_in_pieces() -> None:
    wire = hello_of("real.example", [])
    expected = read_client_hello(BytesReader(wire))[0].disguised("decoy.example").encode()
    for cut in range(len(wire)):
        codec = Disguise("decoy.example")
        assert bytes(codec.encode(wire[:cut])) + bytes(codec.encode(wire[cut:] + b"x")) == (
            expected + b"x"
        )


def test_disguise_gives_up_what_never_became_whole() -> None:
    codec = Disguise("decoy.example")
    assert codec.encode(b"GET / HT") == b""
    assert codec.take() == b"GET / HT"
