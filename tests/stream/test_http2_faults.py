"""HTTP/2 sessions against a peer played by hand: windows, ends, broken rules and floods."""

from __future__ import annotations

import tracemalloc
from typing import Any

import gevent
import pytest

from gostpy.errors import ConnectionClosed
from gostpy.net.conn import Conn, ConnInfo
from gostpy.stream import http2, http2stream
from gostpy.stream.http2 import Config, Session, StreamReset
from gostpy.wire.http2 import (
    CANCEL,
    CONTINUATION,
    DATA,
    DEFAULT_WINDOW,
    END_HEADERS,
    END_STREAM,
    ENHANCE_YOUR_CALM,
    FLOW_CONTROL_ERROR,
    FRAME_SIZE_ERROR,
    GOAWAY,
    HEADERS,
    INITIAL_WINDOW_SIZE,
    MAX_CONCURRENT_STREAMS,
    MAX_FRAME_SIZE,
    MAX_WINDOW,
    NO_ERROR,
    PING,
    PREFACE,
    PROTOCOL_ERROR,
    REFUSED_STREAM,
    RST_STREAM,
    SETTINGS,
    STREAM_CLOSED,
    WINDOW_UPDATE,
    frame,
    goaway,
    rst_stream,
    settings,
    window_update,
)
from gostpy.wire.http2headers import HeaderCodec
from tests.stream.peers import ByHand, Keeper

pytestmark = pytest.mark.timeout(30)

CONNECT = [(":method", "CONNECT"), (":authority", "h:1")]
MOST_MEMORY = 16 << 20


@pytest.fixture(autouse=True)
def loop_runs():
    """Deadlines alone do not keep the loop running; a program has sockets to wait for."""
    loop = gevent.get_hub().loop
    loop.update_now()
    timer = loop.timer(60)
    timer.start(lambda: None)
    yield
    timer.close()


class Peer(ByHand):
    """The other side; ``frames`` takes apart what was written."""

    def __init__(self) -> None:
        super().__init__()
        self.codec = HeaderCodec()

    def frames(self) -> list[tuple[int, int, int, bytes]]:
        """(type, flags, stream, payload) of what was written since the last call."""
        wire = self.written().removeprefix(PREFACE)
        found = []
        while wire:
            size = int.from_bytes(wire[:3], "big")
            stream = int.from_bytes(wire[5:9], "big")
            found.append((wire[3], wire[4], stream, wire[9 : 9 + size]))
            wire = wire[9 + size :]
        return found

    def of_type(self, kind: int) -> list[tuple[int, int, int, bytes]]:
        return [each for each in self.frames() if each[0] == kind]

    def head(self, stream_id: int, fields: Any = CONNECT, end: bool = False) -> bytes:
        flags = END_HEADERS | (END_STREAM if end else 0)
        return frame(HEADERS, flags, stream_id, self.codec.encode(fields))

    def goaway(self) -> int | None:
        """The code of a GOAWAY, if there was one."""
        found = self.of_type(GOAWAY)
        return int.from_bytes(found[-1][3][4:8], "big") if found else None

    def reset_code(self, stream_id: int) -> int | None:
        for kind, _, stream, payload in self.frames():
            if kind == RST_STREAM and stream == stream_id:
                return int.from_bytes(payload, "big")
        return None


def start(client: bool, deliver: Any = None, config: Config | None = None) -> tuple[Session, Peer]:
    peer = Peer()
    session = Session(Conn(peer, ConnInfo(peer=("192.0.2.1", 7))), client, deliver, config)
    session.start()
    peer.feed(b"" if client else PREFACE)
    peer.feed(settings([]))
    peer.frames()
    return session, peer


def serving(config: Config | None = None) -> tuple[Session, Peer, list[Any]]:
    """A server that answers 200 and keeps its streams."""
    streams: list[Any] = []

    def deliver(stream: Any) -> None:
        stream.respond(200)
        streams.append((stream, stream.conn))

    session, peer = start(False, deliver, config)
    return session, peer, streams


def asking(peer_settings: Any = ()) -> tuple[Session, Peer, Any, Conn]:
    """A client with one request that was answered 200."""
    session, peer = start(True)
    peer.feed(settings(peer_settings))
    stream = session.request(CONNECT)
    peer.feed(peer.head(stream.id, [(":status", "200")]))
    peer.frames()
    return session, peer, stream, stream.conn


# -- windows -------------------------------------------------------------------------------------


