"""simple-obfs: a conn that at first sight is a WebSocket upgrade (http) or a TLS session (tls).

Nothing is encrypted or authenticated. Both forms put the first data of each side into the fake
handshake, so neither costs a round trip.

http      client: GET with ``Upgrade: websocket``, then raw bytes; server: 101, then raw bytes.
tls       client: ClientHello record with the first data as its session ticket; server: ServerHello
          and ChangeCipherSpec records, then the first data in a record of type 22. After that both
          sides: type(1) = 23 | version(2) = 0x0303 | length(2) | data
Source    simple-obfs obfs_http.c, obfs_tls.c as gost speaks them
Differs   A first write of any size is sent whole (gost cannot encode more than 64 KiB, and its
          listener loses what is behind the first 16 KiB). A Content-Length of the http request is
          not waited for: the raw bytes are the same. An answer other than 101 or 200 is an error.
"""

from __future__ import annotations

import binascii
import hashlib
import os
import struct
import time
from collections.abc import Mapping

from gostpy.errors import HandshakeFailed, ProtocolError
from gostpy.wire.address import Reader
from gostpy.wire.codec import Buffer, Codec, decode_buffer
from gostpy.wire.http1 import HEAD_LIMIT, RequestHead, ResponseHead, canonical, head_end, is_field
from gostpy.wire.tlshello import ClientHello

__all__ = [
    "HttpClient",
    "TlsClient",
    "TlsServer",
    "http_answer",
    "http_refusal",
    "http_request",
    "http_wrong",
    "read_hello",
]

_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"

# -- http ----------------------------------------------------------------------------------------


def http_request(host: str, path: str, headers: Mapping[str, str], key: bytes) -> bytes:
    """The client's request; further headers are sorted in, as Go does.

    Raises HandshakeFailed: characters that cannot be sent.
    """
    lines = {"Connection": "Upgrade", "Upgrade": "websocket"}
    agent = "Go-http-client/1.1"
    for given, value in headers.items():
        name = canonical(given)
        if not is_field(name, value):
            raise HandshakeFailed(f"obfs: header {given!r} has characters that cannot be sent")
        if name == "User-Agent":
            agent = value
        elif name not in ("Host", "Connection", "Upgrade", "Content-Length", "Transfer-Encoding"):
            lines[name] = value
    lines["Sec-Websocket-Key"] = key.decode("ascii")
    start = f"GET {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: {agent}\r\n"
    return (start + _sorted(lines)).encode("latin-1", "replace")


def http_wrong(request: RequestHead) -> str:
    """Why a request is not one of ours, empty when it is."""
    if request.method != "GET":
        return "the method is not GET"
    if request.get("upgrade").lower() != "websocket":
        return "no upgrade to websocket"
    return ""


def http_answer(request: RequestHead, headers: Mapping[str, str]) -> bytes:
    """The server's 101."""
    lines = _ours(headers)
    key = request.get("sec-websocket-key").encode("latin-1")
    digest = hashlib.sha1(key + _GUID, usedforsecurity=False).digest()
    lines["Connection"] = "Upgrade"
    lines["Sec-Websocket-Accept"] = binascii.b2a_base64(digest, newline=False).decode()
    lines["Upgrade"] = "websocket"
    return ("HTTP/1.1 101 Switching Protocols\r\n" + _sorted(lines)).encode("latin-1", "replace")


def http_refusal(headers: Mapping[str, str]) -> bytes:
    """The server's 400."""
    lines = {**_ours(headers), "Content-Length": "0"}
    return ("HTTP/1.1 400 Bad Request\r\n" + _sorted(lines)).encode("latin-1", "replace")


def _ours(headers: Mapping[str, str]) -> dict[str, str]:
    lines = {canonical(name): value for name, value in headers.items() if is_field(name, value)}
    lines["Date"] = time.strftime("%a, %d %b %Y %H:%M:%S %Z")
    return lines


def _sorted(lines: Mapping[str, str]) -> str:
    return "".join([f"{name}: {lines[name]}\r\n" for name in sorted(lines)]) + "\r\n"


