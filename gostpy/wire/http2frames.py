"""HTTP/2: cuts a byte stream into frames, for both sides.

Wire      see gostpy/wire/http2.py
Source    RFC 9113 sections 4 to 6

Data is handed over as it arrives, without waiting for the end of its frame, and that of successive
frames of one stream together. Other frames are gathered whole; the frames of a header block become
one. What one frame alone can be told to be wrong is found here: an error of the connection is
raised, one of a stream goes to ``faulty``.
"""

from __future__ import annotations

import struct
from typing import Protocol

from gostpy.wire.codec import Buffer
from gostpy.wire.http2 import (
    ACK,
    CONTINUATION,
    DATA,
    DEFAULT_FRAME_SIZE,
    END_HEADERS,
    END_STREAM,
    ENHANCE_YOUR_CALM,
    FRAME_SIZE_ERROR,
    GOAWAY,
    HEADER_SIZE,
    HEADERS,
    MAX_WINDOW,
    PADDED,
    PING,
    PREFACE,
    PRIORITY,
    PRIORITY_FLAG,
    PROTOCOL_ERROR,
    PUSH_PROMISE,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
    Http2Error,
    read_settings,
)

__all__ = ["BLOCK_LIMIT", "FrameReader", "Receiver"]

BLOCK_LIMIT = 65536
"""Bytes of a header block, compressed."""

_MOST_PIECES = 64  # CONTINUATION frames of one block

_HEADER = struct.Struct(">HBBBI")
_SIZES = {PRIORITY: 5, RST_STREAM: 4, PING: 8, WINDOW_UPDATE: 4}
_CONNECTION = frozenset({SETTINGS, PING, GOAWAY})
_STREAM = frozenset({HEADERS, PRIORITY, RST_STREAM, CONTINUATION, PUSH_PROMISE})


class Receiver(Protocol):
    """Gets frames and parts of them as they arrive."""

    alive: bool
    """False: stop reading; looked at after each call."""

    def announced(self, stream_id: int, size: int, padding: int) -> None:
        """A DATA frame with a payload of ``size`` bytes begins, ``padding`` of which are none."""
        ...

    def arrived(self, stream_id: int, data: Buffer) -> None:
        """Data of a stream: part of a frame, or several; the view is valid during the call."""
        ...

    def ended(self, stream_id: int) -> None:
        """Its DATA frame with END_STREAM is complete."""
        ...

    def headed(self, stream_id: int, block: bytes, end: bool) -> None:
        """A whole header block, compressed."""
        ...

    def was_reset(self, stream_id: int, code: int) -> None: ...
    def configured(self, pairs: list[tuple[int, int]]) -> None: ...
    def acknowledged(self) -> None:
        """The peer has taken over our settings."""
        ...

    def pinged(self, payload: bytes, answer: bool) -> None: ...
    def told_to_leave(self, last_stream_id: int, code: int) -> None: ...
    def credited(self, stream_id: int, size: int) -> None: ...
    def ignored(self, kind: int, stream_id: int) -> None:
        """PRIORITY, or a type of frame that nobody knows."""
        ...

    def faulty(self, stream_id: int, code: int, problem: str) -> None:
        """A frame is wrong in a way that ends its stream only."""
        ...