def test_first_frames_tell_our_windows() -> None:
    peer = Peer()
    config = Config(stream_window=100_000, window=200_000, max_streams=7)
    Session(Conn(peer), False, None, config).start()
    first, second = peer.frames()
    assert first[0] == SETTINGS
    assert bytes([0, INITIAL_WINDOW_SIZE]) + (100_000).to_bytes(4, "big") in first[3]
    assert bytes([0, MAX_CONCURRENT_STREAMS]) + (7).to_bytes(4, "big") in first[3]
    assert second == (WINDOW_UPDATE, 0, 0, (200_000 - DEFAULT_WINDOW).to_bytes(4, "big"))


def test_windows_are_given_back_as_data_is_read() -> None:
    _, peer, streams = serving(Config(stream_window=1000, window=100_000))
    peer.feed(peer.head(1))
    peer.feed(frame(DATA, 0, 1, bytes(900)))
    assert not peer.of_type(WINDOW_UPDATE)
    _, conn = streams[0]
    assert len(conn.recv()) == 900
    assert peer.of_type(WINDOW_UPDATE) == [(WINDOW_UPDATE, 0, 1, (900).to_bytes(4, "big"))]


def test_what_nobody_reads_is_given_back_to_the_connection() -> None:
    session, peer, streams = serving(Config(stream_window=1000, window=100_000))
    for number in range(1, 301, 2):
        peer.feed(peer.head(number) + frame(DATA, 0, number, bytes(900)))
        streams[-1][1].close()
    given = sum(int.from_bytes(f[3], "big") for f in peer.of_type(WINDOW_UPDATE) if not f[2])
    assert given > 100_000
    assert session.alive and not session.stream_count


def test_an_unread_stream_stops_its_peer_and_no_other() -> None:
    session, peer, streams = serving(Config(stream_window=1000, window=100_000))
    peer.feed(peer.head(1) + frame(DATA, 0, 1, bytes(1000)))
    peer.feed(peer.head(3) + frame(DATA, 0, 3, b"abc"))
    assert streams[1][1].recv() == b"abc"
    peer.feed(frame(DATA, 0, 1, b"x"))
    assert peer.reset_code(1) == FLOW_CONTROL_ERROR
    assert session.alive and session.stream_count == 1


def test_more_than_the_connection_s_window_ends_it() -> None:
    session, peer, _ = serving(Config(stream_window=100_000, window=100_000))
    peer.feed(peer.head(1) + frame(DATA, 0, 1, bytes(60_000)))
    peer.feed(peer.head(3) + frame(DATA, 0, 3, bytes(60_000)))
    assert peer.goaway() == FLOW_CONTROL_ERROR
    assert not session.alive


def test_padding_counts_and_is_given_back() -> None:
    session, peer, _ = serving(Config(stream_window=100_000, window=100_000))
    peer.feed(peer.head(1))
    for _ in range(200):
        peer.feed(frame(DATA, 0x8, 1, b"\xff" + bytes(256)))
        assert session.alive
    assert peer.of_type(WINDOW_UPDATE)


def test_data_waits_for_the_stream_s_window() -> None:
    _, peer, stream, conn = asking([(INITIAL_WINDOW_SIZE, 5)])
    sending = gevent.spawn(conn.sendall, b"hello world")
    assert [f[3] for f in peer.of_type(DATA)] == [b"hello"]
    peer.feed(window_update(stream.id, 3))
    assert [f[3] for f in peer.of_type(DATA)] == [b" wo"]
    assert not sending.ready()
    peer.feed(settings([(INITIAL_WINDOW_SIZE, 500)]))
    sending.get(timeout=5)
    conn.shut()
    assert peer.of_type(DATA) == [(DATA, 0, 1, b"rld"), (DATA, END_STREAM, 1, b"")]


def test_a_window_may_become_negative() -> None:
    _, peer, stream, conn = asking([(INITIAL_WINDOW_SIZE, 10)])
    conn.sendall(b"12345678")
    peer.feed(settings([(INITIAL_WINDOW_SIZE, 2)]))
    gevent.spawn(conn.sendall, b"abcdef")
    peer.feed(window_update(stream.id, 6))
    assert [f[3] for f in peer.of_type(DATA)] == [b"12345678"]
    peer.feed(window_update(stream.id, 1))
    assert [f[3] for f in peer.of_type(DATA)] == [b"a"]