class HttpClient(Codec):
    """Holds the request back for the first data; drops the head of the answer."""

    __slots__ = ("_head", "_lead", "_through", "held")

    awaited = True

    def __init__(self, request: bytes) -> None:
        super().__init__()
        self._lead = request
        self.held = True
        self._head = b""
        self._through = False

    def encode(self, data: Buffer) -> Buffer:
        if self.held:
            return b"".join((self.take(), data))
        return data

    def take(self) -> bytes:
        lead, self._lead, self.held = self._lead, b"", False
        return lead

    def decode(self, data: Buffer) -> Buffer:
        if self._through:
            return data
        searched = len(self._head)
        self._head += bytes(data)
        end = head_end(self._head, searched)
        if (end or len(self._head)) > HEAD_LIMIT:
            raise ProtocolError(f"obfs: HTTP head longer than {HEAD_LIMIT} bytes")
        if not end:
            return b""
        head, self._head = self._head, b""
        answer = ResponseHead.parse(head[:end])
        if answer.status not in (101, 200):
            raise HandshakeFailed(f"obfs: the server answered {answer.status}")
        self._through = True
        return head[end:]


# -- tls -----------------------------------------------------------------------------------------

_TLS10, _TLS12 = 0x0301, 0x0303
_CHANGE, _HANDSHAKE, _DATA = 20, 22, 23
_LARGEST = 16384
_FIRST = 14336  # of the client's data: the hello stays within one record of a real size
_TICKET = 0x23
_HEADER = struct.Struct("!BHH")

_SUITES = struct.unpack(
    "!28H",
    bytes.fromhex(
        "c02cc030009fcca9cca8ccaac02bc02f009ec024c028006bc023c0270067c00a"
        "c0140039c009c0130033009d009c003d003c0035002f00ff"
    ),
)
_AFTER_NAME = (
    (0x0B, bytes.fromhex("03010002")),
    (0x0A, bytes.fromhex("0008001d001700190018")),
    (0x0D, bytes.fromhex("001e060106020603050105020503040104020403030103020303020102020203")),
    (0x16, b""),
    (0x17, b""),
)
_SERVER_EXTENSIONS = bytes.fromhex("000fff0100010000170000000b00020100")


def client_hello(host: str, ticket: Buffer) -> bytes:
    """The record that a client begins with."""
    name = host.encode("utf-8", "surrogateescape")[:255]
    entry = b"\x00" + len(name).to_bytes(2, "big") + name
    hello = ClientHello(
        _TLS10,
        _TLS12,
        _random(),
        os.urandom(32),
        _SUITES,
        b"\x00",
        ((_TICKET, bytes(ticket)), (0, len(entry).to_bytes(2, "big") + entry), *_AFTER_NAME),
    )
    return hello.encode()


def read_hello(reader: Reader) -> tuple[bytes, bytes]:
    """The session id and the first data of a client. Raises ProtocolError.

    The record may be longer than TLS allows: gost puts a first write of up to 64 KiB into it.
    """
    kind, version, size = _HEADER.unpack(reader.read_exact(5))
    if kind != _HANDSHAKE or version >> 8 != 3:
        raise ProtocolError("obfs: not a TLS handshake record")
    if size < 4:
        raise ProtocolError(f"obfs: TLS record of {size} bytes")
    message = reader.read_exact(size)
    if message[0] != 1 or int.from_bytes(message[1:4], "big") != size - 4:
        raise ProtocolError("obfs: not one whole ClientHello")
    hello = ClientHello.parse(message[4:], version)
    ticket = next((data for found, data in hello.extensions or () if found == _TICKET), b"")
    return hello.session_id, ticket


def server_hello(session_id: bytes) -> bytes:
    """The records that a server's first data follows."""
    body = b"".join(
        (
            b"\x03\x03",
            _random(),
            len(session_id).to_bytes(1, "big"),
            session_id,
            b"\xcc\xa8\x00",
            _SERVER_EXTENSIONS,
        )
    )
    message = b"\x02" + len(body).to_bytes(3, "big") + body
    return b"".join(
        (_HEADER.pack(_HANDSHAKE, _TLS10, len(message)), message, b"\x14\x03\x03\x00\x01\x01")
    )


def _random() -> bytes:
    return int(time.time()).to_bytes(4, "big") + os.urandom(28)


