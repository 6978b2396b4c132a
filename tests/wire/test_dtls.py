"""DTLS seen from outside: records, cookies, order."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gostpy.errors import ProtocolError
from gostpy.wire.dtls import (
    HANDSHAKE,
    RECORD_HEADER,
    REFUSAL,
    WINDOW,
    ClientHello,
    Cookies,
    InOrder,
    datagrams,
    records,
)

PEER = "192.0.2.1:4000"
TAIL = b"\x00\x02\xc0\x2b\x01\x00\x00\x00"


def record(kind: int, body: bytes, number: int = 0, epoch: int = 0) -> bytes:
    head = bytes((kind, 0xFE, 0xFF)) + epoch.to_bytes(2, "big") + number.to_bytes(6, "big")
    return head + len(body).to_bytes(2, "big") + body


def message(kind: int, body: bytes, sequence: int = 0) -> bytes:
    size = len(body).to_bytes(3, "big")
    return bytes((kind,)) + size + sequence.to_bytes(2, "big") + bytes(3) + size + body


def hello(cookie: bytes = b"", session: bytes = b"", random: bytes = bytes(32)) -> bytes:
    body = b"\xfe\xfd" + random + bytes((len(session),)) + session
    body += bytes((len(cookie),)) + cookie + TAIL
    return record(HANDSHAKE, message(1, body))


def cookie_of(answer: bytes) -> bytes:
    """Takes a HelloVerifyRequest apart by hand."""
    assert answer[0] == HANDSHAKE and answer[RECORD_HEADER] == 3
    assert int.from_bytes(answer[11:13], "big") == len(answer) - RECORD_HEADER
    assert answer[25:27] == b"\xfe\xff" and answer[27] == len(answer) - 28
    return answer[28:]


def test_records_of_a_datagram() -> None:
    datagram = record(22, b"abc", 1) + record(23, b"de", 2**32 + 5, 1)
    first, second = records(datagram)
    assert (first.kind, first.epoch, first.number) == (22, 0, 1)
    assert (second.kind, second.epoch, second.number) == (23, 1, 2**32 + 5)
    assert first.data + second.data == datagram
    assert records(datagram[:-1]) == [first]


@given(st.binary(max_size=200))
def test_any_datagram_has_records(data: bytes) -> None:
    assert b"".join(bytes(each.data) for each in records(data)) == data[: sum_of(data)]


def sum_of(data: bytes) -> int:
    return sum(len(each.data) for each in records(data))


def test_flights_are_packed() -> None:
    parts = [record(22, bytes(size), size) for size in (100, 200, 500, 50)]
    assert datagrams(b"".join(parts), 400) == [parts[0] + parts[1], parts[2], parts[3]]
    assert datagrams(b"", 400) == []


def test_cookie_exchange() -> None:
    cookies = Cookies(b"secret")
    found, answer = cookies.check(hello(), PEER, 100.0)
    assert not found
    assert len(answer) <= len(hello())  # nothing to be gained by forging the source
    second = hello(cookie_of(answer))
    assert cookies.check(second, PEER, 101.0) == (second, b"")
    assert cookies.check(second, PEER, 130.0) == (second, b"")


@pytest.mark.parametrize(
    ("peer", "now", "random"),
    [
        pytest.param("192.0.2.2:4000", 100.0, bytes(32), id="another address"),
        pytest.param("192.0.2.1:4001", 100.0, bytes(32), id="another port"),
        pytest.param(PEER, 190.0, bytes(32), id="too old"),
        pytest.param(PEER, 100.0, b"x" * 32, id="another hello"),
    ],
)
def test_cookie_holds_for_one_client_and_a_while(peer: str, now: float, random: bytes) -> None:
    cookies = Cookies(b"secret")
    cookie = cookie_of(cookies.check(hello(), PEER, 100.0)[1])
    found, answer = cookies.check(hello(cookie, random=random), peer, now)
    assert not found
    assert cookie_of(answer) != cookie


@pytest.mark.parametrize(
    "datagram",
    [
        pytest.param(b"", id="empty"),
        pytest.param(record(23, b"x" * 60), id="application data"),
        pytest.param(record(22, b""), id="empty record"),
        pytest.param(record(22, message(16, bytes(60))), id="another message"),
        pytest.param(record(22, message(1, bytes(34))), id="without session id"),
        pytest.param(record(22, message(1, bytes(35))), id="without cookie"),
        pytest.param(record(22, message(1, bytes(34) + b"\xff" + bytes(300))), id="session id"),
        pytest.param(record(22, message(1, bytes(35) + b"\xff")), id="cut cookie"),
        pytest.param(record(22, message(1, bytes(60)), epoch=1), id="epoch 1"),
        pytest.param(record(22, message(1, bytes(60))[:-1]), id="fragment"),
        pytest.param(REFUSAL, id="alert"),
    ],
)
def test_what_is_no_hello_gets_no_answer(datagram: bytes) -> None:
    assert Cookies().check(datagram, PEER, 0.0) == (b"", b"")


def test_every_cut_of_a_hello_is_refused() -> None:
    whole = hello(b"c" * 20, b"s" * 32)
    for cut in range(len(whole)):
        assert Cookies().check(whole[:cut], PEER, 0.0) == (b"", b"")


@given(st.binary(max_size=120))
def test_any_body_is_a_hello_or_an_error(body: bytes) -> None:
    (found,) = records(record(22, body))
    try:
        ClientHello.read(found)
    except ProtocolError:
        pass


@given(st.permutations(range(12)))
def test_order_is_restored(order: list[int]) -> None:
    got = InOrder()
    got.next = 0
    found = [part for number in order for part in got.take(number, b"%d" % number)]
    assert found == [b"%d" % number for number in range(12)]
    assert not got.gap


def test_records_without_data_fill_gaps() -> None:
    order = InOrder()
    assert order.take(2, b"b") == []
    assert order.gap
    assert order.take(1, b"") == [b"", b"b"]
    assert order.take(1, b"") == []
    assert order.next == 3
    order.skip(1)
    assert order.next == 3
    order.skip(7)
    assert order.take(8, b"c") == [b"c"]


def test_what_is_lost_is_noticed() -> None:
    order = InOrder()
    assert order.take(WINDOW, b"x") == []
    assert order.take(WINDOW + 1, b"") == []  # a header alone may be forged
    with pytest.raises(ProtocolError):
        order.take(WINDOW + 1, b"x")


def test_data_behind_its_place_is_an_error() -> None:
    order = InOrder()
    order.take(0, b"")
    with pytest.raises(ProtocolError):
        order.take(0, b"late")
