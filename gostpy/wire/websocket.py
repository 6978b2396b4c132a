"""WebSocket frames as a byte tunnel.

Wire      FIN RSV1-3 OPCODE(4) | MASK LEN(7) | LEN(2 or 8, big-endian) | MASK(4) | payload
          (RFC 6455 §5.2); opcodes 0 continuation, 1 text, 2 binary, 8 close, 9 ping, 10 pong
Source    gost's internal/util/ws: one binary message per write; a reader concatenates payloads
Differs   payload is delivered as it arrives (gost waits for the whole message); text is not
          checked for UTF-8, as the stream is bytes

The end of a tunnel is the end of its carrier, without a close frame: that is how gost passes a
half-close on. A peer's close frame is answered and ends its direction.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Callable

from gostpy.errors import ConnectionClosed, ProtocolError
from gostpy.wire.codec import Buffer, Codec
from gostpy.wire.deflate import Deflate

__all__ = ["WebSocket", "apply_mask"]

_CONTINUATION, _TEXT, _BINARY, _CLOSE, _PING, _PONG = 0, 1, 2, 8, 9, 10
_FIN, _RSV1, _RSV, _MASKED = 0x80, 0x40, 0x70, 0x80

NORMAL, PROTOCOL_ERROR, INVALID_DATA = 1000, 1002, 1007

_LEN16 = struct.Struct("!BBH")
_LEN64 = struct.Struct("!BBQ")


def _apply_mask(data: Buffer, mask: bytes) -> bytes:
    """XOR with the repeated mask, without the compiled helper."""
    size = len(data)
    key = mask * (size // 4 + 1)
    number = int.from_bytes(data, "little") ^ int.from_bytes(key[:size], "little")
    return number.to_bytes(size, "little")


apply_mask: Callable[[Buffer, bytes], bytes]
try:
    from websockets.speedups import apply_mask
except ImportError:
    apply_mask = _apply_mask


class WebSocket(Codec):
    """One WebSocket connection after its opening handshake.

    Attributes:
        pongs: how many pongs have come.
        close_code: of the peer's close frame, 0 before, 1005 when it had none.
    """

    __slots__ = (
        "_client",
        "_compressed",
        "_deflate",
        "_final",
        "_left",
        "_mask",
        "_open",
        "_out",
        "_part",
        "_said_close",
        "close_code",
        "ended",
        "held",
        "own",
        "pongs",
    )

    def __init__(self, client: bool, deflate: Deflate | None = None) -> None:
        super().__init__()
        self._client = client
        self._deflate = deflate
        self._part: bytes = b""  # of a header, or of a control frame
        self._left = 0  # of the data frame that is being read
        self._mask = b""
        self._open = False  # a message was begun and not ended
        self._final = False  # the data frame being read ends its message
        self._compressed = False
        self._out = b""
        self._said_close = False
        self.pongs = 0
        self.close_code = 0
        self.own = self.held = self.ended = False

    # -- sending -------------------------------------------------------------------------------

    def encode(self, data: Buffer) -> Buffer:
        if self._said_close:
            raise ConnectionClosed("websocket: closed")
        if not len(data):
            return self.take()
        if self._deflate is None:
            frame = self._framed(_FIN | _BINARY, data)
        else:
            frame = self._framed(_FIN | _RSV1 | _BINARY, self._deflate.compress(data))
        return self.take() + frame if self._out else frame

    def _framed(self, first: int, data: Buffer) -> bytes:
        size = len(data)
        masked = _MASKED if self._client else 0
        if size < 126:
            head = bytes((first, masked | size))
        elif size < 65536:
            head = _LEN16.pack(first, masked | 126, size)
        else:
            head = _LEN64.pack(first, masked | 127, size)
        if not masked:
            return b"".join((head, data))
        mask = os.urandom(4)  # unpredictable (RFC 6455 §5.3)
        return b"".join((head, mask, apply_mask(data, mask)))

    def take(self) -> bytes:
        out, self._out = self._out, b""
        self.own = self.held = False
        return out

    def ping(self, payload: bytes = b"") -> None:
        """Have a ping sent with the next ``conn.flush()`` or data."""
        if not self._said_close:
            self._out += self._framed(_FIN | _PING, payload[:125])
            self.held = True

    def close(self, code: int = NORMAL) -> None:
        """Have a close frame sent with the next ``conn.flush()``; nothing can be sent after it."""
        if not self._said_close:
            self._out += self._framed(_FIN | _CLOSE, code.to_bytes(2, "big"))
            self._said_close = self.held = True

    # -- receiving -----------------------------------------------------------------------------

    def decode(self, data: Buffer) -> Buffer:
        if self._part:
            data = self._part + bytes(data)
            self._part = b""
        view = data if type(data) is memoryview else memoryview(data)
        size = len(view)
        if size > 1 and view[0] == _FIN | _BINARY and not (self._left or self._open or self.ended):
            whole = self._whole(view, size)
            if whole is not None:
                return whole
        position = 0
        pieces: list[Buffer] = []
        while position < size and not self.ended:
            left = self._left
            if not left:
                start = self._begin(view, position, size, pieces)
                if start < 0:
                    self._part = bytes(view[position:])
                    break
                position = start
                continue
            taken = min(left, size - position)
            piece: Buffer = view[position : position + taken]
            position += taken
            self._left = left - taken
            mask = self._mask
            if mask:
                piece = apply_mask(piece, mask)
                turn = taken & 3
                if turn and taken < left:
                    self._mask = mask[turn:] + mask[:turn]
            if self._compressed:
                piece = self._inflated(piece, taken == left and self._final)
            pieces.append(piece)
        if len(pieces) == 1:
            return pieces[0]
        return b"".join(pieces)

    def _whole(self, view: memoryview, size: int) -> Buffer | None:
        """The payload when the view is exactly one binary message, as it most often is."""
        length = view[1]
        if not self._client:
            length -= _MASKED
        if not 0 <= length < 127:
            return None
        at = 2
        if length == 126:
            if size < 4:
                return None
            length = view[2] << 8 | view[3]
            at = 4
        if self._client:
            return view[at:] if at + length == size else None
        if at + 4 + length != size:
            return None
        return apply_mask(view[at + 4 :], bytes(view[at : at + 4]))

    def _begin(self, view: memoryview, position: int, size: int, pieces: list[Buffer]) -> int:
        """Read a frame's header, and all of a control frame.

        Returns: where to go on; -1 when more bytes are needed.
        """
        at = position + 2
        if at > size:
            return -1
        first, second = view[position], view[position + 1]
        length = second & 127
        self._check(first, second, length)
        if length == 126:
            if at + 2 > size:
                return -1
            length = view[at] << 8 | view[at + 1]
            at += 2
        elif length == 127:
            if at + 8 > size:
                return -1
            length = int.from_bytes(view[at : at + 8], "big")
            at += 8
            if length >> 63:
                raise self._wrong("a length of 2^63 or more")
        mask = b""
        if second & _MASKED:
            if at + 4 > size:
                return -1
            mask = bytes(view[at : at + 4])
            at += 4
        if first & 8:
            if at + length > size:
                return -1
            payload = bytes(view[at : at + length])
            self._control(first & 15, apply_mask(payload, mask) if mask else payload)
            return at + length
        self._left = length
        self._mask = mask if any(mask) else b""
        self._final = bool(first & _FIN)
        self._open = not self._final
        if first & 15:
            self._compressed = bool(first & _RSV1)
        if not length and self._final and self._compressed:
            pieces.append(self._inflated(b"", True))
        return at

    def _check(self, first: int, second: int, length: int) -> None:
        """The rules that the first two bytes of a frame must keep."""
        opcode = first & 15
        reserved = first & _RSV
        if reserved and not (reserved == _RSV1 and self._deflate and opcode in (_TEXT, _BINARY)):
            raise self._wrong("reserved bits are set")
        if bool(second & _MASKED) is self._client:
            raise self._wrong("a masked frame" if self._client else "a frame without mask")
        if opcode & 8:
            if opcode > _PONG:
                raise self._wrong(f"unknown opcode {opcode}")
            if length > 125 or not first & _FIN:
                raise self._wrong("a control frame that is long or fragmented")
        elif opcode > _BINARY:
            raise self._wrong(f"unknown opcode {opcode}")
        elif opcode == _CONTINUATION and not self._open:
            raise self._wrong("a continuation of nothing")
        elif opcode != _CONTINUATION and self._open:
            raise self._wrong("a message inside a message")

    def _control(self, opcode: int, payload: bytes) -> None:
        if opcode == _PONG:
            self.pongs += 1
        elif opcode == _PING:
            if not self._said_close:
                self._out += self._framed(_FIN | _PONG, payload)
                self.own = True
        else:
            self._closed(payload)

    def _closed(self, payload: bytes) -> None:
        """The peer says goodbye: answer with its code."""
        code = int.from_bytes(payload[:2], "big") if payload else 1005
        if len(payload) == 1 or (payload and not _valid_code(code)):
            raise self._wrong("a bad close code")
        try:
            payload[2:].decode()
        except UnicodeDecodeError:
            raise self._wrong("a close reason that is not UTF-8", INVALID_DATA) from None
        self.close_code = code
        self.ended = True
        if not self._said_close:
            self._out += self._framed(_FIN | _CLOSE, payload[:2])
            self._said_close = self.own = True

    def _inflated(self, data: Buffer, last: bool) -> bytes:
        assert self._deflate is not None  # RSV1 is refused without it
        try:
            return self._deflate.decompress(data, last)
        except ProtocolError as error:
            raise self._wrong(str(error), INVALID_DATA) from error

    def _wrong(self, what: str, code: int = PROTOCOL_ERROR) -> ProtocolError:
        """The error to raise; a close frame that tells the code is ready to be sent."""
        if not self._said_close:
            self._out += self._framed(_FIN | _CLOSE, code.to_bytes(2, "big"))
            self._said_close = self.own = True
        self.ended = True
        return ProtocolError(what if what.startswith("websocket") else f"websocket: {what}")


def _valid_code(code: int) -> bool:
    """Codes that may be sent (RFC 6455 §7.4 and the registry)."""
    return 1000 <= code <= 1003 or 1007 <= code <= 1014 or 3000 <= code <= 4999