def test_streams_share_the_connection_s_window() -> None:
    session, peer, _, conn = asking([(INITIAL_WINDOW_SIZE, MAX_WINDOW)])
    other = session.request(CONNECT)
    peer.feed(peer.head(other.id, [(":status", "200")]))
    sending = [gevent.spawn(each.sendall, bytes(60_000)) for each in (conn, other.conn)]
    assert sum(len(f[3]) for f in peer.of_type(DATA)) == DEFAULT_WINDOW
    peer.feed(window_update(0, 100_000))
    gevent.joinall(sending, timeout=5, raise_error=True)
    assert sum(len(f[3]) for f in peer.of_type(DATA)) == 120_000 - DEFAULT_WINDOW


@pytest.mark.parametrize(
    ("wire", "reset"),
    [
        pytest.param(window_update(1, MAX_WINDOW), True, id="stream"),
        pytest.param(window_update(0, MAX_WINDOW), False, id="connection"),
        pytest.param(
            window_update(1, 1000) + settings([(INITIAL_WINDOW_SIZE, MAX_WINDOW)]),
            False,
            id="settings",
        ),
    ],
)
def test_windows_that_are_too_large(wire: bytes, reset: bool) -> None:
    session, peer, _ = serving()
    peer.feed(peer.head(1) + wire)
    assert (peer.reset_code(1) if reset else peer.goaway()) == FLOW_CONTROL_ERROR
    assert session.alive is reset


def test_no_window_costs_no_memory() -> None:
    """A source is not asked for data that cannot be sent."""
    _, peer, streams = serving()
    peer.feed(settings([(INITIAL_WINDOW_SIZE, 0)]))
    peer.feed(peer.head(1))
    stream, conn = streams[0]
    drained = []
    assert conn.endpoint.pending
    conn.endpoint.on_drain = lambda: drained.append(1)
    peer.feed(window_update(1, 10))
    assert drained == [1]
    assert not conn.write(b"0123456789")
    peer.feed(window_update(1, 10))
    assert drained == [1, 1]
    assert stream.session.alive


# -- ends ----------------------------------------------------------------------------------------


def test_both_ends() -> None:
    session, peer, streams = serving()
    peer.feed(peer.head(1) + frame(DATA, END_STREAM, 1, b"bye"))
    _, conn = streams[0]
    assert conn.recv() == b"bye"
    assert conn.recv() == b""
    conn.close()
    assert peer.frames()[-1] == (DATA, END_STREAM, 1, b"")
    assert session.stream_count == 0


def test_closing_with_unread_data_resets() -> None:
    _, peer, streams = serving()
    peer.feed(peer.head(1) + frame(DATA, 0, 1, b"unread"))
    streams[0][1].close()
    assert peer.frames()[-2:] == [
        (DATA, END_STREAM, 1, b""),
        (RST_STREAM, 0, 1, NO_ERROR.to_bytes(4, "big")),
    ]


def test_closing_at_once_resets() -> None:
    _, peer, _, conn = asking()
    conn.close(True)
    assert peer.frames() == [(RST_STREAM, 0, 1, CANCEL.to_bytes(4, "big"))]


def test_a_peer_that_goes_on_is_told_to_stop() -> None:
    session, peer, streams = serving()
    peer.feed(peer.head(1))
    streams[0][1].close()
    peer.feed(frame(DATA, 0, 1, bytes(16000)))
    assert peer.reset_code(1) is None
    peer.feed(frame(DATA, 0, 1, bytes(16000)) * 4)
    assert peer.reset_code(1) == NO_ERROR
    peer.feed(frame(DATA, 0, 1, bytes(16000)) * 4)
    assert peer.reset_code(1) is None
    assert session.alive


def test_a_peer_that_does_not_end_is_reset(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http2stream, "LINGER", 0.01)
    session, peer, _, conn = asking()
    conn.close()
    gevent.sleep(0.03)
    assert peer.reset_code(1) == CANCEL
    assert session.stream_count == 0


def test_a_reset_after_the_end_reaches_the_sink() -> None:
    _, peer, stream, conn = asking()
    sink = Keeper(conn)
    conn.endpoint.start()
    peer.feed(frame(DATA, END_STREAM, stream.id, b"all"))
    assert sink.ended
    peer.feed(rst_stream(stream.id, NO_ERROR))
    assert isinstance(sink.error, StreamReset)
    with pytest.raises(ConnectionClosed):
        conn.write(b"more")


