"""Addresses as text."""

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gostpy.addresses import (
    NetworkMap,
    fold_host,
    ip_bytes,
    ip_text,
    parse_network,
    split_host_port,
)

SPLITS = [
    ("a.com:80", ("a.com", 80)),
    ("a.com", ("a.com", None)),
    ("a.com:", ("a.com", None)),
    ("a.com:http", ("a.com", None)),
    (":80", ("", 80)),
    ("", ("", None)),
    ("[::1]:80", ("::1", 80)),
    ("[::1]", ("::1", None)),
    ("[::1", ("[::1", None)),
    ("::1", ("::1", None)),
    ("fe80::1%eth0", ("fe80::1%eth0", None)),
    ("a:²", ("a", None)),
]


@pytest.mark.parametrize(("address", "expected"), SPLITS)
def test_split(address: str, expected: tuple[str, int | None]) -> None:
    assert split_host_port(address) == expected


IPS = [
    ("1.2.3.4", b"\1\2\3\4"),
    ("::ffff:1.2.3.4", b"\1\2\3\4"),
    ("::1", b"\0" * 15 + b"\1"),
    ("0:0::1", b"\0" * 15 + b"\1"),
    ("fe80::1%eth0", b"\xfe\x80" + b"\0" * 13 + b"\1"),
    ("01.2.3.4", None),
    ("127.1", None),
    ("1.2.3.4 ", None),
    ("a.com", None),
    ("", None),
]


@pytest.mark.parametrize(("text", "packed"), IPS)
def test_ip(text: str, packed: bytes | None) -> None:
    assert ip_bytes(text) == packed
    if packed:
        assert ip_bytes(ip_text(packed)) == packed


@pytest.mark.parametrize("text", ["127.1", "0x7f.1", "0x7f000001", "2130706433", "0177.0.0.1"])
def test_legacy_spellings(text: str) -> None:
    assert ip_bytes(text, legacy=True) == b"\x7f\0\0\1"


@pytest.mark.parametrize("text", ["1.2.3.4.5", "999", "4294967296", "1.256.1.1", "x", "08.1"])
def test_legacy_is_narrow(text: str) -> None:
    assert ip_bytes(text, legacy=True) in (None, b"\0\0\3\xe7")


NETWORKS = [
    ("10.1.2.3/8", (b"\x0a\0\0\0", 8)),
    ("10.1.2.3/08", (b"\x0a\0\0\0", 8)),
    ("::ffff:10.0.0.0/104", (b"\x0a\0\0\0", 8)),
    ("::/0", (b"\0" * 16, 0)),
    ("10.0.0.0", None),
    ("10.0.0.0/", None),
    ("10.0.0.0/33", None),
    ("10.0.0.0/255.0.0.0", None),
    ("fe80::%eth0/10", None),
    ("a/8", None),
]


@pytest.mark.parametrize(("text", "expected"), NETWORKS)
def test_network(text: str, expected: tuple[bytes, int] | None) -> None:
    assert parse_network(text) == expected


def test_fold() -> None:
    assert fold_host("A.Com.") == "a.com"
    assert fold_host(".") == "."


_NETWORK = st.ip_addresses(v=4).flatmap(
    lambda ip: st.integers(0, 32).map(lambda bits: ipaddress.ip_network((ip, bits), strict=False))
)


@given(st.lists(_NETWORK, max_size=20), st.ip_addresses(v=4))
def test_widest(networks: list[ipaddress.IPv4Network], ip: ipaddress.IPv4Address) -> None:
    found: NetworkMap[str] = NetworkMap()
    for network in networks:
        parsed = parse_network(str(network))
        assert parsed is not None
        found.add(*parsed, str(network))
    around = [network for network in networks if ip in network]
    widest = min(around, key=lambda network: network.prefixlen, default=None)
    assert found.widest(ip.packed) == (str(widest) if widest else None)


@given(st.text(max_size=40))
def test_anything_may_be_written(text: str) -> None:
    split_host_port(text)
    ip_bytes(text, legacy=True)
    parse_network(text)
    fold_host(text)
