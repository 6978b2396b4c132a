"""What is sent through tunnels, to see that it arrives."""

from __future__ import annotations

import hashlib
import socket

import gevent

from tests.netns.lab import Lab, Machine, eventually

__all__ = ["BULK", "bulk", "datagrams", "exchange", "half_close", "many", "pings", "wait_for_ping"]

BULK = hashlib.shake_128(b"tunnel").digest(1 << 20)


def wait_for_ping(machine: Machine, host: str) -> None:
    """The tunnel is there once a ping comes back."""
    eventually(lambda: machine.ping(host), f"an answer of {host}")


def pings(machine: Machine, *hosts: str) -> None:
    for host in hosts:
        assert machine.ping(host), host
        assert machine.ping(host, 3000), f"{host}, in fragments"


def bulk(lab: Lab, client: Machine, server: Machine, host: str) -> None:
    """1 MiB there and back by TCP."""
    with client.dial(host, lab.echo(server, host)) as sock:
        exchange(sock, BULK)


def exchange(sock: socket.socket, data: bytes) -> None:
    """Send, and get the same back."""
    sending = gevent.spawn(sock.sendall, data)
    found = bytearray()
    while len(found) < len(data):
        piece = sock.recv(65536)
        assert piece, f"end after {len(found)} bytes"
        found += piece
    sending.get(timeout=5)
    assert found == data


def half_close(lab: Lab, client: Machine, server: Machine, host: str) -> None:
    """The server answers after the client's end."""
    with client.dial(host, lab.echo(server, host)) as sock:
        sock.sendall(b"the end")
        sock.shutdown(socket.SHUT_WR)
        found = b""
        while piece := sock.recv(100):
            found += piece
        assert found == b"the end"


def many(lab: Lab, client: Machine, server: Machine, host: str, count: int = 50) -> None:
    """Many TCP connections at a time."""
    port = lab.echo(server, host)

    def one(number: int) -> int:
        with client.dial(host, port) as sock:
            exchange(sock, str(number).encode() * 1000)
        return number

    threads = [gevent.spawn(one, number) for number in range(count)]
    gevent.joinall(threads, timeout=20)
    assert [thread.value for thread in threads] == list(range(count))


def datagrams(
    lab: Lab, client: Machine, server: Machine, host: str, sizes: tuple[int, ...] = (1, 50, 1300)
) -> None:
    """UDP there and back, as DNS does it: short questions from new ports, then larger ones."""
    port = lab.udp_echo(server, host)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    for size in sizes:
        with client.socket(family, socket.SOCK_DGRAM) as sock:
            sock.settimeout(1)
            sock.connect((host, port))

            def asked(sock: socket.socket = sock, size: int = size) -> bool:
                sock.send(bytes(size))  # datagrams may be lost: ask again
                try:
                    return sock.recv(70000) == bytes(size)
                except TimeoutError:
                    return False

            eventually(asked, f"{size} bytes from {host}")
