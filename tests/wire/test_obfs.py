"""simple-obfs: the fake handshakes of both forms, in every cut, and what is none of them."""

import contextlib
import itertools
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gostpy.errors import HandshakeFailed, ProtocolError, Truncated
from gostpy.wire import obfs
from gostpy.wire.address import BytesReader
from gostpy.wire.http1 import RequestHead
from gostpy.wire.tlshello import ClientHello

KEY = b"dGhlIHNhbXBsZSBub25jZQ=="
ANSWER = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n"
BIG = random.Random(3).randbytes(100_000)


# -- http ----------------------------------------------------------------------------------------


def test_request_is_that_of_gost():
    assert obfs.http_request("a.test", "/", {"x-b": "1", "host": "no", "Upgrade": "h2c"}, KEY) == (
        b"GET / HTTP/1.1\r\nHost: a.test\r\nUser-Agent: Go-http-client/1.1\r\n"
        b"Connection: Upgrade\r\nSec-Websocket-Key: " + KEY + b"\r\nUpgrade: websocket\r\n"
        b"X-B: 1\r\n\r\n"
    )
    assert b"User-Agent: curl\r\n" in obfs.http_request("a", "/", {"user-agent": "curl"}, KEY)


def test_request_header_that_cannot_be_sent():
    with pytest.raises(HandshakeFailed):
        obfs.http_request("a", "/", {"x": "a\r\nb: c"}, KEY)


def test_answer_is_that_of_gost():
    request = RequestHead.parse(obfs.http_request("a.test", "/", {}, KEY))
    assert obfs.http_wrong(request) == ""
    start, *lines = obfs.http_answer(request, {"server": "nginx"}).decode().split("\r\n")
    assert start == "HTTP/1.1 101 Switching Protocols"
    assert [line.partition(":")[0] for line in lines[:-2]] == [
        "Connection",
        "Date",
        "Sec-Websocket-Accept",
        "Server",
        "Upgrade",
    ]
    assert "Sec-Websocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" in lines


@pytest.mark.parametrize(
    "head",
    [
        b"POST / HTTP/1.1\r\nUpgrade: websocket\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nUpgrade: h2c\r\n\r\n",
    ],
)
def test_request_of_somebody_else(head):
    assert obfs.http_wrong(RequestHead.parse(head))


def test_http_client_in_every_cut():
    wire = ANSWER + b"data"
    for cut in range(len(wire) + 1):
        codec = obfs.HttpClient(b"HEAD")
        assert codec.held
        assert bytes(codec.encode(b"first")) == b"HEADfirst"
        assert bytes(codec.encode(b"next")) == b"next"
        assert bytes(codec.decode(wire[:cut])) + bytes(codec.decode(wire[cut:])) == b"data"


@pytest.mark.parametrize("wire", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\x05\x00\r\n\r\n"])
def test_http_client_is_refused(wire):
    with pytest.raises(ProtocolError):
        obfs.HttpClient(b"").decode(wire)


def test_http_answer_without_end():
    codec = obfs.HttpClient(b"")
    for _ in range(10):
        codec.decode(b"x: y\r\n" * 1000)
    with pytest.raises(ProtocolError):
        codec.decode(b"x: y\r\n" * 1000)


# -- tls -----------------------------------------------------------------------------------------


def both(first: bytes = b"first") -> tuple[obfs.TlsClient, obfs.TlsServer, bytes]:
    """Client, server, and what the server got."""
    client = obfs.TlsClient("node.test:443")
    reader = BytesReader(bytes(client.encode(first)))
    session_id, ticket = obfs.read_hello(reader)
    server = obfs.TlsServer(session_id)
    return client, server, ticket + bytes(server.decode(reader.rest))


@pytest.mark.parametrize("size", [0, 1, 14336, 14337, 70_000, 100_000])
def test_tls_first_data(size):
    client, server, got = both(BIG[:size])
    assert got == BIG[:size]
    assert bytes(client.decode(server.encode(BIG[:size]))) == BIG[:size]
    assert bytes(server.decode(client.encode(BIG))) == BIG
    assert bytes(client.decode(server.encode(BIG))) == BIG


def test_tls_hello_is_that_of_gost():
    wire = bytes(obfs.TlsClient("a.test:1").encode(b"hi"))
    assert wire[:3] == b"\x16\x03\x01"
    hello = ClientHello.parse(wire[9:], 0x0301)
    assert len(hello.session_id) == 32
    assert [kind for kind, _ in hello.extensions] == [0x23, 0, 0x0B, 0x0A, 0x0D, 0x16, 0x17]
    assert hello.extensions[0][1] == b"hi"
    assert b"\x00\x08a.test:1" in hello.extensions[1][1]
    assert (len(hello.cipher_suites), hello.cipher_suites[0]) == (28, 0xC02C)


def test_tls_answer_is_that_of_gost():
    _, server, _ = both()
    wire = bytes(server.encode(b"hi"))
    assert wire[:5] == b"\x16\x03\x01\x00\x5b"
    assert wire[96:102] == b"\x14\x03\x03\x00\x01\x01"
    assert wire[102:] == b"\x16\x03\x03\x00\x02hi"
    assert bytes(server.encode(b"ho")) == b"\x17\x03\x03\x00\x02ho"


@given(st.lists(st.integers(0, 400), max_size=30))
def test_tls_answer_in_any_pieces(cuts):
    client, server, _ = both()
    wire = b"".join(bytes(server.encode(BIG[at : at + 60])) for at in range(0, 300, 60))
    ends = sorted({min(cut, len(wire)) for cut in cuts} | {0, len(wire)})
    got = b"".join(bytes(client.decode(wire[a:b])) for a, b in itertools.pairwise(ends))
    assert got == BIG[:300]


def test_tls_flush_without_data():
    client = obfs.TlsClient("a")
    assert obfs.read_hello(BytesReader(client.take()))[1] == b""
    assert not client.held
    assert client.take() == b""
    assert bytes(client.encode(b"x")) == b"\x17\x03\x03\x00\x01x"


def test_hello_cut_at_every_byte():
    wire = bytes(obfs.TlsClient("a.test").encode(b"first"))
    for cut in range(len(wire)):
        with pytest.raises(Truncated):
            obfs.read_hello(BytesReader(wire[:cut]))


@given(st.binary(max_size=400))
def test_hello_from_anything(data):
    for wire in (data, b"\x16\x03\x01" + len(data).to_bytes(2, "big") + data):
        with contextlib.suppress(ProtocolError):
            obfs.read_hello(BytesReader(wire))


@given(st.integers(0, 300), st.integers(0, 255))
def test_hello_with_a_wrong_byte(at, byte):
    wire = bytearray(obfs.TlsClient("a.test").encode(b"first"))
    wire[at % len(wire)] = byte
    with contextlib.suppress(ProtocolError):
        obfs.read_hello(BytesReader(bytes(wire)))


@pytest.mark.parametrize(
    "record",
    [
        b"\x15\x03\x03\x00\x02\x02\x28",
        b"\x17\x03\x01\x00\x01x",
        b"\x17\x03\x03\x40\x01x",
        b"HTTP/1.1 400 Bad Request",
    ],
    ids=["alert", "version", "too large", "http"],
)
def test_wrong_records(record):
    client, server, _ = both()
    with pytest.raises(ProtocolError):
        server.decode(record)
    with pytest.raises(ProtocolError):
        client.decode(record)


@given(st.binary(max_size=200))
def test_records_from_anything(data):
    client, server, _ = both()
    for codec in (client, server):
        with contextlib.suppress(ProtocolError):
            codec.decode(data)