def test_goaway_refuses_what_is_new_and_keeps_the_rest() -> None:
    session, peer, _, conn = asking()
    late = session.request(CONNECT)
    ended = []
    session.on_close = ended.append
    peer.feed(goaway(1, NO_ERROR))
    assert isinstance(late.reason, StreamReset) and late.reason.code == REFUSED_STREAM
    assert session.busy and session.exhausted
    with pytest.raises(ConnectionClosed):
        session.open()
    peer.feed(frame(DATA, END_STREAM, 1, b"rest"))
    assert conn.recv() == b"rest"
    conn.close()
    gevent.idle()
    assert not session.alive and ended == [session]


def test_a_lost_conn_ends_all_streams() -> None:
    session, peer, _, conn = asking()
    reading = gevent.spawn(conn.recv)
    gevent.idle()
    peer.conn.eof()
    with pytest.raises(ConnectionClosed):
        reading.get(timeout=5)
    assert not session.alive


def test_closing_a_session_says_goodbye() -> None:
    session, peer, _, _ = asking()
    session.close()
    assert peer.goaway() == NO_ERROR


# -- limits of the peer --------------------------------------------------------------------------


def test_requests_wait_for_a_free_stream() -> None:
    session, peer, _, conn = asking([(MAX_CONCURRENT_STREAMS, 1)])
    assert session.busy
    waiting = gevent.spawn(session.request, CONNECT)
    assert not peer.of_type(HEADERS)
    conn.close(True)
    assert waiting.get(timeout=5).id == 3


def test_requests_do_not_wait_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http2, "_SLOT_TIMEOUT", 0.01)
    session, *_ = asking([(MAX_CONCURRENT_STREAMS, 1)])
    with pytest.raises(TimeoutError):
        session.open()


def test_streams_that_make_no_request_are_given_back() -> None:
    session, *_ = asking()
    conn = session.open()
    assert session.stream_count == 2
    conn.close()
    assert session.stream_count == 1


def test_a_request_that_comes_too_late() -> None:
    session, peer, _, _ = asking()
    conn = session.open()
    peer.feed(goaway(1, NO_ERROR))
    with pytest.raises(ConnectionClosed):
        conn.endpoint.ask(CONNECT)
    conn.close()
    assert session.stream_count == 1


def test_streams_are_opened_on_go_s_servers_at_a_pace(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http2, "_BURST_TIME", 0.2)  # so that a busy machine is no reason
    session, *_ = asking([(MAX_FRAME_SIZE, 1 << 20), (MAX_CONCURRENT_STREAMS, 250)])
    opening = [gevent.spawn(session.request, CONNECT) for _ in range(100)]
    gevent.idle()
    assert session.stream_count == 101
    assert sum(each.ready() for each in opening) < 40
    gevent.joinall(opening, timeout=5, raise_error=True)


# -- broken rules --------------------------------------------------------------------------------

GET = [(":method", "GET"), (":scheme", "http"), (":path", "/"), (":authority", "h")]


@pytest.mark.parametrize(
    ("make", "code"),
    [
        pytest.param(lambda p: p.head(2), PROTOCOL_ERROR, id="even stream"),
        pytest.param(lambda p: p.head(5) + p.head(3), PROTOCOL_ERROR, id="older stream"),
        pytest.param(lambda _: frame(DATA, 0, 1, b"a"), PROTOCOL_ERROR, id="data, idle"),
        pytest.param(lambda _: rst_stream(1, 0), PROTOCOL_ERROR, id="reset, idle"),
        pytest.param(lambda _: window_update(1, 1), PROTOCOL_ERROR, id="window, idle"),
        pytest.param(
            lambda p: p.head(1) + rst_stream(1, 8) + p.head(1), STREAM_CLOSED, id="head, closed"
        ),
        pytest.param(lambda _: frame(HEADERS, 4, 1, b"\xff"), 9, id="bad compression"),
        pytest.param(lambda _: frame(PING, 0, 0, b"a"), FRAME_SIZE_ERROR, id="frame"),
    ],
)
def test_faults_of_the_connection(make: Any, code: int) -> None:
    session, peer, _ = serving()
    peer.feed(make(peer))
    assert peer.goaway() == code
    assert not session.alive


LENGTH = [*GET, ("content-length", "3")]


