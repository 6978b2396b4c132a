"""Endpoints: where the bytes of a conn come from and go to. An OS socket, or a stream of a mux.

A conn uses its endpoint in two phases:

* **Handshake**, in a green thread: ``recv()`` and ``sendall()`` block.
* **Relay**, on the hub: after ``start()`` the endpoint calls ``conn.feed(view)``, ``conn.eof()``
  and ``conn.fail(error)``. ``write(buffer)`` takes everything; False means "stop your source until
  ``on_drain`` is called". ``pause()`` and ``resume()`` stop and restart the source.

Callbacks run on the hub: they may not block, and may switch to a waiting greenlet only as their
last act. A view handed to ``feed`` is valid during the call only.
"""

from __future__ import annotations

import _socket
import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from gevent import get_hub, getcurrent

from gostpy.errors import ConnectionClosed
from gostpy.net import timers
from gostpy.wire.codec import Buffer

if TYPE_CHECKING:
    from gostpy.net.conn import Conn

__all__ = ["READ", "WRITE", "Endpoint", "SocketEndpoint"]

READ, WRITE = 1, 2

SHARED_SIZE = 65536
_shared = bytearray(SHARED_SIZE)
_view = memoryview(_shared)

LINGER = 30.0
"""Seconds that a closed endpoint may spend on sending what is left."""

# states of a SocketEndpoint
_SHUT, _CLOSING, _FAILED, _CLOSED = 1, 2, 4, 8


class Endpoint:
    """What every endpoint has; see the module's description for the two phases.

    Attributes:
        can_half: one direction can be ended while the other goes on.
        level: how many decode buffers lie below (0 for a socket).
        on_drain: called when everything written has left, after a write returned False.
    """

    __slots__ = ("conn", "on_drain")

    can_half: bool = False
    conn: Conn | None
    on_drain: Callable[[], Any] | None

    @property
    def level(self) -> int:
        return 0

    def recv(self) -> Buffer:
        """Wait for bytes; empty at end of stream. The view is valid until the next switch."""
        raise NotImplementedError

    def sendall(self, data: Buffer) -> None:
        """Write, and wait until everything has left."""
        raise NotImplementedError

    def start(self) -> None:
        """Begin to feed the conn."""
        raise NotImplementedError

    def read_now(self) -> None:
        """Feed what is readable without waiting."""

    def pause(self) -> None:
        raise NotImplementedError

    def resume(self) -> None:
        raise NotImplementedError

    def write(self, data: Buffer) -> bool:
        raise NotImplementedError

    @property
    def pending(self) -> bool:
        """Something written has not left yet."""
        raise NotImplementedError

    @property
    def unsent(self) -> int:
        """How many bytes have been written and have not left, where that is known."""
        return 0

    def shut(self) -> None:
        """End the outgoing direction after what was written has left."""
        raise NotImplementedError

    def close(self, now: bool = False) -> None:
        """Close after what was written has left (bounded by LINGER), or at once."""
        raise NotImplementedError


