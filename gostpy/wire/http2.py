"""HTTP/2: frames, error codes and settings.

Wire      LENGTH(3) | TYPE(1) | FLAGS(1) | STREAM(4, top bit 0) | PAYLOAD(LENGTH), big-endian; a
          client's first bytes are PREFACE, the first frame of both sides is SETTINGS
Source    RFC 9113 sections 4, 6 and 7
Differs   nothing is pushed, and priorities are read but not used

How a byte stream is cut into frames is in wire/http2frames.py, header blocks in
wire/http2headers.py, what sessions do with them in stream/http2.py.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable

from gostpy.errors import ConnectionClosed, ProtocolError

__all__ = [
    "ACK",
    "CANCEL",
    "COMPRESSION_ERROR",
    "CONTINUATION",
    "DATA",
    "DEFAULT_FRAME_SIZE",
    "DEFAULT_WINDOW",
    "ENABLE_PUSH",
    "END_HEADERS",
    "END_STREAM",
    "ENHANCE_YOUR_CALM",
    "ERROR_NAMES",
    "FLOW_CONTROL_ERROR",
    "FRAME_SIZE_ERROR",
    "GOAWAY",
    "HEADERS",
    "HEADER_SIZE",
    "HEADER_TABLE_SIZE",
    "INITIAL_WINDOW_SIZE",
    "INTERNAL_ERROR",
    "MAX_CONCURRENT_STREAMS",
    "MAX_FRAME_SIZE",
    "MAX_HEADER_LIST_SIZE",
    "MAX_WINDOW",
    "NO_ERROR",
    "PADDED",
    "PING",
    "PREFACE",
    "PRIORITY",
    "PRIORITY_FLAG",
    "PROTOCOL_ERROR",
    "PUSH_PROMISE",
    "REFUSED_STREAM",
    "RST_STREAM",
    "SETTINGS",
    "STREAM_CLOSED",
    "WINDOW_UPDATE",
    "Http2Error",
    "StreamReset",
    "check_setting",
    "data_header",
    "frame",
    "goaway",
    "header_frames",
    "read_settings",
    "rst_stream",
    "settings",
    "window_update",
]

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
HEADER_SIZE = 9

# types of frames
DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS = 0, 1, 2, 3, 4
PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = 5, 6, 7, 8, 9

# flags
ACK = END_STREAM = 0x1
END_HEADERS, PADDED, PRIORITY_FLAG = 0x4, 0x8, 0x20

# settings
HEADER_TABLE_SIZE, ENABLE_PUSH, MAX_CONCURRENT_STREAMS = 1, 2, 3
INITIAL_WINDOW_SIZE, MAX_FRAME_SIZE, MAX_HEADER_LIST_SIZE = 4, 5, 6

# error codes
NO_ERROR, PROTOCOL_ERROR, INTERNAL_ERROR, FLOW_CONTROL_ERROR = 0, 1, 2, 3
SETTINGS_TIMEOUT, STREAM_CLOSED, FRAME_SIZE_ERROR, REFUSED_STREAM = 4, 5, 6, 7
CANCEL, COMPRESSION_ERROR, CONNECT_ERROR, ENHANCE_YOUR_CALM = 8, 9, 10, 11
INADEQUATE_SECURITY, HTTP_1_1_REQUIRED = 12, 13

ERROR_NAMES = (
    "NO_ERROR",
    "PROTOCOL_ERROR",
    "INTERNAL_ERROR",
    "FLOW_CONTROL_ERROR",
    "SETTINGS_TIMEOUT",
    "STREAM_CLOSED",
    "FRAME_SIZE_ERROR",
    "REFUSED_STREAM",
    "CANCEL",
    "COMPRESSION_ERROR",
    "CONNECT_ERROR",
    "ENHANCE_YOUR_CALM",
    "INADEQUATE_SECURITY",
    "HTTP_1_1_REQUIRED",
)

DEFAULT_WINDOW = 65535
DEFAULT_FRAME_SIZE = 16384
MAX_WINDOW = 0x7FFFFFFF
_LARGEST_FRAME = 0xFFFFFF

_HEADER = struct.Struct(">HBBBI")
_SETTING = struct.Struct(">HI")


class Http2Error(ProtocolError):
    """The peer broke a rule of the connection: it is told so by GOAWAY with ``code``."""

    def __init__(self, code: int, message: str) -> None:
        self.code = code
        super().__init__(f"{message} ({_name(code)})")


class StreamReset(ConnectionClosed):
    """A stream ended by RST_STREAM, from the peer or because of what the peer did.

    Attributes:
        code: the error code of the frame.
        remote: the peer has sent it.
    """

    def __init__(self, code: int, message: str = "", *, remote: bool = False) -> None:
        self.code = code
        self.remote = remote
        super().__init__(f"{message or 'stream was reset by the peer'} ({_name(code)})")


def _name(code: int) -> str:
    return ERROR_NAMES[code] if code < len(ERROR_NAMES) else f"error {code:#x}"


def frame(kind: int, flags: int, stream_id: int, payload: bytes = b"") -> bytes:
    """A whole frame."""
    size = len(payload)
    return _HEADER.pack(size >> 8, size & 0xFF, kind, flags, stream_id) + payload


def data_header(stream_id: int, size: int, flags: int = 0) -> bytes:
    """The nine bytes in front of the payload of a DATA frame."""
    return _HEADER.pack(size >> 8, size & 0xFF, DATA, flags, stream_id)


def header_frames(stream_id: int, block: bytes, end: bool, limit: int) -> bytes:
    """HEADERS, and as many CONTINUATION frames as a limit for payloads asks for."""
    flags = END_STREAM if end else 0
    if len(block) <= limit:
        return frame(HEADERS, flags | END_HEADERS, stream_id, block)
    frames = [frame(HEADERS, flags, stream_id, block[:limit])]
    for start in range(limit, len(block), limit):
        last = start + limit >= len(block)
        piece = block[start : start + limit]
        frames.append(frame(CONTINUATION, END_HEADERS if last else 0, stream_id, piece))
    return b"".join(frames)


def rst_stream(stream_id: int, code: int) -> bytes:
    return frame(RST_STREAM, 0, stream_id, code.to_bytes(4, "big"))


def window_update(stream_id: int, increment: int) -> bytes:
    return frame(WINDOW_UPDATE, 0, stream_id, increment.to_bytes(4, "big"))


def goaway(last_stream_id: int, code: int, reason: str = "") -> bytes:
    numbers = last_stream_id.to_bytes(4, "big") + code.to_bytes(4, "big")
    return frame(GOAWAY, 0, 0, numbers + reason.encode("ascii", "replace"))


def settings(values: Iterable[tuple[int, int]]) -> bytes:
    return frame(SETTINGS, 0, 0, b"".join([_SETTING.pack(*pair) for pair in values]))


def read_settings(payload: bytes) -> list[tuple[int, int]]:
    """Pairs of a SETTINGS payload, unknown ones too. Raises Http2Error.

    Of a setting that is there several times only the last value is given: each change of the
    window costs work for every stream.
    """
    if len(payload) % _SETTING.size:
        raise Http2Error(FRAME_SIZE_ERROR, f"SETTINGS of {len(payload)} bytes")
    pairs = list(_SETTING.iter_unpack(payload))
    for key, value in pairs:
        check_setting(key, value)
    return list(dict(pairs).items())


def check_setting(key: int, value: int) -> None:
    """Raises Http2Error: a value that the setting may not have (RFC 9113 section 6.5.2)."""
    if key == ENABLE_PUSH and value > 1:
        raise Http2Error(PROTOCOL_ERROR, f"ENABLE_PUSH is {value}")
    if key == INITIAL_WINDOW_SIZE and value > MAX_WINDOW:
        raise Http2Error(FLOW_CONTROL_ERROR, f"INITIAL_WINDOW_SIZE is {value}")
    if key == MAX_FRAME_SIZE and not DEFAULT_FRAME_SIZE <= value <= _LARGEST_FRAME:
        raise Http2Error(PROTOCOL_ERROR, f"MAX_FRAME_SIZE is {value}")
