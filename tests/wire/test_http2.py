"""HTTP/2 frames, header blocks and settings."""

from __future__ import annotations

from typing import Any

import pytest
from hpack import Decoder, Encoder
from hypothesis import given
from hypothesis import strategies as st

from gostpy.errors import ConfigError, ProtocolError
from gostpy.wire.http2 import (
    ACK,
    COMPRESSION_ERROR,
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    ENHANCE_YOUR_CALM,
    FLOW_CONTROL_ERROR,
    FRAME_SIZE_ERROR,
    GOAWAY,
    HEADERS,
    PADDED,
    PING,
    PREFACE,
    PRIORITY,
    PRIORITY_FLAG,
    PROTOCOL_ERROR,
    PUSH_PROMISE,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
    Http2Error,
    frame,
    goaway,
    header_frames,
    rst_stream,
    settings,
    window_update,
)
from gostpy.wire.http2frames import FrameReader
from gostpy.wire.http2headers import (
    HeaderCodec,
    Malformed,
    Response,
    check_trailers,
    configured_lines,
    content_length,
    read_request,
)
from gostpy.wire.http2history import ClosedStreams

START = PREFACE + settings([])


class Seen:
    """A receiver that writes down what it is told; pieces of data are put together."""

    def __init__(self) -> None:
        self.alive = True
        self.events: list[Any] = []

    def __getattr__(self, name: str) -> Any:
        return lambda *arguments: self.events.append((name, *arguments))

    def arrived(self, stream_id: int, data: Any) -> None:
        last = self.events[-1]
        if last[0] == "arrived" and last[1] == stream_id:
            self.events[-1] = ("arrived", stream_id, last[2] + bytes(data))
        else:
            self.events.append(("arrived", stream_id, bytes(data)))


def read(*pieces: bytes, preface: bool = True) -> list[Any]:
    seen = Seen()
    reader = FrameReader(seen, preface=preface)
    for piece in pieces:
        reader.feed(piece)
    return seen.events


def data(stream_id: int, payload: bytes, flags: int = 0) -> bytes:
    return frame(DATA, flags, stream_id, payload)


CASES = [
    pytest.param(settings([(4, 7)]), [("configured", [(4, 7)])], id="settings"),
    pytest.param(frame(SETTINGS, ACK, 0), [("acknowledged",)], id="settings ack"),
    pytest.param(frame(PING, 0, 0, b"12345678"), [("pinged", b"12345678", False)], id="ping"),
    pytest.param(frame(PING, ACK, 0, b"12345678"), [("pinged", b"12345678", True)], id="pong"),
    pytest.param(goaway(5, 2, "why"), [("told_to_leave", 5, 2)], id="goaway"),
    pytest.param(rst_stream(3, 8), [("was_reset", 3, 8)], id="reset"),
    pytest.param(window_update(0, 9), [("credited", 0, 9)], id="window of the connection"),
    pytest.param(window_update(1, 9), [("credited", 1, 9)], id="window of a stream"),
    pytest.param(data(1, b"abc"), [("announced", 1, 3, 0), ("arrived", 1, b"abc")], id="data"),
    pytest.param(
        data(1, b"abc", END_STREAM),
        [("announced", 1, 3, 0), ("arrived", 1, b"abc"), ("ended", 1)],
        id="last data",
    ),
    pytest.param(
        data(1, b"", END_STREAM), [("announced", 1, 0, 0), ("ended", 1)], id="end without data"
    ),
    pytest.param(
        data(1, b"\x02abc\0\0", END_STREAM | PADDED),
        [("announced", 1, 6, 3), ("arrived", 1, b"abc"), ("ended", 1)],
        id="padded data",
    ),
    pytest.param(data(1, b"\x02\0\0", PADDED), [("announced", 1, 3, 3)], id="nothing but padding"),
    pytest.param(
        data(3, b"c") + rst_stream(3, 0),
        [("announced", 3, 1, 0), ("arrived", 3, b"c"), ("was_reset", 3, 0)],
        id="data before a control frame",
    ),
    pytest.param(header_frames(1, b"block", True, 99), [("headed", 1, b"block", True)], id="head"),
    pytest.param(header_frames(1, b"block", False, 2), [("headed", 1, b"block", False)], id="cut"),
    pytest.param(
        frame(HEADERS, END_HEADERS | PADDED | PRIORITY_FLAG, 1, b"\x01\0\0\0\x03\x07hd\0"),
        [("headed", 1, b"hd", False)],
        id="padded head with priority",
    ),
    pytest.param(
        frame(PRIORITY, 0, 1, b"\0\0\0\x03\x07"), [("ignored", PRIORITY, 1)], id="priority"
    ),
    pytest.param(
        frame(PRIORITY, 0, 1, b"\0\0\0\x01\x07"),
        [("faulty", 1, PROTOCOL_ERROR, "a stream that depends on itself")],
        id="priority on itself",
    ),
    pytest.param(
        frame(PRIORITY, 0, 1, b"\0"),
        [("faulty", 1, FRAME_SIZE_ERROR, "PRIORITY of 1 bytes")],
        id="cut priority",
    ),
    pytest.param(
        window_update(1, 0),
        [("faulty", 1, PROTOCOL_ERROR, "WINDOW_UPDATE by nothing")],
        id="window by nothing",
    ),
    pytest.param(frame(0x77, 0xFF, 5, b"abc"), [("ignored", 0x77, 5)], id="unknown type"),
]


