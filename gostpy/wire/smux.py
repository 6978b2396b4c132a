"""smux, versions 1 and 2: frames of many streams on one connection.

Wire      VER(1) | CMD(1) | LEN(2) | SID(4) | DATA(LEN), integers little-endian
          0 SYN  open a stream          1 FIN  close it (both directions)
          2 PSH  data                   3 NOP  keep-alive, SID 0
          4 UPD  CONSUMED(4) | WINDOW(4): bytes read in all (modulo 2^32), and how many more than
                 those may be in flight; version 2 only
Source    xtaci/smux README, frame.go
Differs   a SYN, FIN or NOP with LEN other than 0, or an UPD with LEN other than 8, is an error;
          the Go library takes no notice of LEN there.
"""

from __future__ import annotations

import struct
from typing import Protocol

from gostpy.errors import BadVersion, ProtocolError
from gostpy.wire.codec import Buffer

__all__ = [
    "FIN",
    "HEADER_SIZE",
    "INITIAL_WINDOW",
    "MAX_PAYLOAD",
    "NOP",
    "PSH",
    "SYN",
    "UPD",
    "FrameReader",
    "Receiver",
    "header",
    "window_update",
]

SYN, FIN, PSH, NOP, UPD = range(5)

HEADER_SIZE = 8
MAX_PAYLOAD = 65535
INITIAL_WINDOW = 262144
"""Bytes that may be in flight on a stream of version 2 before its first UPD."""

_HEADER = struct.Struct("<BBHI")
_UPDATE = struct.Struct("<BBHIII")
_CREDIT = struct.Struct("<II")
_CREDIT_SIZE = 8


def header(version: int, command: int, stream_id: int, length: int = 0) -> bytes:
    """The eight bytes in front of a frame's data."""
    return _HEADER.pack(version, command, length, stream_id)


def window_update(version: int, stream_id: int, consumed: int, window: int) -> bytes:
    """An UPD frame; ``consumed`` is taken modulo 2^32."""
    return _UPDATE.pack(version, UPD, _CREDIT_SIZE, stream_id, consumed & 0xFFFFFFFF, window)


class Receiver(Protocol):
    """Gets the parts of frames as they arrive."""

    alive: bool
    """False: stop reading; looked at after each call."""

    def opened(self, stream_id: int) -> None: ...
    def arrived(self, stream_id: int, data: Buffer) -> None:
        """Data of a stream: part of a frame, or several; the view is valid during the call."""
        ...

    def ended(self, stream_id: int) -> None: ...
    def credited(self, stream_id: int, consumed: int, window: int) -> None: ...


class FrameReader:
    """Cuts a byte stream into frames; keeps what is incomplete, at most 15 bytes of it."""

    __slots__ = ("_left", "_part", "_receiver", "_stream", "_version")

    def __init__(self, version: int, receiver: Receiver) -> None:
        self._version = version
        self._receiver = receiver
        self._part = b""
        self._left = 0  # bytes still to come of the data of a frame of _stream
        self._stream = 0

    def feed(self, data: Buffer) -> None:
        """Take the next bytes. Raises ProtocolError; the reader is of no use afterwards.

        Data of successive frames of one stream is handed over together.
        """
        if self._part:
            data = self._part + data
            self._part = b""
        view = memoryview(data)
        size = len(view)
        at = 0
        receiver = self._receiver
        gathered: list[memoryview] = []
        while at < size:
            left = self._left
            if left:
                end = min(at + left, size)
                self._left = left - (end - at)
                gathered.append(view[at:end])
                at = end
                continue
            if size - at < HEADER_SIZE:
                break
            version, command, length, stream_id = _HEADER.unpack_from(view, at)
            if version != self._version:
                raise BadVersion(f"smux version {version}, expected {self._version}")
            if gathered and (command != PSH or stream_id != self._stream):
                self._hand_over(gathered)
                gathered = []
                if not receiver.alive:
                    return
            if command == PSH:
                self._left = length
                self._stream = stream_id
                at += HEADER_SIZE
                continue
            if command == UPD and size - at < HEADER_SIZE + _CREDIT_SIZE and length == _CREDIT_SIZE:
                break
            at += HEADER_SIZE
            at += self._control(command, length, stream_id, view[at : at + _CREDIT_SIZE])
            if not receiver.alive:
                return
        if at < size:
            self._part = bytes(view[at:])
        if gathered:
            self._hand_over(gathered)

    def _hand_over(self, pieces: list[memoryview]) -> None:
        data = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        self._receiver.arrived(self._stream, data)

    def _control(self, command: int, length: int, stream_id: int, body: memoryview) -> int:
        """Act on a frame other than PSH; returns the size of its body."""
        if length != (_CREDIT_SIZE if command == UPD else 0) or command > UPD:
            raise ProtocolError(f"smux command {command} with {length} bytes")
        if command == SYN:
            self._receiver.opened(stream_id)
        elif command == FIN:
            self._receiver.ended(stream_id)
        elif command == UPD:
            self._receiver.credited(stream_id, *_CREDIT.unpack(body))
        return length
