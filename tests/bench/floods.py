"""What a hostile peer costs the others: ``python -m tests.bench.floods [NAME ...]``.

For each flood: a bulk download runs through a pair of nodes, once left alone and once while
another peer sends 10,000 messages of the worst kind to the serving node. Printed are the share of
its speed that the download keeps, how much more memory the serving node grew by, and how the
peer's connection ended.
Needs nginx. ``--gost`` measures gost instead.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import socket
import statistics
import struct
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path as FilePath

from tests.bench.nodes import Nodes, Origin, gostpy_command
from tests.bench.paths import Path

COUNT = 10_000
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RESET, SETTINGS, PING, CONTINUATION = 0, 1, 3, 4, 6, 9
END_STREAM, END_HEADERS = 1, 4
CONNECT = b"\x02\x07CONNECT\x01\x0bexample.com"
"""A header block: ``:method CONNECT``, ``:authority example.com`` as literals."""


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """RFC 9113, section 4.1."""
    return struct.pack("!I", len(payload))[1:] + struct.pack("!BBI", kind, flags, stream) + payload


def stream_over(port: int, pieces: Callable[[], list[bytes]]) -> str:
    """Send everything on one TCP connection; how it ended."""
    with socket.create_connection(("127.0.0.1", port)) as sock:
        sock.settimeout(5)
        try:
            for piece in pieces():
                sock.sendall(piece)
        except TimeoutError:
            return "not read any more"
        except OSError:
            return "closed"
        got = b""
        try:
            while data := sock.recv(65536):
                got += data
        except TimeoutError:
            return "still open"
        except OSError:
            return "reset"
        return "closed" + (_go_away(got) if got else "")


def _go_away(data: bytes) -> str:
    """The code of a GOAWAY frame among the peer's frames."""
    while len(data) >= 9:
        size, kind = int.from_bytes(data[:3], "big"), data[3]
        if kind == 7:
            return f", GOAWAY {int.from_bytes(data[13:17], 'big')}"
        data = data[9 + size :]
    return ""


def in_lots(frames: list[bytes]) -> list[bytes]:
    return [b"".join(frames[at : at + 500]) for at in range(0, len(frames), 500)]


def http2(frames: Callable[[], list[bytes]]) -> Callable[[int], str]:
    opening = PREFACE + frame(SETTINGS, 0, 0)
    return lambda port: stream_over(port, lambda: [opening, *in_lots(frames())])


def rapid_reset() -> list[bytes]:
    cancel = struct.pack("!I", 8)
    return [
        frame(HEADERS, END_HEADERS, number, CONNECT) + frame(RESET, 0, number, cancel)
        for number in range(1, 2 * COUNT, 2)
    ]


def continuations() -> list[bytes]:
    return [frame(HEADERS, 0, 1, CONNECT), *[frame(CONTINUATION, 0, 1, b"")] * COUNT]


def unread(window: int) -> Callable[[int], str]:
    """Ask for a hundred big files with windows of this size, and read nothing."""
    ask = b"GET /big HTTP/1.1\r\nHost: a\r\n\r\n"
    frames = [PREFACE + frame(SETTINGS, 0, 0, struct.pack("!HI", 4, window))]
    frames += [frame(HEADERS, END_HEADERS, number, CONNECT) for number in range(1, 201, 2)]
    frames += [frame(DATA, 0, number, ask) for number in range(1, 201, 2)]
    return lambda port: stream_over(port, lambda: frames)


def datagrams(make: Callable[[int], bytes]) -> Callable[[int], str]:
    """From 250 addresses of this machine, as forged ones would come."""

    def flood(port: int) -> str:
        socks = []
        for number in range(250):
            sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            sock.bind((f"127.0.1.{number + 1}", 0))
            socks.append(sock)
        for number in range(COUNT):
            with contextlib.suppress(OSError):
                socks[number % 250].sendto(make(number), ("127.0.0.1", port))
        for sock in socks:
            sock.close()
        return "sent"

    return flood


def quic_initial(number: int) -> bytes:
    """A first packet of version 1 with a connection id of its own and a payload that is noise."""
    head = b"\xc3\x00\x00\x00\x01\x08" + os.urandom(8) + b"\x00\x00" + b"\x44\x9e"
    return head + os.urandom(1200 - len(head))


def client_hello(number: int) -> bytes:
    """A DTLS record with the beginning of a ClientHello."""
    return b"\x16\xfe\xfd" + bytes(8) + b"\x00\x40\x01" + os.urandom(63)