@pytest.mark.parametrize(
    ("make", "code"),
    [
        pytest.param(lambda p: p.head(1, GET[1:]), PROTOCOL_ERROR, id="bad request"),
        pytest.param(lambda p: p.head(1) + p.head(1), PROTOCOL_ERROR, id="trailer, no end"),
        pytest.param(
            lambda p: p.head(1) + p.head(1, [(":path", "/")], True), PROTOCOL_ERROR, id="trailer"
        ),
        pytest.param(lambda p: p.head(1, GET, True) + p.head(1), STREAM_CLOSED, id="head, ended"),
        pytest.param(
            lambda p: p.head(1, GET, True) + frame(DATA, 0, 1, b"a"),
            STREAM_CLOSED,
            id="data, ended",
        ),
        pytest.param(lambda p: p.head(1, LENGTH, True), PROTOCOL_ERROR, id="no body"),
        pytest.param(
            lambda p: p.head(1, LENGTH) + frame(DATA, 1, 1, b"a"), PROTOCOL_ERROR, id="short"
        ),
        pytest.param(
            lambda p: p.head(1, LENGTH) + frame(DATA, 1, 1, b"abcd"), PROTOCOL_ERROR, id="long"
        ),
        pytest.param(lambda p: p.head(1) + window_update(1, 0), PROTOCOL_ERROR, id="no window"),
        pytest.param(
            lambda p: p.head(1) + rst_stream(1, 8) + frame(DATA, 0, 1, b"a"),
            STREAM_CLOSED,
            id="data, closed",
        ),
    ],
)
def test_faults_of_a_stream(make: Any, code: int) -> None:
    session, peer, _ = serving()
    peer.feed(make(peer))
    assert peer.reset_code(1) == code
    peer.feed(peer.head(3))
    assert session.alive and session.stream_count == 1


@pytest.mark.parametrize(
    "make",
    [
        pytest.param(lambda p: p.head(1, [(":status", "2")]), id="bad status"),
        pytest.param(lambda p: p.head(1, [(":status", "100")], True), id="end at 100"),
        pytest.param(lambda p: p.head(1, [(":status", "101")]), id="101"),
        pytest.param(lambda _: frame(DATA, 0, 1, b"a"), id="data before the head"),
    ],
)
def test_faults_of_a_response(make: Any) -> None:
    session, peer = start(True)
    stream = session.request(CONNECT)
    waiting = gevent.spawn(stream.response)
    gevent.idle()
    peer.feed(make(peer))
    with pytest.raises(ConnectionClosed):
        waiting.get(timeout=5)
    assert peer.reset_code(1) == PROTOCOL_ERROR
    assert session.alive


def test_provisional_responses_are_passed_over() -> None:
    session, peer = start(True)
    stream = session.request(GET)
    answers: list[Any] = []
    stream.on_answer = answers.append
    peer.feed(peer.head(1, [(":status", "103")]) + peer.head(1, [(":status", "404")], True))
    assert stream.response().status == 404
    assert answers == [stream]
    assert stream.conn.recv() == b""


def test_a_server_must_answer_before_it_sends() -> None:
    kept: list[Any] = []
    _, peer = start(False, kept.append)
    peer.feed(peer.head(1))
    with pytest.raises(ConnectionClosed):
        kept[0].conn.write(b"a")
    kept[0].respond(200)
    with pytest.raises(ConnectionClosed):
        kept[0].respond(200)


# -- floods --------------------------------------------------------------------------------------


def flood(peer: Peer, wire: bytes, session: Session) -> int:
    """Feed it in pieces as a socket does; the most memory that was in use at a time."""
    tracemalloc.start()
    try:
        for start_at in range(0, len(wire), 65536):
            if not session.alive:
                break
            peer.feed(wire[start_at : start_at + 65536])
            gevent.idle()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_pings_are_answered() -> None:
    _, peer, _ = serving()
    peer.feed(frame(PING, 0, 0, b"12345678"))
    assert peer.frames() == [(PING, 1, 0, b"12345678")]


def test_rapid_reset() -> None:
    """Streams that are opened and reset before anybody has served them."""
    kept: list[Any] = []
    session, peer = start(False, kept.append)
    opened = b"".join(peer.head(number) + rst_stream(number, 8) for number in range(1, 20001, 2))
    assert flood(peer, opened, session) < MOST_MEMORY
    assert peer.goaway() == ENHANCE_YOUR_CALM
    assert not session.alive
    assert len(kept) <= session.config.max_streams


def test_rapid_reset_of_what_is_served_at_once_is_harmless() -> None:
    """As with any connection: a stream costs what it costs, and nothing is kept."""
    session, peer = start(False, lambda stream: stream.close())
    opened = b"".join(peer.head(number) + rst_stream(number, 8) for number in range(1, 2001, 2))
    assert flood(peer, opened, session) < MOST_MEMORY
    assert session.alive or peer.goaway() == ENHANCE_YOUR_CALM
    assert not session.stream_count


