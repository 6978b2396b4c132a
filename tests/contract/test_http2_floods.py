"""One bad HTTP/2 client at a listener: it is told why it has to go, and the others go on."""

from __future__ import annotations

import socket
import tracemalloc
from collections.abc import Callable
from contextlib import suppress

import gevent
import pytest

from gostpy.wire.http2 import (
    CONTINUATION,
    ENHANCE_YOUR_CALM,
    GOAWAY,
    HEADERS,
    PING,
    PREFACE,
    PROTOCOL_ERROR,
    frame,
    header_frames,
    rst_stream,
    settings,
)
from gostpy.wire.http2headers import HeaderCodec
from tests.contract.pairing import Pair
from tests.engine.running import Stage, dial, read_exact

CONNECT = [(":method", "CONNECT"), (":authority", "h:1")]
MOST_MEMORY = 16 << 20


def rapid_reset() -> bytes:
    codec = HeaderCodec()
    return b"".join(
        header_frames(number, codec.encode(CONNECT), False, 16384) + rst_stream(number, 8)
        for number in range(1, 20001, 2)
    )


def unread_streams() -> bytes:
    """Streams with data that their target never reads, up to the windows."""
    codec = HeaderCodec()
    opened = [
        header_frames(number, codec.encode(CONNECT), False, 16384) for number in range(1, 501, 2)
    ]
    data = [frame(0, 0, number, bytes(16384)) for number in range(1, 501, 2)]
    return b"".join(opened + data * 3)


FLOODS = [
    pytest.param(rapid_reset, (ENHANCE_YOUR_CALM, None), id="rapid reset"),
    pytest.param(lambda: frame(PING, 0, 0, bytes(8)) * 10000, (ENHANCE_YOUR_CALM,), id="ping"),
    pytest.param(lambda: settings([]) * 10000, (ENHANCE_YOUR_CALM,), id="settings"),
    pytest.param(
        lambda: frame(HEADERS, 0, 1) + frame(CONTINUATION, 0, 1, bytes(100)) * 10000,
        (ENHANCE_YOUR_CALM,),
        id="continuation",
    ),
    pytest.param(lambda: frame(0, 0, 1, bytes(9)) * 9, (PROTOCOL_ERROR,), id="idle stream"),
    pytest.param(unread_streams, (3, None), id="unread"),
]


@pytest.mark.timeout(30)
@pytest.mark.parametrize(("make", "codes"), FLOODS)
def test_flood(stage: Stage, make: Callable[[], bytes], codes: tuple[int | None, ...]) -> None:
    def stuck(sock: socket.socket) -> None:
        gevent.sleep(20)

    pair = Pair(stage, "h2c", stage.serve(stuck) if make is unread_streams else stage.echo())
    wire = PREFACE + settings([]) + make()
    with dial(pair.port) as good, dial(pair.far.port("far")) as bad:
        if make is not unread_streams:
            good.sendall(b"before")
            assert read_exact(good, 6) == b"before"
        tracemalloc.start()
        try:
            reading = gevent.spawn(code_of_goaway, bad)
            with suppress(OSError):
                bad.settimeout(3)
                bad.sendall(wire)
                if None in codes:
                    bad.shutdown(socket.SHUT_WR)
            assert reading.get(timeout=10) in codes
            assert tracemalloc.get_traced_memory()[1] < MOST_MEMORY
        finally:
            tracemalloc.stop()
        if make is not unread_streams:
            good.sendall(b"after")
            assert read_exact(good, 5) == b"after"


def code_of_goaway(sock: socket.socket) -> int | None:
    """What the listener says when it ends the connection."""
    wire = b""
    with suppress(OSError):
        while piece := sock.recv(65536):
            wire += piece
    while len(wire) >= 9:
        size = int.from_bytes(wire[:3], "big")
        if wire[3] == GOAWAY:
            return int.from_bytes(wire[13:17], "big")
        wire = wire[9 + size :]
    return None
