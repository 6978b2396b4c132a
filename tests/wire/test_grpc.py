"""Messages of gRPC: any size in any pieces, and what no message is."""

import contextlib
import itertools
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gostpy.errors import ProtocolError
from gostpy.wire.grpc import MESSAGE_LIMIT, Messages, full_method, percent_encoded

BIG = random.Random(4).randbytes(3 << 20)


@pytest.mark.parametrize(
    ("path", "method"),
    [
        ("", "/GostTunel/Tunnel"),
        ("/", "/GostTunel/Tunnel"),
        ("/GostTunel/Tunnel", "/GostTunel/Tunnel"),
        ("svc", "/svc/Tunnel"),
        ("/svc/run", "/svc/run"),
        ("/svc/run/", "/svc/run"),
        ("/a/b/c", "/a/b-c"),
    ],
)
def test_method(path, method):
    """As gost's ``parsingMethod``."""
    assert full_method(path) == method


def test_status_message():
    assert percent_encoded("50% of é\n") == "50%25 of %C3%A9%0A"


@pytest.mark.parametrize(
    ("data", "wire"),
    [
        (b"hi", "00 00000004 0a 02 6869"),
        (b"a" * 127, "00 00000081 0a 7f " + "61" * 127),
        (b"a" * 300, "00 0000012f 0a ac02 " + "61" * 300),
        (b"", ""),
    ],
)
def test_as_protobuf_libraries_write_it(data, wire):
    assert bytes(Messages().encode(data)) == bytes.fromhex(wire)
    assert bytes(Messages().decode(bytes.fromhex(wire))) == data


@pytest.mark.parametrize("size", [1, 65536, 1 << 20, (1 << 20) + 1, 3 << 20])
def test_sizes(size):
    wire = bytes(Messages().encode(BIG[:size]))
    assert bytes(Messages().decode(wire)) == BIG[:size]
    codec = Messages()
    got = [bytes(codec.decode(wire[at : at + 10_007])) for at in range(0, len(wire), 10_007)]
    assert b"".join(got) == BIG[:size]


@given(st.lists(st.binary(max_size=300), max_size=5), st.lists(st.integers(0, 900), max_size=20))
def test_any_pieces(datas, cuts):
    writer, reader = Messages(), Messages()
    wire = b"".join(bytes(writer.encode(data)) for data in datas)
    ends = sorted({min(cut, len(wire)) for cut in cuts} | {0, len(wire)})
    got = b"".join(bytes(reader.decode(wire[a:b])) for a, b in itertools.pairwise(ends))
    assert got == b"".join(datas)


@pytest.mark.parametrize(
    "wire",
    [
        pytest.param("00 00000000 00 00000003 0a 01 78", id="empty message"),
        pytest.param("00 00000005 10 2a 0a 01 78", id="a number before"),
        pytest.param("00 00000006 0a 01 78 1a 01 79", id="another text behind"),
        pytest.param("00 0000000f 1d 01020304 11 0102030405060708 0a 00 00 00000003 0a 01 78"),
        pytest.param("00 00000002 0a 00 00 00000003 0a 01 78", id="empty data"),
    ],
)
def test_other_fields_are_skipped(wire):
    data = bytes.fromhex(wire)
    for cut in range(len(data)):
        codec = Messages()
        with contextlib.suppress(ProtocolError):
            assert bytes(codec.decode(data[:cut])) + bytes(codec.decode(data[cut:])) == b"x"


WRONG = [
    pytest.param("01 00000003 0a 01 78", 12, id="compressed"),
    pytest.param("00 00400001", 8, id="too large"),
    pytest.param("00 ffffffff", 8, id="giant"),
    pytest.param("00 00000003 0a 05 78", 13, id="field larger than the message"),
    pytest.param("00 00000003 0b 01 78", 13, id="group"),
    pytest.param("00 00000001 0a 00 00", 13, id="ends inside a field"),
    pytest.param("00 00000020 ffffffffffffffffffffff", 13, id="endless number"),
]


@pytest.mark.parametrize(("wire", "status"), WRONG)
def test_wrong(wire, status):
    told = []
    with pytest.raises(ProtocolError):
        Messages(lambda *status: told.append(status[0])).decode(bytes.fromhex(wire))
    assert told == [status]


def test_largest_message():
    size = MESSAGE_LIMIT - 5
    head = b"\0" + MESSAGE_LIMIT.to_bytes(4, "big") + b"\x0a\xfb\xff\xff\x01"
    assert len(bytes(Messages().decode(head + bytes(size)))) == size


@given(st.binary(max_size=200))
def test_anything(data):
    with contextlib.suppress(ProtocolError):
        Messages().decode(data)
    with contextlib.suppress(ProtocolError):
        Messages().decode(b"\0" + len(data).to_bytes(4, "big") + data)