@pytest.mark.parametrize(("wire", "events"), CASES)
def test_frames(wire: bytes, events: list[Any]) -> None:
    """Whole, in two pieces at every place, and byte by byte."""
    begin: list[Any] = [("configured", [])]
    assert read(START + wire) == begin + events
    for cut in range(len(wire)):
        assert read(START + wire[:cut], wire[cut:]) == begin + events
    assert read(*[bytes([byte]) for byte in START + wire]) == begin + events
    for cut in range(len(wire)):
        part = read(START + wire[:cut])[1:]
        if part and part[-1][0] == "arrived":
            part.pop()
        assert part == events[: len(part)]


def test_data_of_one_stream_is_handed_over_together() -> None:
    seen = Seen()
    calls: list[bytes] = []
    seen.arrived = lambda _, view: calls.append(bytes(view))  # type: ignore[method-assign]
    FrameReader(seen, preface=True).feed(START + data(1, b"ab") + data(1, b"cd") + data(3, b"e"))
    assert calls == [b"abcd", b"e"]


def test_a_receiver_that_is_not_alive_gets_nothing_more() -> None:
    seen = Seen()
    reader = FrameReader(seen, preface=False)

    def stop(*_: Any) -> None:
        seen.alive = False

    seen.was_reset = stop  # type: ignore[attr-defined]
    reader.feed(settings([]) + rst_stream(1, 0) + rst_stream(3, 0))
    assert seen.events == [("configured", [])]


