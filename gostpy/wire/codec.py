"""What a layer leaves on a conn: bytes in, bytes out, no I/O.

The same object serves the blocking handshake and the callback pump afterwards. Rules:

* ``decode`` consumes all that it is given and keeps partial frames itself. The view that it gets is
  valid only during the call; the one that it returns, until its next call.
* ``encode`` returns complete wire bytes; it may put held-back output in front.
* ``own``: there is output to send now that no application data caused (pong, key update).
* ``held``: there is output that may wait for data to ride on (TLS Finished, a relay request).
* ``awaited``: the peer says nothing before what is held has left, so a blocking read sends it.
* ``ended``: the peer's end of stream was decoded.
* ``level`` is set by the conn; it picks the decode buffer, so that nested layers do not share one.

Errors are :class:`gostpy.errors.ProtocolError`.
"""

from __future__ import annotations

from typing import TypeAlias

__all__ = ["Buffer", "Codec", "Lead", "decode_buffer"]

Buffer: TypeAlias = bytes | bytearray | memoryview

_BUFFER_SIZE = 65536 + 20000
_buffers: list[memoryview] = []


def decode_buffer(level: int) -> memoryview:
    """The shared buffer for decoded bytes at one nesting level; valid until the next decode."""
    while len(_buffers) <= level:
        _buffers.append(memoryview(bytearray(_BUFFER_SIZE)))
    return _buffers[level]


class Codec:
    """Base of all codecs: passes bytes through and never speaks by itself."""

    __slots__ = ("level",)

    own: bool = False
    held: bool = False
    awaited: bool = False
    ended: bool = False
    says_bye: bool = False

    def __init__(self) -> None:
        self.level = 0

    def decode(self, data: Buffer) -> Buffer:
        """Turn wire bytes into application bytes; may return an empty buffer."""
        return data

    def encode(self, data: Buffer) -> Buffer:
        """Turn application bytes into wire bytes."""
        return data

    def take(self) -> bytes:
        """What the codec wants sent by itself; clears ``own`` and ``held``."""
        return b""

    def bye(self) -> None:
        """Prepare the codec's end of stream (close_notify), to be fetched by ``take``."""


class Lead(Codec):
    """Holds a prefix back until the first data is written, then disappears from the path.

    A relay server's reply rides in front of the target's first bytes this way.
    """

    __slots__ = ("_lead", "held")

    def __init__(self, lead: bytes) -> None:
        super().__init__()
        self._lead = lead
        self.held = bool(lead)

    def encode(self, data: Buffer) -> Buffer:
        if self.held:
            return self.take() + bytes(data)
        return data

    def take(self) -> bytes:
        lead, self._lead, self.held = self._lead, b"", False
        return lead
