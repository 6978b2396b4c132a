"""HTTP/1 heads and bodies."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gostpy.errors import ProtocolError
from gostpy.wire.chunked import ChunkedBody
from gostpy.wire.http1 import (
    CHUNKED,
    UNTIL_CLOSE,
    RequestHead,
    ResponseHead,
    head_end,
    is_field,
    response,
    with_port,
)

REQUESTS = [
    pytest.param(
        b"CONNECT example.com:443 HTTP/1.1\r\nHost: other\r\n\r\n",
        ("CONNECT", "", "example.com:443", "", 1),
        id="connect: the request line names the target",
    ),
    pytest.param(
        b"CONNECT [::1]:443 HTTP/1.0\r\n\r\n", ("CONNECT", "", "[::1]:443", "", 0), id="connect-v6"
    ),
    pytest.param(b"CONNECT  HTTP/1.1\r\n\r\n", ("CONNECT", "", "", "", 1), id="connect-nothing"),
    pytest.param(
        b"CONNECT u:p@h:1/x HTTP/1.1\r\n\r\n", ("CONNECT", "", "h:1", "", 1), id="connect-extras"
    ),
    pytest.param(
        b"GET http://h:8080/a?b HTTP/1.1\r\nHost: other\r\n\r\n",
        ("GET", "http", "h:8080", "/a?b", 1),
        id="absolute: the URL names the host",
    ),
    pytest.param(
        b"GET HTTP://u:p@h HTTP/1.1\r\n\r\n", ("GET", "http", "h", "/", 1), id="absolute-no-path"
    ),
    pytest.param(
        b"GET http://h?q HTTP/1.1\r\n\r\n", ("GET", "http", "h", "/?q", 1), id="absolute-query"
    ),
    pytest.param(
        b"GET /x HTTP/1.1\r\nhost: h\r\n\r\n", ("GET", "", "h", "/x", 1), id="origin-form"
    ),
    pytest.param(
        b"OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n", ("OPTIONS", "", "h", "*", 1), id="asterisk"
    ),
    pytest.param(b"PRI * HTTP/2.0\r\n\r\n", ("PRI", "", "", "*", 1), id="http2 preface"),
    pytest.param(b"GET /x HTTP/1.1\nHost: h\n\n", ("GET", "", "h", "/x", 1), id="bare line feeds"),
]


@pytest.mark.parametrize(("data", "expected"), REQUESTS)
def test_requests(data: bytes, expected: tuple[str, str, str, str, int]) -> None:
    assert head_end(data) == len(data)
    head = RequestHead.parse(data)
    assert (head.method, head.scheme, head.authority, head.path, head.version) == expected
    for cut in range(len(data)):
        assert head_end(data[:cut]) == 0
        assert head_end(data + b"body", cut) == len(data)


REFUSED = [
    pytest.param(b"garbage\r\n\r\n", id="no request line"),
    pytest.param(b"GET / HTTP/9\r\n\r\n", id="version"),
    pytest.param(b"GET / HTTP/0.9\r\n\r\n", id="old version"),
    pytest.param(b"GET /\x01 HTTP/1.1\r\n\r\n", id="control character in the target"),
    pytest.param(b"GET / HTTP/1.1\r\nno colon\r\n\r\n", id="no colon"),
    pytest.param(b"GET / HTTP/1.1\r\nA b: c\r\n\r\n", id="blank in a name"),
    pytest.param(b"GET / HTTP/1.1\r\nA : c\r\n\r\n", id="blank behind a name"),
    pytest.param(b"GET / HTTP/1.1\r\n folded\r\n\r\n", id="folded first line"),
    pytest.param(b"GET / HTTP/1.1\r\nA: b\rc\r\n\r\n", id="carriage return in a value"),
    pytest.param(b"GET / HTTP/1.1\r\nA: b\x00\r\n\r\n", id="zero in a value"),
    pytest.param(b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", id="two hosts"),
    pytest.param(b"POST / HTTP/1.1\r\nContent-Length: +5\r\n\r\n", id="signed length"),
    pytest.param(b"POST / HTTP/1.1\r\nContent-Length:\r\n\r\n", id="empty length"),
    pytest.param(
        b"POST / HTTP/1.1\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n", id="two lengths"
    ),
    pytest.param(b"POST / HTTP/1.1\r\nTransfer-Encoding: gzip\r\n\r\n", id="coding"),
    pytest.param(b"POST / HTTP/1.1\r\nTransfer-Encoding:\r\n\r\n", id="empty coding"),
    pytest.param(b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", id="chunked in 1.0"),
    pytest.param(
        b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
        id="chunked twice",
    ),
]


@pytest.mark.parametrize("data", REFUSED)
def test_refused(data: bytes) -> None:
    with pytest.raises(ProtocolError):
        RequestHead.parse(data)


def test_folded_lines_and_blanks() -> None:
    head = RequestHead.parse(b"GET / HTTP/1.1\r\nA: 1 \t\r\n\t 2 \r\nB:\r\nC:x\t\r\n\r\n")
    assert head.items == [("A", "1 2"), ("B", ""), ("C", "x")]


def test_encode_keeps_order_and_case() -> None:
    data = b"GET /x HTTP/1.1\r\nhOST: h\r\nb: 1\r\nA: \xe4\r\nb: 2\r\n\r\n"
    assert RequestHead.parse(data).encode() == data


def test_changing_lines() -> None:
    head = RequestHead.parse(b"GET / HTTP/1.1\r\nA: 1\r\nB: 2\r\na: 3\r\n\r\n")
    assert head.all("a") == ["1", "3"]
    head.set("a", "4")
    assert head.items == [("a", "4"), ("B", "2")]
    head.set("C", "5")
    head.remove("b")
    assert head.items == [("a", "4"), ("C", "5")]
    assert head.get("b") == ""
    assert head.mapping() == {"a": ["4"], "c": ["5"]}


FRAMINGS = [
    pytest.param(b"", 0, id="nothing"),
    pytest.param(b"Content-Length: 7\r\n", 7, id="length"),
    pytest.param(b"Content-Length: 7\r\nContent-Length: 7\r\n", 7, id="the same length twice"),
    pytest.param(b"Transfer-Encoding: Chunked\r\n", CHUNKED, id="chunked"),
]


@pytest.mark.parametrize(("lines", "framing"), FRAMINGS)
def test_request_framing(lines: bytes, framing: int) -> None:
    head = RequestHead.parse(b"POST / HTTP/1.1\r\n" + lines + b"\r\n")
    assert head.framing == framing
    assert len(head.all("content-length")) <= 1


def test_chunked_overrides_a_length_which_is_not_passed_on() -> None:
    head = RequestHead.parse(
        b"POST / HTTP/1.1\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n"
    )
    assert head.framing == CHUNKED
    assert head.all("content-length") == []


RESPONSES = [
    pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", "GET", 5, id="length"),
    pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", "HEAD", 0, id="to HEAD"),
    pytest.param(b"HTTP/1.1 304\r\nContent-Length: 5\r\n\r\n", "GET", 0, id="not modified"),
    pytest.param(b"HTTP/1.1 204 No Content\r\n\r\n", "GET", 0, id="no content"),
    pytest.param(b"HTTP/1.1 100 Continue\r\n\r\n", "POST", 0, id="provisional"),
    pytest.param(b"HTTP/1.0 200 \r\n\r\n", "GET", UNTIL_CLOSE, id="until close"),
    pytest.param(
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "GET", CHUNKED, id="chunked"
    ),
]


@pytest.mark.parametrize(("data", "method", "framing"), RESPONSES)
def test_responses(data: bytes, method: str, framing: int) -> None:
    assert ResponseHead.parse(data).framing(method) == framing


CLOSING = [
    pytest.param(b"HTTP/1.1 200 OK\r\n\r\n", False, id="1.1"),
    pytest.param(b"HTTP/1.1 200 OK\r\nConnection: x, Close\r\n\r\n", True, id="1.1 close"),
    pytest.param(b"HTTP/1.0 200 OK\r\n\r\n", True, id="1.0"),
    pytest.param(b"HTTP/1.0 200 OK\r\nConnection: Keep-Alive\r\n\r\n", False, id="1.0 keep-alive"),
]


@pytest.mark.parametrize(("data", "closes"), CLOSING)
def test_wants_close(data: bytes, closes: bool) -> None:
    assert ResponseHead.parse(data).wants_close is closes


@pytest.mark.parametrize(
    ("lines", "address"),
    [
        pytest.param(b"", "", id="none"),
        pytest.param(b"X-Real-IP: 192.0.2.3\r\n", "192.0.2.3", id="real"),
        pytest.param(
            b"X-Real-IP: 192.0.2.3\r\nX-Forwarded-For: 192.0.2.2, 10.0.0.1\r\n",
            "192.0.2.2",
            id="forwarded",
        ),
        pytest.param(
            b"X-Forwarded-For: 192.0.2.2\r\nCF-Connecting-IP: 2001:db8::1\r\n",
            "2001:db8::1",
            id="cloudflare",
        ),
        pytest.param(b"X-Forwarded-For: somebody\r\n", "", id="no address"),
    ],
)
def test_client_ip(lines: bytes, address: str) -> None:
    assert RequestHead.parse(b"GET / HTTP/1.1\r\n" + lines + b"\r\n").client_ip == address


CHUNKS = [
    pytest.param(b"0\r\n\r\n", b"", id="empty"),
    pytest.param(b"3\r\nabc\r\n0\r\n\r\n", b"abc", id="one"),
    pytest.param(
        b"3;x=y\r\nabc\r\n0A \r\n0123456789\r\n0\r\nT: 1\r\n\r\n", b"abc0123456789", id="more"
    ),
]


@pytest.mark.parametrize(("wire", "payload"), CHUNKS)
def test_chunks_however_they_arrive(wire: bytes, payload: bytes) -> None:
    for size in range(1, len(wire) + 6):
        body = ChunkedBody()
        held: list[bytes] = []
        used = 0
        data = wire + b"GET /"
        for start in range(0, len(data), size):
            if not body.ended:
                used += body.feed(data[start : start + size], held)
        assert body.ended
        assert used == len(wire)
        assert b"".join(held) == payload


@pytest.mark.parametrize(
    "wire",
    [
        pytest.param(b"x\r\n", id="no size"),
        pytest.param(b"-1\r\n", id="sign"),
        pytest.param(b"0x1\r\n", id="prefix"),
        pytest.param(b"\r\n", id="empty size"),
        pytest.param(b"1\na\r\n", id="line feed alone"),
        pytest.param(b"1;\rx\r\na", id="carriage return in an extension"),
        pytest.param(b"1\r\nab\r\n", id="longer than its size"),
        pytest.param(b"f" * 16 + b"\r\n", id="too large"),
        pytest.param(b"1;" + b"x" * 5000, id="long extension"),
    ],
)
def test_bad_chunks(wire: bytes) -> None:
    with pytest.raises(ProtocolError):
        ChunkedBody().feed(wire)


@pytest.mark.parametrize(
    ("authority", "expected"),
    [
        pytest.param("h", "h:80", id="name"),
        pytest.param("h:8080", "h:8080", id="name and port"),
        pytest.param("::1", "[::1]:80", id="bare v6"),
        pytest.param("[::1]", "[::1]:80", id="v6"),
        pytest.param("[::1]:8", "[::1]:8", id="v6 and port"),
        pytest.param("", ":80", id="nothing"),
    ],
)
def test_with_port(authority: str, expected: str) -> None:
    assert with_port(authority, 80) == expected


def test_answers_of_ours() -> None:
    assert response(200, [("A", "b")]) == b"HTTP/1.1 200 OK\r\nA: b\r\n\r\n"
    assert response(299, version=0) == b"HTTP/1.0 299 status code 299\r\n\r\n"


def test_is_field() -> None:
    assert is_field("X-A", "some text")
    assert not is_field("X A", "b")
    assert not is_field("X", "a\r\nY: b")
    assert not is_field("", "b")


@given(st.binary(max_size=300))
def test_any_bytes(data: bytes) -> None:
    for parse in (RequestHead.parse, ResponseHead.parse, ChunkedBody().feed):
        try:
            parse(data)
        except ProtocolError:
            continue


_NAMES = st.from_regex(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,12}", fullmatch=True)
_VALUES = st.text('abc :;,"=\t\x80\xff/', max_size=20).map(lambda text: text.strip(" \t"))


@given(st.lists(st.tuples(_NAMES, _VALUES), max_size=8))
def test_lines_survive(items: list[tuple[str, str]]) -> None:
    names = [name.lower() for name, _ in items]
    known = {"host", "content-length", "transfer-encoding"}
    if known & set(names):
        return
    assert RequestHead.parse(RequestHead("GET", "/", 1, items).encode()).items == items