BAD = [
    pytest.param(b"GET / HTTP/1.1\r\n", PROTOCOL_ERROR, id="no preface"),
    pytest.param(PREFACE + frame(PING, 0, 0, bytes(8)), PROTOCOL_ERROR, id="first no settings"),
    pytest.param(PREFACE + frame(SETTINGS, ACK, 0), PROTOCOL_ERROR, id="first is an ack"),
    pytest.param(START + data(0, b"a"), PROTOCOL_ERROR, id="data on stream 0"),
    pytest.param(START + data(1, b"\x03ab", PADDED), PROTOCOL_ERROR, id="too much padding"),
    pytest.param(START + data(1, b"", PADDED), FRAME_SIZE_ERROR, id="no length of padding"),
    pytest.param(START + data(1, bytes(16385)), FRAME_SIZE_ERROR, id="frame too large"),
    pytest.param(START + frame(HEADERS, END_HEADERS, 0, b"a"), PROTOCOL_ERROR, id="head on 0"),
    pytest.param(
        START + frame(HEADERS, END_HEADERS | PADDED, 1, b"\x09a"), PROTOCOL_ERROR, id="head padding"
    ),
    pytest.param(
        START + frame(HEADERS, END_HEADERS | PADDED, 1), FRAME_SIZE_ERROR, id="head pad length"
    ),
    pytest.param(
        START + frame(HEADERS, END_HEADERS | PRIORITY_FLAG, 1, b"\0\0"),
        FRAME_SIZE_ERROR,
        id="head with cut priority",
    ),
    pytest.param(
        START + frame(HEADERS, END_HEADERS | PRIORITY_FLAG, 1, b"\0\0\0\x01\0"),
        PROTOCOL_ERROR,
        id="head that depends on itself",
    ),
    pytest.param(
        START + frame(HEADERS, 0, 1, b"a") + frame(PING, 0, 0, bytes(8)),
        PROTOCOL_ERROR,
        id="interrupted block",
    ),
    pytest.param(
        START + frame(HEADERS, 0, 1, b"a") + frame(CONTINUATION, 0, 3, b"a"),
        PROTOCOL_ERROR,
        id="block of another stream",
    ),
    pytest.param(START + frame(CONTINUATION, 0, 1), PROTOCOL_ERROR, id="lone continuation"),
    pytest.param(START + frame(PUSH_PROMISE, 0, 1, bytes(4)), PROTOCOL_ERROR, id="push"),
    pytest.param(START + frame(RST_STREAM, 0, 1, bytes(3)), FRAME_SIZE_ERROR, id="reset size"),
    pytest.param(START + rst_stream(0, 1), PROTOCOL_ERROR, id="reset of stream 0"),
    pytest.param(START + frame(PING, 0, 0, bytes(7)), FRAME_SIZE_ERROR, id="ping size"),
    pytest.param(START + frame(PING, 0, 1, bytes(8)), PROTOCOL_ERROR, id="ping of a stream"),
    pytest.param(START + frame(GOAWAY, 0, 0, bytes(7)), FRAME_SIZE_ERROR, id="goaway size"),
    pytest.param(START + frame(WINDOW_UPDATE, 0, 0, b"a"), FRAME_SIZE_ERROR, id="window size"),
    pytest.param(START + window_update(0, 0), PROTOCOL_ERROR, id="window by nothing"),
    pytest.param(START + frame(SETTINGS, 0, 0, b"a"), FRAME_SIZE_ERROR, id="settings size"),
    pytest.param(START + frame(SETTINGS, ACK, 0, bytes(6)), FRAME_SIZE_ERROR, id="full ack"),
    pytest.param(START + frame(SETTINGS, 0, 1), PROTOCOL_ERROR, id="settings of a stream"),
    pytest.param(START + settings([(2, 2)]), PROTOCOL_ERROR, id="push setting"),
    pytest.param(START + settings([(4, 1 << 31)]), FLOW_CONTROL_ERROR, id="window setting"),
    pytest.param(START + settings([(5, 16383)]), PROTOCOL_ERROR, id="small frames"),
    pytest.param(START + settings([(5, 1 << 24)]), PROTOCOL_ERROR, id="large frames"),
    pytest.param(
        START + frame(HEADERS, 0, 1) + frame(CONTINUATION, 0, 1) * 100,
        ENHANCE_YOUR_CALM,
        id="empty continuations",
    ),
    pytest.param(
        START + frame(HEADERS, 0, 1) + frame(CONTINUATION, 0, 1, bytes(16384)) * 5,
        ENHANCE_YOUR_CALM,
        id="large continuations",
    ),
]


@pytest.mark.parametrize(("wire", "code"), BAD)
def test_faults(wire: bytes, code: int) -> None:
    for pieces in ([wire], [wire[at : at + 1] for at in range(len(wire))]):
        with pytest.raises(Http2Error) as caught:
            read(*pieces)
        assert caught.value.code == code


@given(st.lists(st.binary(max_size=40)), st.booleans())
def test_anything_is_read_or_refused(pieces: list[bytes], preface: bool) -> None:
    start = START if preface else settings([])
    try:
        read(start, *pieces, preface=preface)
    except ProtocolError:
        pass


@given(
    st.lists(
        st.tuples(
            st.integers(0, 10),
            st.integers(0, 255),
            st.integers(0, 5),
            st.binary(max_size=20),
        )
    ),
    st.integers(1, 50),
)
def test_pieces_do_not_matter(frames: list[tuple[int, int, int, bytes]], size: int) -> None:
    wire = START + b"".join(frame(*each) for each in frames)

    def outcome(pieces: list[bytes]) -> Any:
        seen = Seen()
        reader = FrameReader(seen, preface=True)
        try:
            for piece in pieces:
                reader.feed(piece)
        except Http2Error as error:
            return [], error.code
        told = [event for event in seen.events if event[0] == "announced"]
        rest: list[Any] = []  # data may be handed over before or after the next frame is announced
        for event in seen.events:
            if event[0] == "arrived" and rest and rest[-1][:2] == event[:2]:
                rest[-1] = (*event[:2], rest[-1][2] + event[2])
            elif event[0] != "announced":
                rest.append(event)
        return told + rest, None

    whole = outcome([wire])
    parts = outcome([wire[at : at + size] for at in range(0, len(wire), size)])
    assert whole == parts