class FrameReader:
    """Keeps what is incomplete: at most one frame other than DATA, and a header block.

    Args:
        preface: the peer is a client, which begins with PREFACE.
        largest: payload of a frame, as our settings say.
    """

    __slots__ = (
        "_block",
        "_end",
        "_first",
        "_flags",
        "_heading",
        "_largest",
        "_left",
        "_need",
        "_padding",
        "_part",
        "_pieces",
        "_preface",
        "_receiver",
        "_stream",
    )

    def __init__(
        self, receiver: Receiver, *, preface: bool, largest: int = DEFAULT_FRAME_SIZE
    ) -> None:
        self._receiver = receiver
        self._preface = preface
        self._largest = largest
        self._first = True  # no frame has come yet
        self._part = bytearray()
        self._need = 0  # bytes that have to be in _part before it is looked at
        # of the DATA frame that is being read
        self._stream = 0
        self._left = 0
        self._padding = 0
        self._end = False
        # of the header block that is being gathered
        self._heading = 0  # its stream
        self._flags = 0
        self._pieces = 0
        self._block = bytearray()

    def feed(self, data: Buffer) -> None:
        """Take the next bytes. Raises Http2Error; the reader is of no use afterwards."""
        if self._need:
            self._part += data
            if len(self._part) < self._need and not (self._preface and self._differs()):
                return
            data = bytes(self._part)
            self._part.clear()
            self._need = 0
        view = memoryview(data)
        at = 0
        if self._preface:
            at = self._skip_preface(view)
            if not at:
                self._part += view
                return
        size = len(view)
        receiver = self._receiver
        gathered: list[memoryview] = []  # data of _stream
        while at < size:
            left = self._left
            if left:
                end = at + left
                if end > size:
                    end = size
                gathered.append(view[at:end])
                self._left = left - (end - at)
                at = end
            elif self._padding:
                skipped = min(self._padding, size - at)
                self._padding -= skipped
                at += skipped
            else:
                if size - at < HEADER_SIZE:
                    self._wait(HEADER_SIZE)
                    break
                high, low, kind, flags, stream_id = _HEADER.unpack_from(view, at)
                length = high << 8 | low
                if kind or stream_id != self._stream:
                    if gathered:
                        self._hand_over(gathered)
                        gathered = []
                        if not receiver.alive:
                            return
                    stream_id &= MAX_WINDOW
                self._check(kind, flags, stream_id, length)
                if kind == DATA:
                    taken = self._begin_data(flags, stream_id, length, view, at, size)
                    if not taken:
                        break
                    at += taken
                else:
                    end = at + HEADER_SIZE + length
                    if end > size:
                        self._wait(HEADER_SIZE + length)
                        break
                    payload = bytes(view[at + HEADER_SIZE : end])
                    self._act(kind, flags, stream_id, payload)
                    at = end
            if self._end and not self._left and not self._padding:
                self._end = False
                if gathered:
                    self._hand_over(gathered)
                    gathered = []
                if receiver.alive:
                    receiver.ended(self._stream)
            if not receiver.alive:
                return
        if at < size:
            self._part += view[at:]
        if gathered:
            self._hand_over(gathered)

    def _wait(self, size: int) -> None:
        self._need = size

    def _hand_over(self, pieces: list[memoryview]) -> None:
        data = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        self._receiver.arrived(self._stream, data)

    # -- the beginning ---------------------------------------------------------------------------

    def _differs(self) -> bool:
        return not PREFACE.startswith(bytes(self._part[: len(PREFACE)]))

    def _skip_preface(self, view: memoryview) -> int:
        """Its size, or 0: it is not complete. Raises Http2Error: it is something else."""
        start = bytes(view[: len(PREFACE)])
        if not PREFACE.startswith(start):
            raise Http2Error(PROTOCOL_ERROR, "the client does not speak HTTP/2")
        if len(start) < len(PREFACE):
            self._wait(len(PREFACE))
            return 0
        self._preface = False
        return len(PREFACE)

    # -- heads of frames -------------------------------------------------------------------------

    def _check(self, kind: int, flags: int, stream_id: int, length: int) -> None:
        """What the head alone says. Raises Http2Error."""
        if length > self._largest:
            raise Http2Error(FRAME_SIZE_ERROR, f"a frame of {length} bytes")
        if kind == DATA and stream_id and not self._heading and not self._first:
            return
        if self._first:
            if kind != SETTINGS or flags & ACK:
                raise Http2Error(PROTOCOL_ERROR, "the first frame is not SETTINGS")
            self._first = False
        if self._heading and (kind != CONTINUATION or stream_id != self._heading):
            raise Http2Error(PROTOCOL_ERROR, "a header block was interrupted")
        if kind in _CONNECTION:
            if stream_id:
                raise Http2Error(PROTOCOL_ERROR, f"frame of type {kind} on stream {stream_id}")
        elif not stream_id and (kind in _STREAM or kind == DATA):
            raise Http2Error(PROTOCOL_ERROR, f"frame of type {kind} on stream 0")
        if kind == CONTINUATION and not self._heading:
            raise Http2Error(PROTOCOL_ERROR, "CONTINUATION without a header block")
        expected = _SIZES.get(kind)
        if expected is not None and length != expected and kind != PRIORITY:
            raise Http2Error(FRAME_SIZE_ERROR, f"frame of type {kind} with {length} bytes")

    def _begin_data(
        self, flags: int, stream_id: int, length: int, view: memoryview, at: int, size: int
    ) -> int:
        """Take the head of a DATA frame; 0: there is more to wait for."""
        taken = HEADER_SIZE
        padding = overhead = 0
        if flags & PADDED:
            if not length:
                raise Http2Error(FRAME_SIZE_ERROR, "padding without its length")
            if size - at <= HEADER_SIZE:
                self._wait(HEADER_SIZE + 1)
                return 0
            padding = view[at + HEADER_SIZE]
            if padding >= length:
                raise Http2Error(PROTOCOL_ERROR, "more padding than there is payload")
            overhead = padding + 1
            taken += 1
        self._stream = stream_id
        self._left = length - overhead
        self._padding = padding
        self._end = bool(flags & END_STREAM)
        self._receiver.announced(stream_id, length, overhead)
        return taken

    # -- whole frames ----------------------------------------------------------------------------

    def _act(self, kind: int, flags: int, stream_id: int, payload: bytes) -> None:
        receiver = self._receiver
        if kind == WINDOW_UPDATE:
            self._credit(stream_id, int.from_bytes(payload, "big") & MAX_WINDOW)
        elif kind == HEADERS:
            self._start_block(flags, stream_id, payload)
        elif kind == CONTINUATION:
            self._add_to_block(flags, payload)
        elif kind == RST_STREAM:
            receiver.was_reset(stream_id, int.from_bytes(payload, "big"))
        elif kind == SETTINGS:
            if not flags & ACK:
                receiver.configured(read_settings(payload))
            elif payload:
                raise Http2Error(FRAME_SIZE_ERROR, "acknowledgement of settings with a payload")
            else:
                receiver.acknowledged()
        elif kind == PING:
            receiver.pinged(payload, bool(flags & ACK))
        elif kind == GOAWAY:
            if len(payload) < 8:
                raise Http2Error(FRAME_SIZE_ERROR, f"GOAWAY of {len(payload)} bytes")
            last = int.from_bytes(payload[:4], "big") & MAX_WINDOW
            receiver.told_to_leave(last, int.from_bytes(payload[4:8], "big"))
        elif kind == PUSH_PROMISE:
            raise Http2Error(PROTOCOL_ERROR, "a push although none is wanted")
        elif kind == PRIORITY and len(payload) != _SIZES[PRIORITY]:
            receiver.faulty(stream_id, FRAME_SIZE_ERROR, f"PRIORITY of {len(payload)} bytes")
        elif kind == PRIORITY and _depends_on(payload) == stream_id:
            receiver.faulty(stream_id, PROTOCOL_ERROR, "a stream that depends on itself")
        else:
            receiver.ignored(kind, stream_id)

    def _credit(self, stream_id: int, size: int) -> None:
        if size:
            self._receiver.credited(stream_id, size)
        elif stream_id:
            self._receiver.faulty(stream_id, PROTOCOL_ERROR, "WINDOW_UPDATE by nothing")
        else:
            raise Http2Error(PROTOCOL_ERROR, "WINDOW_UPDATE by nothing")

    def _start_block(self, flags: int, stream_id: int, payload: bytes) -> None:
        start, end = 0, len(payload)
        if flags & PADDED:
            if not payload:
                raise Http2Error(FRAME_SIZE_ERROR, "padding without its length")
            start, end = 1, end - payload[0]
        if flags & PRIORITY_FLAG:
            start += _SIZES[PRIORITY]
        if start > end:
            problem = "more padding than there is payload" if flags & PADDED else "cut priority"
            raise Http2Error(PROTOCOL_ERROR if flags & PADDED else FRAME_SIZE_ERROR, problem)
        if flags & PRIORITY_FLAG and _depends_on(payload[start - 5 :]) == stream_id:
            raise Http2Error(PROTOCOL_ERROR, "a stream that depends on itself")
        block = payload[start:end]
        if flags & END_HEADERS:
            self._receiver.headed(stream_id, block, bool(flags & END_STREAM))
            return
        self._heading = stream_id
        self._flags = flags
        self._pieces = 0
        self._block += block

    def _add_to_block(self, flags: int, payload: bytes) -> None:
        block = self._block
        block += payload
        self._pieces += 1
        if len(block) > BLOCK_LIMIT or self._pieces > _MOST_PIECES:
            raise Http2Error(ENHANCE_YOUR_CALM, f"header block of more than {len(block)} bytes")
        if flags & END_HEADERS:
            stream_id, self._heading = self._heading, 0
            whole = bytes(block)
            block.clear()
            self._receiver.headed(stream_id, whole, bool(self._flags & END_STREAM))


def _depends_on(payload: bytes) -> int:
    return int.from_bytes(payload[:4], "big") & MAX_WINDOW
