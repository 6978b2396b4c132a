"""Conn: one byte stream = an endpoint and a tuple of codecs.

It has the socket surface for handlers, libraries and users (``recv``, ``sendall``, ``makefile``)
and, for the relay phase, a ``sink`` that gets decoded bytes by callback: one direction of a pipe,
or a mux session.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from gevent import sleep

from gostpy.errors import ConnectionClosed, ProtocolError, Truncated
from gostpy.net.timers import timeout
from gostpy.wire.codec import Buffer, Codec

if TYPE_CHECKING:
    from gostpy.net.endpoint import Endpoint

__all__ = ["Conn", "ConnInfo", "Sink", "format_address"]


MOST_UNSENT = 4 << 20
"""Bytes that may wait for a peer that makes codecs answer (pings) and does not read."""


class Sink(Protocol):
    """Gets the decoded bytes of a conn in the relay phase. Runs on the hub; may not block."""

    def data(self, data: Buffer) -> None: ...
    def eof(self) -> None: ...
    def fail(self, error: BaseException) -> None: ...


def format_address(address: Any) -> str:
    """``host:port`` of a socket address; IPv6 in brackets; a path or name as it is.

    IPv4 in IPv6, as dual-stack sockets report it, is written as IPv4.
    """
    if isinstance(address, tuple):
        host, port = str(address[0]), address[1]
        if host.startswith("::ffff:") and "." in host:
            host = host[7:]
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    if isinstance(address, bytes):
        return address.decode("utf-8", "replace")
    return str(address or "")


@dataclass(slots=True)
class ConnInfo:
    """Facts about a conn, filled in as they become known.

    Attributes:
        peer: socket address of the other end, ``(ip, port)`` or a path.
        local: socket address of this end.
        source: the client's address when PROXY protocol or a header told another one than peer.
        destination: original destination (PROXY protocol, transparent proxying).
        tls: negotiated TLS facts (server name, version, cipher, alpn, peer certificate).
        host: name that the transport carried (Host header, SNI).
        facts: anything else, by name.
    """

    peer: Any = None
    local: Any = None
    source: Any = None
    destination: Any = None
    tls: Any = None
    host: str = ""
    facts: dict[str, Any] = field(default_factory=dict)

    @property
    def peer_address(self) -> str:
        return format_address(self.peer)

    @property
    def client_address(self) -> str:
        """The client as policies see it: ``source`` if one was told, else the peer."""
        return format_address(self.source or self.peer)


class Conn:
    """One byte stream; see the module's description."""

    __slots__ = (
        "_buffer",
        "_decoders",
        "_encoders",
        "closed",
        "codecs",
        "endpoint",
        "info",
        "meter",
        "on_close",
        "sink",
        "timeout",
    )

    def __init__(self, endpoint: Endpoint, info: ConnInfo | None = None) -> None:
        self.endpoint = endpoint
        endpoint.conn = self
        self.codecs: tuple[Codec, ...] = ()
        self._decoders: tuple[Callable[[Buffer], Buffer], ...] = ()
        self._encoders: tuple[Callable[[Buffer], Buffer], ...] = ()
        self._buffer = b""
        self.sink: Sink | None = None
        self.info = info if info is not None else ConnInfo()
        self.meter: Any = None
        self.timeout: float | None = None
        self.closed = False
        self.on_close: Callable[[Conn], None] | None = None

    def push(self, codec: Codec) -> None:
        """Put a codec on top; bytes already read and not yet consumed go through it at once."""
        codec.level = self.endpoint.level + len(self.codecs) + 1
        self.codecs += (codec,)
        self._decoders += (codec.decode,)
        self._encoders = (codec.encode, *self._encoders)
        data, self._buffer = self._buffer, b""
        if data:
            self._buffer = bytes(codec.decode(data))

    # -- the socket surface, in a green thread -------------------------------------------------

    def recv(self, size: int = 65536) -> bytes:
        """Up to ``size`` bytes; empty at end of stream. Raises OSError, ProtocolError."""
        if not self._buffer and not self._fill():
            return b""
        data = self._buffer
        if len(data) <= size:
            self._buffer = b""
            return data
        self._buffer = data[size:]
        return data[:size]

    def _fill(self) -> bool:
        """Wait for decoded bytes; False at end of stream."""
        while True:
            for codec in self.codecs:
                if codec.ended:
                    return False
                if codec.held and codec.awaited:
                    self._send_own(codec)
            if self.timeout is not None:
                with timeout(self.timeout or 0.001):
                    data = self.endpoint.recv()
            else:
                data = self.endpoint.recv()
            if not len(data):
                return False
            try:
                for codec in self.codecs:
                    data = codec.decode(data)
                    if codec.own:
                        self._send_own(codec)
            except ProtocolError:
                self._send_last_words()
                raise
            if len(data):
                self._buffer += bytes(data)
                if self.meter is not None:
                    _rest(self.meter.received(len(data)))
                return True

    def recv_into(self, buffer: Any, size: int = 0) -> int:
        data = self.recv(size or len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def read_exact(self, size: int) -> bytes:
        """Exactly ``size`` bytes. Raises Truncated at an early end of stream."""
        while len(self._buffer) < size:
            if not self._fill():
                raise Truncated(f"end of stream after {len(self._buffer)} of {size} bytes")
        data = self._buffer
        self._buffer = data[size:]
        return data[:size]

    def read_until(self, mark: bytes, limit: int = 65536) -> bytes:
        """Bytes up to ``mark``, which is consumed too.

        Raises Truncated at end of stream, ProtocolError when ``limit`` bytes hold no mark.
        """
        start = 0
        while True:
            end = self._buffer.find(mark, max(start - len(mark), 0))
            if end >= 0:
                if end > limit:
                    break
                data, self._buffer = self._buffer[:end], self._buffer[end + len(mark) :]
                return data
            start = len(self._buffer)
            if start > limit:
                break
            if not self._fill():
                raise Truncated(f"end of stream inside a message of {start} bytes")
        raise ProtocolError(f"message longer than {limit} bytes")

    def peek(self, size: int) -> bytes:
        """Wait until ``size`` bytes can be read (fewer at end of stream), without consuming."""
        while len(self._buffer) < size and self._fill():
            pass
        return self._buffer[:size]

    def unread(self, data: bytes) -> None:
        """Put bytes back in front."""
        self._buffer = bytes(data) + self._buffer

    def sendall(self, data: Buffer) -> None:
        """Encode and write everything. Raises OSError."""
        if self.closed:
            raise ConnectionClosed("connection is closed")
        size = len(data)
        for encode in self._encoders:
            data = encode(data)
        if self.timeout is not None:
            with timeout(self.timeout or 0.001):
                self.endpoint.sendall(data)
        else:
            self.endpoint.sendall(data)
        if self.meter is not None:
            _rest(self.meter.sent(size))

    def send(self, data: Buffer) -> int:
        self.sendall(data)
        return len(data)

    def flush(self) -> None:
        """Send what codecs hold back for data to ride on."""
        for codec in self.codecs:
            if codec.held:
                self._send_own(codec)

    def settimeout(self, seconds: float | None) -> None:
        self.timeout = seconds

    def gettimeout(self) -> float | None:
        return self.timeout

    def makefile(self, mode: str = "rb", buffering: int = -1, **text: Any) -> Any:
        """A file over the conn, as of ``socket.makefile``; closing it leaves the conn open."""
        raw: Any = _ConnFile(self)
        if "b" in mode and buffering == 0:
            return raw
        if "w" in mode and "r" in mode:
            raw = io.BufferedRWPair(raw, raw)
        elif "w" in mode:
            raw = io.BufferedWriter(raw)
        else:
            raw = io.BufferedReader(raw)
        return raw if "b" in mode else io.TextIOWrapper(raw, **text)

    def shutdown(self, how: int = 1) -> None:
        """End the outgoing direction (codecs say goodbye first)."""
        self.shut()

    def fileno(self) -> int:
        sock = getattr(self.endpoint, "sock", None)
        return sock.fileno() if sock is not None else -1

    def getpeername(self) -> Any:
        return self.info.peer

    def getsockname(self) -> Any:
        return self.info.local

    # -- the relay phase, on the hub -----------------------------------------------------------

    def feed(self, data: Buffer) -> None:
        """Wire bytes from the endpoint: through the codecs into the sink."""
        codecs = self.codecs
        if codecs:
            try:
                for codec in codecs:
                    data = codec.decode(data)
                    if codec.own:
                        self._send_own(codec)
            except ProtocolError:
                self._send_last_words()
                raise
        if len(data) and self.sink is not None:
            self.sink.data(data)
        for codec in codecs:
            if codec.ended and self.sink is not None:
                self.sink.eof()
                break

    @property
    def buffered(self) -> int:
        """Bytes that can be had without waiting."""
        return len(self._buffer)

    def take_buffer(self) -> bytes:
        """Bytes read and decoded, but not consumed; the caller takes them over."""
        data, self._buffer = self._buffer, b""
        return data

    def write(self, data: Buffer) -> bool:
        """Encode and write without waiting; False means: stop until the endpoint drains."""
        for encode in self._encoders:
            data = encode(data)
        return self.endpoint.write(data)

    def eof(self) -> None:
        if self.sink is not None:
            self.sink.eof()

    def fail(self, error: BaseException) -> None:
        if self.sink is not None:
            self.sink.fail(error)

    def _send_own(self, codec: Codec) -> None:
        """Send what a codec made by itself: through the codecs below it only."""
        data: Buffer = codec.take()
        for below in reversed(self.codecs[: self.codecs.index(codec)]):
            data = below.encode(data)
        if not len(data) or self.closed:
            return
        if not self.endpoint.write(data) and self.endpoint.unsent > MOST_UNSENT:
            raise ConnectionClosed("the peer asks for answers and does not read them")

    def _send_last_words(self) -> None:
        """A codec could not decode: what it has to say about that (an alert, a close frame)."""
        for codec in self.codecs:
            if codec.own:
                self._send_own(codec)

    def shut(self) -> None:
        """End the outgoing direction without waiting."""
        for codec in reversed(self.codecs):
            if codec.held or codec.says_bye:
                codec.bye()
                self._send_own(codec)
        self.endpoint.shut()

    def close(self, now: bool = False) -> None:
        """Close; what was written leaves first unless ``now``. Calling it twice is harmless."""
        if self.closed:
            return
        self.closed = True
        self.sink = None
        self.endpoint.close(now)
        callback, self.on_close = self.on_close, None
        if callback is not None:
            callback(self)


def _rest(delay: float) -> None:
    """Pay for bytes that were moved in a green thread."""
    if delay > 0.0:
        sleep(delay)


class _ConnFile(io.RawIOBase):
    """Raw file over a conn, for makefile()."""

    def __init__(self, conn: Conn) -> None:
        self._conn = conn

    def readable(self) -> bool:
        return True

    def writable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        return self._conn.recv_into(buffer)

    def write(self, data: Any) -> int:
        self._conn.sendall(bytes(data))
        return len(data)
