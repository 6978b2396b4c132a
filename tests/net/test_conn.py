"""Conns: reading in every way, codecs, buffered bytes."""

import gevent
import pytest

from gostpy.errors import ConnectionClosed, ProtocolError, Truncated
from gostpy.net.conn import Conn, ConnInfo, format_address
from gostpy.wire.codec import Codec, Lead
from tests.net.pairs import socket_pair


@pytest.fixture
def pair():
    left, right = socket_pair()
    yield left, right
    left.close(True)
    right.close(True)


class Shift(Codec):
    """Adds a number to each byte; answers a zero byte by itself, ends at 255."""

    def __init__(self, by: int) -> None:
        super().__init__()
        self.by = by
        self.own = self.ended = False
        self.says_bye = True
        self._answer = b""

    def decode(self, data):
        plain = bytes((byte - self.by) % 256 for byte in bytes(data))
        if b"\xff" in plain:
            self.ended = True
            plain = plain.partition(b"\xff")[0]
        if b"!" in plain:
            raise ProtocolError("broken")
        if b"?" in plain:
            self._answer, self.own = self.encode(b"pong"), True
            plain = plain.replace(b"?", b"")
        return plain

    def encode(self, data):
        return bytes((byte + self.by) % 256 for byte in bytes(data))

    def take(self) -> bytes:
        answer, self._answer, self.own = self._answer, b"", False
        return answer

    def bye(self) -> None:
        self._answer, self.own = self.encode(b"\xff"), True


def coded(pair, *shifts: int) -> tuple[Conn, Conn]:
    for conn in pair:
        for by in shifts:
            conn.push(Shift(by))
    return pair


def test_reading_in_pieces(pair) -> None:
    left, right = pair
    right.sendall(b"hello world\r\nrest")
    assert left.peek(5)[:5] == b"hello"
    assert left.recv(2) == b"he"
    assert left.read_exact(3) == b"llo"
    assert left.read_until(b"\r\n") == b" world"
    left.unread(b"the ")
    assert left.recv() == b"the rest"


@pytest.mark.parametrize("cut", range(1, 13))
def test_mark_in_two_pieces(pair, cut: int) -> None:
    left, right = pair
    message = b"hello\r\n\r\nrest"
    right.sendall(message[:cut])
    reading = gevent.spawn(left.read_until, b"\r\n\r\n")
    gevent.sleep(0)
    right.sendall(message[cut:])
    right.shut()
    assert reading.get(timeout=1) == b"hello"
    assert left.read_exact(4) == b"rest"


def test_ends_inside_a_message(pair) -> None:
    left, right = pair
    right.sendall(b"abc")
    right.shut()
    with pytest.raises(Truncated, match="3 of 4"):
        left.read_exact(4)
    with pytest.raises(Truncated):
        left.read_until(b"\n")
    assert left.recv() == b"abc"
    assert left.recv() == b""


def test_limit_of_a_message(pair) -> None:
    left, right = pair
    right.sendall(b"x" * 100 + b"\n")
    with pytest.raises(ProtocolError, match="longer"):
        left.read_until(b"\n", 50)


@pytest.mark.parametrize("shifts", [(1,), (1, 2), (1, 2, 3)])
def test_codecs_nest(pair, shifts) -> None:
    left, right = coded(pair, *shifts)
    right.sendall(b"hello")
    assert left.recv() == b"hello"


def test_codec_gets_what_was_read_before_it(pair) -> None:
    left, right = pair
    right.sendall(b"plain\n" + Shift(7).encode(b"coded"))
    assert left.read_until(b"\n") == b"plain"
    left.push(Shift(7))
    assert left.read_exact(5) == b"coded"


def test_codec_answers_by_itself(pair) -> None:
    left, right = coded(pair, 1, 2)
    right.sendall(b"?data")
    assert left.recv() == b"data"
    assert right.recv() == b"pong"


def test_end_inside_a_codec(pair) -> None:
    left, right = coded(pair, 1)
    right.sendall(b"last")
    right.shut()
    assert left.read_exact(4) == b"last"
    assert left.recv() == b""
    left.sendall(b"still open")
    assert right.recv() == b"still open"


def test_broken_bytes(pair) -> None:
    left, right = coded(pair, 1)
    right.sendall(b"a!b")
    with pytest.raises(ProtocolError, match="broken"):
        left.recv()


def test_lead_rides_on_the_first_data(pair) -> None:
    left, right = pair
    left.push(Lead(b"reply "))
    left.sendall(b"data")
    assert right.recv() == b"reply data"
    left.sendall(b"more")
    assert right.recv() == b"more"


def test_lead_leaves_without_data(pair) -> None:
    left, right = pair
    left.push(Lead(b"reply"))
    left.flush()
    assert right.recv() == b"reply"


def test_closed_conn(pair) -> None:
    left, _ = pair
    ended = []
    left.on_close = ended.append
    left.close()
    left.close()
    assert ended == [left]
    with pytest.raises(ConnectionClosed):
        left.sendall(b"x")


def test_files(pair) -> None:
    left, right = pair
    with left.makefile("wb") as out:
        out.write(b"one\ntwo\n")
    assert right.makefile("r", encoding="ascii").readline() == "one\n"


def test_meter_is_paid_in_a_green_thread(pair) -> None:
    left, right = pair
    paid: list[tuple[str, int]] = []

    class Meter:
        def received(self, size: int) -> float:
            paid.append(("received", size))
            return 0.02

        def sent(self, size: int) -> float:
            paid.append(("sent", size))
            return 0.0

    left.meter = Meter()
    right.sendall(b"12345")
    assert left.recv(2) == b"12"
    assert left.recv() == b"345"
    left.sendall(b"123")
    assert paid == [("received", 5), ("sent", 3)]


ADDRESSES = [
    pytest.param(("1.2.3.4", 5), "1.2.3.4:5", id="ipv4"),
    pytest.param(("::1", 5, 0, 0), "[::1]:5", id="ipv6"),
    pytest.param(("::ffff:1.2.3.4", 5, 0, 0), "1.2.3.4:5", id="mapped"),
    pytest.param("/run/x", "/run/x", id="path"),
    pytest.param(b"\0abstract", "\0abstract", id="abstract"),
    pytest.param(None, "", id="none"),
]


@pytest.mark.parametrize(("address", "text"), ADDRESSES)
def test_addresses(address, text: str) -> None:
    assert format_address(address) == text
    assert ConnInfo(peer=address).peer_address == text