class _Records(Codec):
    """What both sides share: data in records, first some that have to come in order."""

    __slots__ = ("_expected", "_kind", "_left", "_partial", "_skipping")

    def __init__(self, before: tuple[tuple[int, int, bool], ...]) -> None:
        super().__init__()
        self._expected = list(before)  # (type, version, its data is skipped)
        self._partial = b""  # of a header
        self._left = 0  # of the current record
        self._skipping = False

    def decode(self, data: Buffer) -> Buffer:
        view = memoryview(data)
        size = len(view)
        position = min(self._left, size)
        pieces: list[Buffer] = []
        if position:
            self._left -= position
            if not self._skipping:
                if position == size:
                    return view  # the middle of a record, as most reads are
                pieces.append(view[:position])
        while position < size:
            if self._partial or size - position < 5:
                lead = self._partial
                self._partial = lead + bytes(view[position : position + 5 - len(lead)])
                position += len(self._partial) - len(lead)
                if len(self._partial) < 5:
                    break
                header, self._partial = self._partial, b""
                length = self._begin(*_HEADER.unpack(header))
            else:
                length = self._begin(*_HEADER.unpack_from(view, position))
                position += 5
            stop = min(position + length, size)
            self._left = length - (stop - position)
            if not self._skipping and stop > position:
                pieces.append(view[position:stop])
            position = stop
        if len(pieces) == 1:
            return pieces[0]
        return self._together(pieces)

    def _together(self, pieces: list[Buffer]) -> Buffer:
        buffer = decode_buffer(self.level)
        filled = sum(map(len, pieces))
        if filled > len(buffer):
            return b"".join(pieces)
        filled = 0
        for piece in pieces:
            buffer[filled : filled + len(piece)] = piece
            filled += len(piece)
        return buffer[:filled]

    def _begin(self, kind: int, version: int, size: int) -> int:
        """Check a header; returns the record's size."""
        if self._expected:
            wanted, form, self._skipping = self._expected.pop(0)
        else:
            wanted, form, self._skipping = _DATA, _TLS12, False
        if kind != wanted or version != form:
            raise ProtocolError(f"obfs: TLS record {kind}/{version:04x}, expected {wanted}")
        if size > _LARGEST:
            raise ProtocolError(f"obfs: TLS record of {size} bytes")
        return size


def _records(lead: bytes, data: Buffer, kind: int = _DATA) -> bytes:
    """``lead`` and the data in records; the first one is of another type if asked for."""
    size = len(data)
    if size <= _LARGEST:
        return b"".join((lead, _HEADER.pack(kind, _TLS12, size), data))
    view = memoryview(data)
    parts: list[Buffer] = [lead]
    for start in range(0, size, _LARGEST):
        piece = view[start : start + _LARGEST]
        parts += (_HEADER.pack(kind, _TLS12, len(piece)), piece)
        kind = _DATA
    return b"".join(parts)


class TlsClient(_Records):
    """The dialing side: its hello takes the first data along."""

    __slots__ = ("_host", "held")

    awaited = True

    def __init__(self, host: str) -> None:
        super().__init__(
            ((_HANDSHAKE, _TLS10, True), (_CHANGE, _TLS12, True), (_HANDSHAKE, _TLS12, False))
        )
        self._host = host
        self.held = True

    def encode(self, data: Buffer) -> Buffer:
        if not self.held:
            return _records(b"", data)
        self.held = False
        if len(data) <= _FIRST:
            return client_hello(self._host, data)
        view = memoryview(data)
        return _records(client_hello(self._host, view[:_FIRST]), view[_FIRST:])

    def take(self) -> bytes:
        if not self.held:
            return b""
        self.held = False
        return client_hello(self._host, b"")


class TlsServer(_Records):
    """The listening side: its hello leaves with the first data, as in gost."""

    __slots__ = ("_lead",)

    def __init__(self, session_id: bytes) -> None:
        super().__init__(())
        self._lead = server_hello(session_id)

    def encode(self, data: Buffer) -> Buffer:
        if not self._lead:
            return _records(b"", data)
        lead, self._lead = self._lead, b""
        return _records(lead, data, _HANDSHAKE)