# -- headers -------------------------------------------------------------------------------------

GET = [(":method", "GET"), (":scheme", "https"), (":path", "/p"), (":authority", "h:1")]


def test_headers_both_ways() -> None:
    client, server = HeaderCodec(), HeaderCodec()
    fields = [*GET, ("x", "ä"), ("proxy-authorization", "Basic eA==")]
    sizes = []
    for _ in range(3):
        block = client.encode(fields)
        sizes.append(len(block))
        assert server.decode(block) == tuple(fields)
    assert sizes[1] < sizes[0]


def test_secrets_are_never_indexed() -> None:
    codec = HeaderCodec()
    first = codec.encode([("proxy-authorization", "Basic c2VjcmV0")])
    assert codec.encode([("proxy-authorization", "Basic c2VjcmV0")]) == first


@given(
    st.lists(
        st.lists(
            st.tuples(
                st.sampled_from(["a", "b", "cookie", ":path", ":authority"]),
                st.sampled_from(["", "x", "y", "long" * 400]),
            ),
            max_size=4,
        ),
        max_size=30,
    ),
    st.sampled_from([4096, 100, 0]),
)
def test_what_is_remembered_is_right(lists: list[list[tuple[str, str]]], size: int) -> None:
    """Against the library itself, while its tables fill, overflow and are resized."""
    codec, peer = HeaderCodec(), HeaderCodec()
    plain_encoder, plain_decoder = Encoder(), Decoder()
    for turn, fields in enumerate(lists * 2):
        if turn == len(lists):
            codec.limit_table(size)
            plain_encoder.header_table_size = size
        secret = [(name, value, name == "cookie") for name, value in fields]
        block = codec.encode(fields)
        assert block == plain_encoder.encode(secret)
        assert peer.decode(block) == tuple(fields)
        assert list(plain_decoder.decode(block)) == fields


def test_small_tables_are_heeded() -> None:
    client, server = HeaderCodec(), HeaderCodec()
    client.limit_table(0)
    for _ in range(2):
        assert server.decode(client.encode([("x", "y")])) == (("x", "y"),)


@pytest.mark.parametrize(
    ("block", "code"),
    [
        pytest.param(b"\xff\xff\xff\xff\xff\xff", COMPRESSION_ERROR, id="index"),
        pytest.param(b"\x80", COMPRESSION_ERROR, id="index 0"),
        pytest.param(b"\x40\x7f", COMPRESSION_ERROR, id="cut"),
        pytest.param(b"\x00\x81\xff\x01a", COMPRESSION_ERROR, id="huffman"),
        pytest.param(b"\x3f\xff\xff\x03", COMPRESSION_ERROR, id="table too large"),
        pytest.param(b"\x20\x3f\xe1\x1f\x20", COMPRESSION_ERROR, id="three sizes of the table"),
        pytest.param(
            Encoder().encode([("a", "b" * 3000)]) + b"\xbe" * 60000, ENHANCE_YOUR_CALM, id="bomb"
        ),
    ],
)
def test_bad_blocks(block: bytes, code: int) -> None:
    with pytest.raises(Http2Error) as caught:
        HeaderCodec().decode(block)
    assert caught.value.code == code


@given(st.binary(max_size=200))
def test_any_block_is_decoded_or_refused(block: bytes) -> None:
    codec = HeaderCodec()
    try:
        fields = codec.decode(block)
        for reader in (read_request, Response.read, check_trailers):
            try:
                reader(fields)
            except Malformed:
                pass
    except Http2Error:
        pass


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        pytest.param(GET, ("GET", "/p", "h:1", "https", ""), id="get"),
        pytest.param(
            [(":method", "CONNECT"), (":authority", "h:1")],
            ("CONNECT", "", "h:1", "", ""),
            id="tcp",
        ),
        pytest.param(
            [(":method", "CONNECT"), (":protocol", "websocket"), *GET[1:]],
            ("CONNECT", "/p", "h:1", "https", "websocket"),
            id="extended",
        ),
        pytest.param([*GET[:3], ("host", "o")], ("GET", "/p", "o", "https", ""), id="host"),
    ],
)
def test_requests(fields: list[tuple[str, str]], expected: tuple[str, ...]) -> None:
    found = read_request(fields)
    assert (found.method, found.path, found.authority, found.scheme, found.protocol) == expected


