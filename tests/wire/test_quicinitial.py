"""The server name in the first packet of a QUIC client, made by aioquic."""

import pytest
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.connection import QuicConnection
from aioquic.quic.packet import QuicProtocolVersion
from hypothesis import given
from hypothesis import strategies as st

from gostpy.errors import ProtocolError
from gostpy.wire.quicinitial import server_name

VERSIONS = [
    pytest.param(QuicProtocolVersion.VERSION_1, id="version 1"),
    pytest.param(QuicProtocolVersion.VERSION_2, id="version 2"),
]


def first_datagram(name: str | None, version: int = QuicProtocolVersion.VERSION_1) -> bytes:
    configuration = QuicConfiguration(
        is_client=True,
        server_name=name,
        alpn_protocols=["h3"],
        original_version=version,
        supported_versions=[version],
    )
    client = QuicConnection(configuration=configuration)
    client.connect(("127.0.0.1", 443), now=0.0)
    return client.datagrams_to_send(now=0.0)[0][0]


@pytest.mark.parametrize("version", VERSIONS)
def test_name(version):
    assert server_name(first_datagram("quic.example.org", version)) == "quic.example.org"


def test_no_name():
    assert server_name(first_datagram(None)) == ""


def test_more_behind_it():
    assert server_name(first_datagram("a.test") + b"\x40 another packet") == "a.test"


def first_packet() -> bytes:
    """Without the padding behind it, which the last byte must be told from."""
    while True:
        packet = first_datagram("a.test").rstrip(b"\0")
        try:
            server_name(packet)
        except ProtocolError:
            continue
        return packet


def test_cut():
    whole = first_packet()
    assert server_name(whole) == "a.test"
    for cut in range(0, len(whole), 3):
        with pytest.raises(ProtocolError):
            server_name(whole[:cut])


@given(st.integers(min_value=0), st.integers(1, 255))
def test_changed(at, bits):
    """Whatever is changed, it does not authenticate any more."""
    whole = bytearray(first_packet())
    whole[at % len(whole)] ^= bits
    with pytest.raises(ProtocolError):
        server_name(bytes(whole))


@given(st.binary(max_size=200), st.sampled_from([b"", b"\xc3\0\0\0\1", b"\xd3\x6b\x33\x43\xcf"]))
def test_any_bytes(data, lead):
    with pytest.raises(ProtocolError):
        server_name(lead + data)