class SocketEndpoint(Endpoint):
    """A connected, non-blocking stream socket (``_socket.socket``: tcp, unix)."""

    __slots__ = (
        "_io",
        "_out",
        "_reader",
        "_state",
        "_wio",
        "_writer",
        "callback",
        "linger",
        "sock",
    )

    can_half = True

    def __init__(self, sock: _socket.socket) -> None:
        self.sock = sock
        self._io = get_hub().loop.io(sock.fileno(), READ)
        self._wio: Any = None
        self._out: bytearray | None = None
        self._state = 0
        self._reader: Any = None  # greenlets in recv and sendall, which a close must wake
        self._writer: Any = None
        self.on_drain = None
        self.conn = None
        self.callback: Callable[[], None] | None = None
        self.linger: timers.Entry | None = None

    # -- handshake phase -------------------------------------------------------------------

    def recv(self) -> Buffer:
        while True:
            try:
                return _view[: self.sock.recv_into(_shared)]
            except BlockingIOError:
                self._wait_readable()

    def _wait_readable(self) -> None:
        """Raises ConnectionClosed: it was closed meanwhile."""
        io = self._io
        reader = self._reader = getcurrent()
        io.start(reader.switch)
        try:
            get_hub().switch()
        finally:
            self._reader = None
            if not self._state & _CLOSED:
                io.stop()
        if self._state & (_CLOSING | _CLOSED):
            raise ConnectionClosed("connection was closed while reading")

    def _wake_reader(self) -> None:
        if self._reader is not None:
            self._reader.switch()

    def _wake_writer(self) -> None:
        if self._writer is not None:
            self._writer.switch()

    def sendall(self, data: Buffer) -> None:
        if self.write(data):
            return
        writer = self._writer = getcurrent()
        try:
            while self.pending and not self._state & _CLOSED:
                self.on_drain = writer.switch
                get_hub().switch()
        finally:
            self._writer = self.on_drain = None
        if self._state & (_FAILED | _CLOSED):
            raise ConnectionClosed("connection lost while sending")

    # -- source --------------------------------------------------------------------------------

    def start(self) -> None:
        if not self._state & _CLOSED:  # libev ends the process over a descriptor that is gone
            self._io.start(self.callback or self._readable)

    resume = start

    def pause(self) -> None:
        self._io.stop()

    def read_now(self) -> None:
        self._readable()

    def _readable(self) -> None:
        conn = self.conn
        if conn is None:
            return
        try:
            size = self.sock.recv_into(_shared)
            if size:
                conn.feed(_view[:size])
            else:
                self._io.stop()
                conn.eof()
        except BlockingIOError:
            pass
        except Exception as error:  # whatever it is, it ends this conn, not the loop
            self._io.stop()
            conn.fail(error)

    # -- sink ------------------------------------------------------------------------------------

    @property
    def pending(self) -> bool:
        return self._out is not None

    @property
    def unsent(self) -> int:
        return len(self._out) if self._out is not None else 0

    def write(self, data: Buffer) -> bool:
        out = self._out
        if out is not None:
            out += data
            return False
        try:
            sent = self.sock.send(data)
        except BlockingIOError:
            sent = 0
        if sent == len(data):
            return True
        self._out = bytearray(memoryview(data)[sent:])
        if self._wio is None:
            self._wio = get_hub().loop.io(self.sock.fileno(), WRITE)
        self._wio.start(self._writable)
        return False

    def _writable(self) -> None:
        out = self._out
        if out is None:
            return
        try:
            sent = self.sock.send(out)
        except BlockingIOError:
            return
        except OSError as error:
            self._lost(error)
            return
        if sent < len(out):
            del out[:sent]
            return
        self._out = None
        self._wio.stop()
        if self._state & _CLOSING:
            self.close(True)
        elif self._state & _SHUT:
            self._shutdown()
        if self.on_drain is not None:
            self.on_drain()

    def _lost(self, error: OSError) -> None:
        """Sending failed: drop what is left and tell whoever waits."""
        self._wio.stop()
        self._out = None
        self._state |= _FAILED
        if self._state & _CLOSING:
            self.close(True)
        elif self.conn is not None:
            self.conn.fail(error)
        if self.on_drain is not None:  # the source is still there
            self.on_drain()

    def shut(self) -> None:
        self._state |= _SHUT
        if self._out is None:
            self._shutdown()

    def _shutdown(self) -> None:
        try:
            self.sock.shutdown(_socket.SHUT_WR)
        except OSError:
            pass  # the peer is gone already; its side reports that

    def close(self, now: bool = False) -> None:
        state = self._state
        if state & _CLOSED:
            return
        self._io.stop()
        if self._reader is not None:
            get_hub().loop.run_callback(self._wake_reader)
        if self._out is not None and not now:
            if not state & _CLOSING:
                self._state = state | _CLOSING
                self.linger = timers.after(LINGER, lambda: self.close(True))
            return
        self._state = state | _CLOSED
        if self.linger is not None:
            self.linger.cancel()
        self._io.close()
        if self._wio is not None:
            self._wio.stop()
            self._wio.close()
            self._out = None
        self.sock.close()
        self.conn = self.on_drain = self.callback = None
        if self._writer is not None:
            get_hub().loop.run_callback(self._wake_writer)

    def detach(self) -> int:
        """Give up the file descriptor without closing it."""
        self._io.stop()
        self._io.close()
        self._state |= _CLOSED
        self.conn = None
        return os.dup(self.sock.fileno()) if self._wio is not None else self.sock.detach()
