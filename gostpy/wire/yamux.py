"""yamux: frames of many streams on one connection.

Wire      VERSION(1) = 0 | TYPE(1) | FLAGS(2) | STREAM(4) | LENGTH(4) | DATA, integers big-endian
          0 data           LENGTH bytes of DATA follow
          1 window update  LENGTH more bytes may be sent
          2 ping           SYN asks, ACK answers; LENGTH is an opaque value, STREAM 0
          3 go away        no new streams; LENGTH 0 normal, 1 protocol error, 2 internal error
          flags: 1 SYN opens, 2 ACK accepts, 4 FIN ends one direction, 8 RST both
Source    hashicorp/yamux spec.md
Differs   nothing known.
"""

from __future__ import annotations

import struct
from typing import Protocol

from gostpy.errors import BadVersion, ProtocolError
from gostpy.wire.codec import Buffer

__all__ = [
    "ACK",
    "DATA",
    "FIN",
    "GO_AWAY",
    "HEADER_SIZE",
    "INITIAL_WINDOW",
    "PING",
    "RST",
    "SYN",
    "WINDOW",
    "FrameReader",
    "Receiver",
    "frame",
]

DATA, WINDOW, PING, GO_AWAY = range(4)
SYN, ACK, FIN, RST = 1, 2, 4, 8

HEADER_SIZE = 12
INITIAL_WINDOW = 262144
"""Bytes that may be sent on a new stream."""

NORMAL, PROTOCOL_ERROR = 0, 1

_HEADER = struct.Struct(">BBHII")


def frame(kind: int, flags: int, stream_id: int, length: int = 0) -> bytes:
    """A frame, or the header of a data frame."""
    return _HEADER.pack(0, kind, flags, stream_id, length)


class Receiver(Protocol):
    """Gets what frames say, in the order in which it takes effect."""

    alive: bool
    """False: stop reading; looked at after each call."""

    def opened(self, stream_id: int) -> None: ...
    def accepted(self, stream_id: int) -> None: ...
    def announced(self, stream_id: int, size: int) -> None:
        """A data frame of ``size`` bytes begins. Raises ProtocolError: more than allowed."""
        ...

    def arrived(self, stream_id: int, data: Buffer) -> None:
        """Data of a stream, perhaps only a part of its frame; the view is valid during the call."""
        ...

    def credited(self, stream_id: int, size: int) -> None: ...
    def ended(self, stream_id: int) -> None: ...
    def was_reset(self, stream_id: int) -> None: ...
    def pinged(self, value: int, answer: bool) -> None: ...
    def told_to_leave(self, reason: int) -> None: ...


class FrameReader:
    """Cuts a byte stream into frames; keeps what is incomplete, at most 11 bytes of it."""

    __slots__ = ("_flags", "_left", "_part", "_receiver", "_stream")

    def __init__(self, receiver: Receiver) -> None:
        self._receiver = receiver
        self._part = b""
        self._left = 0  # bytes still to come of the data of a frame of _stream
        self._stream = 0
        self._flags = 0

    def feed(self, data: Buffer) -> None:
        """Take the next bytes. Raises ProtocolError; the reader is of no use afterwards."""
        if self._part:
            data = self._part + data
            self._part = b""
        view = memoryview(data)
        size = len(view)
        at = 0
        receiver = self._receiver
        while at < size:
            left = self._left
            if left:
                end = min(at + left, size)
                self._left = left - (end - at)
                receiver.arrived(self._stream, view[at:end])
                if not self._left and self._flags and receiver.alive:
                    self._finish(self._stream, self._flags)
                at = end
            else:
                if size - at < HEADER_SIZE:
                    break
                self._head(*_HEADER.unpack_from(view, at))
                at += HEADER_SIZE
            if not receiver.alive:
                return
        if at < size:
            self._part = bytes(view[at:])

    def _head(self, version: int, kind: int, flags: int, stream_id: int, length: int) -> None:
        if version:
            raise BadVersion(f"yamux version {version}, expected 0")
        receiver = self._receiver
        if kind <= WINDOW:
            if flags & SYN:
                receiver.opened(stream_id)
            if flags & ACK:
                receiver.accepted(stream_id)
            if kind == WINDOW:
                if length:
                    receiver.credited(stream_id, length)
            elif length:
                receiver.announced(stream_id, length)
                self._stream, self._left, self._flags = stream_id, length, flags & (FIN | RST)
                return
            if flags & (FIN | RST):
                self._finish(stream_id, flags)
        elif kind == PING:
            receiver.pinged(length, not flags & SYN)
        elif kind == GO_AWAY:
            receiver.told_to_leave(length)
        else:
            raise ProtocolError(f"yamux frame of type {kind}")

    def _finish(self, stream_id: int, flags: int) -> None:
        if flags & RST:
            self._receiver.was_reset(stream_id)
        else:
            self._receiver.ended(stream_id)