@pytest.mark.parametrize(
    ("wire", "code"),
    [
        pytest.param(frame(PING, 0, 0, bytes(8)) * 10000, ENHANCE_YOUR_CALM, id="ping"),
        pytest.param(settings([(4, 65535)]) * 10000, ENHANCE_YOUR_CALM, id="settings"),
        pytest.param(frame(SETTINGS, 1, 0) * 10000, ENHANCE_YOUR_CALM, id="settings ack"),
        pytest.param(frame(2, 0, 3, b"\0\0\0\0\x10") * 10000, ENHANCE_YOUR_CALM, id="priority"),
        pytest.param(frame(0x99, 0, 0, bytes(50)) * 10000, ENHANCE_YOUR_CALM, id="unknown"),
        pytest.param(
            frame(HEADERS, 0, 1, b"\x82") + frame(CONTINUATION, 0, 1, b"\x82" * 100) * 10000,
            ENHANCE_YOUR_CALM,
            id="continuation",
        ),
        pytest.param(
            frame(HEADERS, 0, 1) + frame(CONTINUATION, 0, 1) * 10000,
            ENHANCE_YOUR_CALM,
            id="empty continuation",
        ),
        pytest.param(bytes([0xFF, 0xFF, 0xFF]) + bytes(20), FRAME_SIZE_ERROR, id="large frame"),
    ],
)
def test_floods(wire: bytes, code: int) -> None:
    session, peer, _ = serving()
    assert flood(peer, wire, session) < MOST_MEMORY
    assert peer.goaway() == code
    assert not session.alive


def test_many_windows_in_one_frame_cost_one() -> None:
    session, peer, streams = serving()
    peer.feed(b"".join(peer.head(number) for number in range(1, 500, 2)))
    credits: list[int] = []
    for stream, _ in streams:
        session._streams[stream.id] = _Counted(credits)
    peer.feed(settings([(INITIAL_WINDOW_SIZE, 70000 + number) for number in range(1000)]))
    assert credits == [70999 - DEFAULT_WINDOW] * len(streams)


class _Counted:
    """A stream that notes changes of its window."""

    def __init__(self, credits: list[int]) -> None:
        self._credits = credits

    def credit(self, change: int) -> bool:
        self._credits.append(change)
        return True


def test_empty_data() -> None:
    session, peer, _ = serving()
    wire = peer.head(1) + frame(DATA, 0, 1) * 10000
    assert flood(peer, wire, session) < MOST_MEMORY
    assert peer.goaway() == ENHANCE_YOUR_CALM


def test_header_bomb() -> None:
    """A large line in the table, and then many references to it."""
    session, peer, _ = serving()
    line = peer.codec.encode([*CONNECT, ("a", "b" * 3000)])
    wire = frame(HEADERS, END_HEADERS, 1, line) + frame(HEADERS, END_HEADERS, 3, b"\xbe" * 16000)
    assert flood(peer, wire, session) < MOST_MEMORY
    assert peer.goaway() == ENHANCE_YOUR_CALM


def test_frames_between_data_are_no_flood() -> None:
    session, peer, streams = serving()
    peer.feed(peer.head(1))
    for _ in range(5000):
        peer.feed(frame(PING, 0, 0, bytes(8)) + frame(DATA, 0, 1, b"a"))
        streams[0][1].recv()
    assert session.alive


def test_stalled_streams_are_bounded() -> None:
    """A peer that gives no window: as many streams as are allowed wait, and nothing else."""
    session, peer, streams = serving()
    peer.feed(settings([(INITIAL_WINDOW_SIZE, 0)]))
    opened = b"".join(peer.head(number) for number in range(1, 2001, 2))
    assert flood(peer, opened, session) < MOST_MEMORY
    assert len(streams) == session.config.max_streams
    assert all(stream.pending for stream, _ in streams)


def test_a_peer_that_does_not_read_answers() -> None:
    session, peer, streams = serving()
    peer.feed(peer.head(1))
    peer.takes = False
    streams[0][1].write(b"x")
    gevent.idle()
    for _ in range(2000):
        peer.feed((frame(PING, 0, 0, bytes(8)) + frame(DATA, 0, 1, b"a")) * 100)
        if not session.alive:
            break
        streams[0][1].recv()
    assert not session.alive


def test_silence_is_found_out() -> None:
    session, peer, _, _ = asking()
    session.keep_alive(0.01, 0.03)
    gevent.sleep(0.1)
    assert not session.alive
    assert (PING, 0, 0, b"gostpy..") in peer.frames()
