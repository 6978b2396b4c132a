"""Pipes: bytes both ways, ends, back-pressure, idle time, meters, failures."""

import hashlib

import gevent
import pytest
from gevent.event import AsyncResult

from gostpy.net import timers
from gostpy.net.conn import Conn
from gostpy.net.pipe import Pipe, pipe
from gostpy.wire.codec import Codec, Lead
from tests.net.pairs import socket_pair
from tests.net.test_endpoint import metered_pair

DATA = hashlib.shake_128(b"pipe").digest(1 << 20)


class Flip(Codec):
    """Inverts all bits."""

    def decode(self, data):
        return bytes(data).translate(TABLE)

    encode = decode


TABLE = bytes(255 - byte for byte in range(256))


def flipped_pair() -> tuple[Conn, Conn]:
    pair = socket_pair()
    for conn in pair:
        conn.push(Flip())
    return pair


class Line:
    """client - left - pipe - right - server."""

    def __init__(self, make=socket_pair, **options) -> None:
        self.client, self.left = make()
        self.right, self.server = make()
        self.done: AsyncResult = AsyncResult()
        self.options = options

    def start(self) -> Pipe:
        return pipe(self.left, self.right, self._over, **self.options)

    def _over(self, done: Pipe) -> None:
        self.done.set((done.forwarded, done.returned, done.error))

    def result(self):
        return self.done.get(timeout=3)


every = pytest.mark.parametrize(
    "make", [socket_pair, metered_pair, flipped_pair], ids=["plain", "metered", "codec"]
)


@every
def test_both_ways(make) -> None:
    line = Line(make)
    line.start()
    for source, target in ((line.client, line.server), (line.server, line.client)):
        sending = gevent.spawn(source.sendall, DATA)
        assert target.read_exact(len(DATA)) == DATA
        sending.get(timeout=1)
    line.client.close()
    line.server.close()
    assert line.result() == (len(DATA), len(DATA), None)


@every
def test_half_close(make) -> None:
    line = Line(make)
    line.start()
    line.client.sendall(b"question")
    line.client.shut()
    assert line.server.read_exact(8) == b"question"
    assert line.server.recv() == b""
    assert not line.done.ready()
    line.server.sendall(b"answer")
    line.server.close()
    assert line.client.read_exact(6) == b"answer"
    assert line.client.recv() == b""
    assert line.result() == (8, 6, None)


@every
def test_what_was_read_before_goes_first(make) -> None:
    line = Line(make)
    line.client.sendall(b"early ")
    line.left.peek(6)
    line.start()
    line.client.sendall(b"late")
    assert line.server.read_exact(10) == b"early late"


@every
def test_end_before_the_start(make) -> None:
    line = Line(make)
    line.client.sendall(b"all of it")
    line.client.shut()
    line.server.close()
    line.start()
    assert line.result()[0] == 9


@every
def test_what_waits_to_be_sent_before_the_start(make) -> None:
    """The source stays paused until the target has drained, and then is read."""
    line = Line(make)
    line.right.write(bytes(1 << 20))
    line.client.sendall(b"after")
    line.start()
    assert line.server.read_exact((1 << 20) + 5)[-5:] == b"after"
    line.server.sendall(b"back")
    assert line.client.read_exact(4) == b"back"


def test_lead_rides_on_the_first_answer() -> None:
    line = Line()
    line.left.push(Lead(b"reply "))
    line.server.sendall(b"data")
    line.start()
    gevent.sleep(0.01)
    assert line.client.recv() == b"reply data"


@every
def test_sink_that_does_not_read(make) -> None:
    """Only what buffers take is read from the source; then it goes on."""
    line = Line(make)
    relay = line.start()
    sending = gevent.spawn(line.client.sendall, DATA * 8)
    gevent.sleep(0.1)
    assert not sending.dead
    assert relay.forwarded < len(DATA) * 4
    assert line.server.read_exact(len(DATA) * 8) == DATA * 8
    sending.get(timeout=1)


@every
def test_reset(make) -> None:
    line = Line(make)
    line.start()
    line.server.sendall(bytes(1 << 16))
    line.client.close(True)
    line.server.sendall(b"x")
    line.result()
    sending = gevent.spawn(line.server.sendall, bytes(8 << 20))
    with pytest.raises(OSError):  # noqa: PT011 - reset or broken pipe, as the system has it
        sending.get(timeout=1)


@every
def test_idle(make) -> None:
    line = Line(make, idle=0.06)
    line.start()
    for _ in range(3):
        gevent.sleep(0.03)
        line.client.sendall(b"x")
        assert line.server.recv() == b"x"
    assert isinstance(line.result()[2], TimeoutError)
    assert line.client.recv() == b""


def test_cut_after_half_close() -> None:
    line = Line(cut=0.05)
    line.start()
    line.client.shut()
    assert line.server.recv() == b""
    assert line.result()[2] is None
    assert line.client.recv() == b""


class Bucket:
    """A meter of so many bytes per second, without a burst."""

    def __init__(self, rate: float) -> None:
        self.rate = rate
        self.paid = 0.0
        self.count = 0

    def received(self, size: int) -> float:
        self.count += size
        self.paid = max(self.paid, timers.now()) + size / self.rate
        return self.paid - timers.now()

    sent = received


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("back", [False, True], ids=["there", "back"])
def test_meters(side: str, back: bool) -> None:
    """A rate holds in both directions of the conn that has the meter."""
    line = Line()
    meter = Bucket(4 << 20)
    getattr(line, side).meter = meter
    line.start()
    source, target = (line.server, line.client) if back else (line.client, line.server)
    gevent.get_hub().loop.update_now()
    start = timers.now()
    sending = gevent.spawn(source.sendall, DATA)
    assert target.read_exact(len(DATA)) == DATA
    sending.get(timeout=1)
    assert 0.15 < timers.now() - start < 0.6
    assert meter.count == len(DATA)


def test_what_was_read_before_is_paid_once() -> None:
    line = Line()
    line.left.meter = meter = Bucket(1e9)
    line.client.sendall(b"12345")
    line.left.peek(5)
    line.start()
    assert line.server.read_exact(5) == b"12345"
    assert meter.count == 5


def test_broken_codec_ends_the_pipe() -> None:
    class Broken(Codec):
        def decode(self, data):
            raise ValueError("bug")

    line = Line()
    line.left.push(Broken())
    line.start()
    line.client.sendall(b"x")
    assert str(line.result()[2]) == "bug"
    assert line.server.recv() == b""
