"""Routes of layer 3."""

import ipaddress
import socket

import pytest

from gostpy.net.routing import RouteEntry, RoutingTable, network_of

TABLE = RoutingTable(
    RouteEntry(network_of(text), text, gateway)
    for text, gateway in [
        ("10.1.0.0/16", "192.168.0.1"),
        ("10.0.0.0/8", "192.168.0.2"),
        ("fd01::/16", "fd00::1"),
        ("10.9.9.9", "192.168.0.3"),
        ("172.16.0.1", "192.168.0.4"),
        ("172.17.0.0/16", ""),
    ]
)


@pytest.mark.parametrize(
    ("address", "gateway"),
    [
        ("10.1.2.3", "192.168.0.1"),
        ("10.2.2.3", "192.168.0.2"),
        ("10.9.9.9", "192.168.0.2"),
        ("172.16.0.1", "192.168.0.4"),
        ("172.16.0.2", ""),
        ("172.17.0.1", ""),
        ("fd01:1::", "fd00::1"),
        ("fd02::", ""),
    ],
)
def test_first_that_fits(address: str, gateway: str) -> None:
    found = TABLE.gateway(ipaddress.ip_address(address).packed)
    assert found == (ipaddress.ip_address(gateway).packed if gateway else b"")


def test_answers_are_bounded() -> None:
    for number in range(10000):
        TABLE.gateway(number.to_bytes(4, "big"))
    assert len(TABLE._answers) <= 4096


@pytest.mark.parametrize("text", ["", "10.0.0.1", "10.0.0.0/33", "x/8", "10.0.0.0/255.0.0.0", "/"])
def test_no_network(text: str) -> None:
    assert network_of(text) is None


def test_host_bits_do_not_matter() -> None:
    network = network_of(" 10.1.2.3/16")
    assert network is not None and network.network_address.packed == socket.inet_aton("10.1.0.0")