@pytest.mark.parametrize(
    "fields",
    [
        pytest.param([], id="nothing"),
        pytest.param(GET[1:], id="no method"),
        pytest.param([*GET[:2], GET[3]], id="no path"),
        pytest.param([*GET[:2], (":path", ""), GET[3]], id="empty path"),
        pytest.param([GET[0], *GET[2:]], id="no scheme"),
        pytest.param([*GET, GET[0]], id="twice"),
        pytest.param([*GET, (":status", "200")], id="of a response"),
        pytest.param([*GET, (":x", "200")], id="unknown"),
        pytest.param([("a", "b"), *GET], id="pseudo behind others"),
        pytest.param([*GET, ("Upper", "b")], id="upper case"),
        pytest.param([*GET, ("", "b")], id="no name"),
        pytest.param([*GET, ("a b", "c")], id="blank in a name"),
        pytest.param([*GET, ("a", "b\r\nc")], id="line feed"),
        pytest.param([*GET[:3], (":authority", "a\0")], id="control character"),
        pytest.param([*GET, ("connection", "close")], id="connection"),
        pytest.param([*GET, ("transfer-encoding", "chunked")], id="transfer encoding"),
        pytest.param([*GET, ("te", "gzip")], id="te"),
        pytest.param([(":method", "CONNECT")], id="connect without authority"),
        pytest.param([(":method", "CONNECT"), *GET[1:]], id="connect with path"),
        pytest.param([*GET, (":protocol", "x")], id="protocol without connect"),
        pytest.param([(":method", "GET /other HTTP/1.1"), *GET[1:]], id="blank in the method"),
        pytest.param([*GET[:2], (":path", "/p HTTP/1.1"), GET[3]], id="blank in the path"),
        pytest.param([*GET[:2], (":path", "http://o/p"), GET[3]], id="absolute path"),
        pytest.param([*GET[:3], (":authority", "h:1 x")], id="blank in the authority"),
        pytest.param([*GET[:3], ("host", "h x")], id="blank in the host"),
    ],
)
def test_bad_requests(fields: list[tuple[str, str]]) -> None:
    with pytest.raises(Malformed):
        read_request(fields)


def test_te_trailers_may_stay() -> None:
    assert read_request([*GET, ("te", "trailers")]).headers == (("te", "trailers"),)


@pytest.mark.parametrize("status", ["", "20", "2000", "abc", "²00"])
def test_bad_responses(status: str) -> None:
    with pytest.raises(Malformed):
        Response.read([(":status", status)])
    with pytest.raises(Malformed):
        Response.read([(":status", "200"), (":path", "/")])


def test_response() -> None:
    found = Response.read([(":status", "204"), ("a", "b"), ("a", "c")])
    assert (found.status, found.get("a"), found.get("b")) == (204, "b", "")


def test_trailers() -> None:
    assert check_trailers([("a", "b")]) == (("a", "b"),)
    with pytest.raises(Malformed):
        check_trailers([(":status", "200")])


def test_lengths() -> None:
    assert content_length(()) == -1
    assert content_length((("content-length", "7"), ("content-length", "7"))) == 7
    for text in ("-1", "x", "7, 8", "9" * 19):
        with pytest.raises(Malformed):
            content_length((("content-length", text),))


def test_configured_lines() -> None:
    assert configured_lines({"X-A": 1, "B": None, "Connection": "close"}) == {"x-a": "1", "b": ""}
    with pytest.raises(ConfigError):
        configured_lines({"a b": "c"})


def test_closed_streams_are_forgotten_in_turn() -> None:
    closed = ClosedStreams()
    for number in range(1, 2001, 2):
        closed.add(number, number % 4 == 1)
    assert not closed.ended(1)
    assert closed.ended(1999) and not closed.by_us(1999) and closed.by_us(1997)