@dataclass(frozen=True)
class Flood:
    name: str
    channel: str
    send: Callable[[int], str]


FLOODS = [
    Flood("rapid reset", "h2c", http2(rapid_reset)),
    Flood("CONTINUATION", "h2c", http2(continuations)),
    Flood("SETTINGS", "h2c", http2(lambda: [frame(SETTINGS, 0, 0)] * COUNT)),
    Flood("PING", "h2c", http2(lambda: [frame(PING, 0, 0, bytes(8))] * COUNT)),
    Flood(
        "empty DATA",
        "h2c",
        http2(lambda: [frame(HEADERS, END_HEADERS, 1, CONNECT)] + [frame(DATA, 0, 1)] * COUNT),
    ),
    Flood(
        "frame of 16 MiB", "h2c", http2(lambda: [b"\xff\xff\xff\x00\x00\0\0\0\1" + bytes(65536)])
    ),
    Flood("window zero", "h2c", unread(0)),
    Flood("unread streams", "h2c", unread(1 << 20)),
    Flood("noise", "quic", datagrams(lambda _: os.urandom(1200))),
    Flood("Initial packets", "quic", datagrams(quic_initial)),
    Flood("noise", "kcp", datagrams(lambda _: os.urandom(1200))),
    Flood("ClientHello", "dtls", datagrams(client_hello)),
    Flood("noise", "dtls", datagrams(lambda _: os.urandom(1200))),
]


def peak(pid: int, reset: bool = False) -> int:
    """Most memory since the last reset, in bytes."""
    if reset:
        FilePath(f"/proc/{pid}/clear_refs").write_text("5")
    status = FilePath(f"/proc/{pid}/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) * 1024


def _send(flood: Flood, port: int, found: list[str]) -> None:
    found.append(flood.send(port))


def downloaded(port: int, seconds: float) -> int:
    """Bytes that four clients get together, of files that need not come to their end."""
    counts = [0] * 4
    end = time.monotonic() + seconds

    def client(number: int) -> None:
        while time.monotonic() < end:
            with socket.create_connection(("127.0.0.1", port)) as sock:
                sock.settimeout(5)
                sock.sendall(b"GET /big HTTP/1.0\r\n\r\n")
                while time.monotonic() < end and (data := sock.recv(1 << 18)):
                    counts[number] += len(data)

    threads = [threading.Thread(target=client, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(counts)


def measure(flood: Flood, command: list[str], target: str, rounds: int) -> str:
    where = f"tcp+{flood.channel}://{{server}}/{{target}}"
    path = Path(
        flood.name,
        ("-L", where),
        ("-L", "tcp://{entry}/{target}", "-F", f"forward+{flood.channel}://{{server}}"),
    )
    nodes = Nodes(path, command, target)
    shares, grown, ended = [], [], ""
    try:
        server = nodes.processes[0].pid
        downloaded(nodes.entry, 2)
        for _ in range(rounds):
            before = peak(server, reset=True)
            alone = downloaded(nodes.entry, 2)
            usual = peak(server) - before
            before = peak(server, reset=True)
            found: list[str] = []
            attack = threading.Timer(0.3, _send, (flood, nodes.server, found))
            attack.start()
            beside = downloaded(nodes.entry, 2)
            attack.join()
            shares.append(beside / alone)
            grown.append(peak(server) - before - usual)
            ended = found[0] if found else "failed"
    finally:
        nodes.close()
    return (
        f"{flood.channel:5} {flood.name:16} keeps {statistics.median(shares):4.0%}  "
        f"memory {statistics.median(grown) / (1 << 20):+6.1f} MiB  {ended}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help="parts of names; all by default")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--gost", action="store_true")
    chosen = parser.parse_args()
    gost = os.environ.get("GOST_BIN") or shutil.which("gost") or "gost"
    command = [gost] if chosen.gost else gostpy_command()
    origin = Origin()
    started = time.monotonic()
    try:
        for flood in FLOODS:
            label = f"{flood.channel} {flood.name}"
            if chosen.names and not any(name in label for name in chosen.names):
                continue
            print(measure(flood, command, f"127.0.0.1:{origin.port}", chosen.rounds), flush=True)
    finally:
        origin.close()
        print(f"{time.monotonic() - started:.0f} s")


if __name__ == "__main__":
    main()
