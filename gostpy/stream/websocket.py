"""The opening handshake of WebSocket on a conn, both sides.

Wire      RFC 6455 §4. Our request, in Go's order: GET path, Host, User-Agent, and then sorted by
          name: Connection, Sec-WebSocket-Key, Sec-WebSocket-Version, Upgrade and extra headers.
          Our answer: Upgrade, Connection, Sec-WebSocket-Accept, extensions, extra headers.
Source    gorilla/websocket as gost uses it
Differs   after an error answer the connection is closed (Go would wait for another request);
          frames that came along with the request are kept (gorilla refuses such a client)

The peer's ``CF-Connecting-IP``, first ``X-Forwarded-For`` or ``X-Real-Ip`` becomes the conn's
source, with port 0.
"""

from __future__ import annotations

import binascii
import hashlib
import os
from collections.abc import Mapping
from functools import lru_cache
from urllib.parse import quote, unquote

from gostpy.errors import HandshakeFailed, ProtocolError
from gostpy.net.conn import Conn
from gostpy.net.dial import is_ip
from gostpy.stream.http1 import read_head
from gostpy.wire.deflate import OFFER, Deflate, agree, answered
from gostpy.wire.http1 import RequestHead, ResponseHead, canonical, is_field, response
from gostpy.wire.websocket import WebSocket

__all__ = ["accept_key", "accept_websocket", "client_source", "connect_websocket", "request_target"]

_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_OURS = frozenset(
    {
        "upgrade",
        "connection",
        "sec-websocket-key",
        "sec-websocket-version",
        "sec-websocket-extensions",
    }
)
_SWITCHING = (
    "HTTP/1.1 101 Switching Protocols\r\n"
    "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: "
)
_KEY = "\0key\0"  # stands for the key in a prepared request; no header can hold it


def accept_key(key: bytes) -> str:
    """``Sec-WebSocket-Accept`` for a key."""
    digest = hashlib.sha1(key + _GUID, usedforsecurity=False).digest()
    return binascii.b2a_base64(digest, newline=False).decode()


def request_target(path: str) -> str:
    """A configured path as Go puts it on the request line."""
    path = quote(path or "/", safe="/$&+,:;=@~")
    return path if path.startswith("/") else "/" + path


# -- dialing -------------------------------------------------------------------------------------


def connect_websocket(
    conn: Conn,
    host: str,
    path: str = "/ws",
    headers: Mapping[str, str] | None = None,
    *,
    compress: bool = False,
) -> WebSocket:
    """Ask for the upgrade; leaves the codec on the conn.

    Args:
        host: value of the Host header.
        headers: further ones; Host and User-Agent replace ours.
        compress: offer permessage-deflate.

    Raises HandshakeFailed, ProtocolError, OSError. The caller sets the deadline.
    """
    key = binascii.b2a_base64(os.urandom(16), newline=False)
    before, after = _request(host, path, tuple(headers.items()) if headers else (), compress)
    conn.sendall(before + key + after)
    head = read_head(conn)
    if not head:
        raise HandshakeFailed("websocket: connection closed before the response")
    answer = ResponseHead.parse(head)
    if answer.status != 101:
        reason = f"{answer.status} {answer.reason}".strip()
        raise HandshakeFailed(f"websocket: the server answered {reason!r} to the upgrade")
    if answer.upgrade != "websocket":
        raise HandshakeFailed("websocket: the server did not upgrade")
    if answer.get("sec-websocket-accept") != accept_key(key):
        raise HandshakeFailed("websocket: the server's Sec-WebSocket-Accept is wrong")
    deflate = None
    if answer.get("sec-websocket-extensions"):
        if not compress:
            raise HandshakeFailed("websocket: the server chose an extension that was not offered")
        deflate = answered(",".join(answer.all("sec-websocket-extensions")))
    codec = WebSocket(True, deflate)
    conn.push(codec)
    return codec


@lru_cache(maxsize=256)
def _request(
    host: str, path: str, headers: tuple[tuple[str, str], ...], compress: bool
) -> tuple[bytes, bytes]:
    """What comes before and after the key."""
    lines = {
        "Connection": "Upgrade",
        "Sec-WebSocket-Key": _KEY,
        "Sec-WebSocket-Version": "13",
        "Upgrade": "websocket",
    }
    agent = "Go-http-client/1.1"
    for given, value in headers:
        name = canonical(given)
        if name.lower() in _OURS:
            raise HandshakeFailed(f"websocket: header {given!r} cannot be set")
        if not is_field(name, value):
            raise HandshakeFailed(f"websocket: header {given!r} has characters that cannot be sent")
        if name == "Host":
            host = value
        elif name == "User-Agent":
            agent = value
        else:
            lines["Sec-WebSocket-Protocol" if name == "Sec-Websocket-Protocol" else name] = value
    if compress:
        lines["Sec-WebSocket-Extensions"] = OFFER
    start = f"GET {request_target(path)} HTTP/1.1\r\nHost: {host}\r\n"
    if agent:
        start += f"User-Agent: {agent}\r\n"
    body = "".join(f"{name}: {lines[name]}\r\n" for name in sorted(lines))
    before, _, after = f"{start}{body}\r\n".encode("latin-1", "replace").partition(_KEY.encode())
    return before, after


# -- listening -----------------------------------------------------------------------------------


def accept_websocket(
    conn: Conn,
    path: str = "/ws",
    headers: Mapping[str, str] | None = None,
    *,
    compress: bool = False,
) -> WebSocket:
    """Answer an upgrade; leaves the codec on the conn.

    Args:
        path: where the tunnel is; one that ends in ``/`` stands for all below it.
        headers: further ones of the answer.
        compress: accept permessage-deflate when it is offered.

    Raises HandshakeFailed: refused, and the peer was told; the conn is of no use any more.
    ProtocolError, OSError. The caller sets the deadline.
    """
    head = read_head(conn)
    if not head:
        raise HandshakeFailed("websocket: connection closed before a request")
    try:
        request = RequestHead.parse(head)
    except ProtocolError:
        _refuse(conn, 400, "")
        raise
    _check(conn, request, path)
    agreed = agree(",".join(request.all("sec-websocket-extensions"))) if compress else None
    deflate, extension = agreed if agreed is not None else (None, "")
    conn.sendall(_answer(request, headers or {}, extension))
    info = conn.info
    info.host = request.authority
    source = client_source(request)
    if source:
        info.source = (source, 0)
    return _pushed(conn, deflate)


def _pushed(conn: Conn, deflate: Deflate | None) -> WebSocket:
    codec = WebSocket(False, deflate)
    conn.push(codec)
    return codec


def _check(conn: Conn, request: RequestHead, path: str) -> None:
    """Raises HandshakeFailed: not an upgrade that we take; the answer has been sent."""
    asked = request.path.partition("?")[0]
    if "%" in asked:
        asked = unquote(asked)
    path = path if path.startswith("/") else "/" + path
    if asked != path and not (path.endswith("/") and asked.startswith(path)):
        _refuse(conn, 404, "404 page not found\n")
        raise HandshakeFailed(f"websocket: nothing at {asked[:200]!r}")
    status, wrong = 400, ""
    if not _has(request, "connection", "upgrade"):
        wrong = "no upgrade in Connection"
    elif not _has(request, "upgrade", "websocket"):
        wrong = "no websocket in Upgrade"
    elif request.method != "GET":
        status, wrong = 405, "method is not GET"
    elif not _has(request, "sec-websocket-version", "13"):
        wrong = "version is not 13"
    elif not _is_key(request.get("sec-websocket-key")):
        wrong = "bad Sec-WebSocket-Key"
    if wrong:
        _refuse(conn, status, "Bad Request\n" if status == 400 else "Method Not Allowed\n")
        raise HandshakeFailed(f"websocket: not an upgrade: {wrong}")


def _has(request: RequestHead, name: str, token: str) -> bool:
    """The header lists the token; most often it is all that it says."""
    return request.get(name).lower() == token or request.has_token(name, token)


def _is_key(key: str) -> bool:
    try:
        return len(binascii.a2b_base64(key.encode("latin-1"), strict_mode=True)) == 16
    except ValueError:
        return False


def _refuse(conn: Conn, status: int, text: str) -> None:
    from email.utils import formatdate

    fields = [
        ("Content-Type", "text/plain; charset=utf-8"),
        ("Sec-Websocket-Version", "13"),
        ("X-Content-Type-Options", "nosniff"),
        ("Date", formatdate(usegmt=True)),
        ("Content-Length", str(len(text))),
        ("Connection", "close"),
    ]
    if status == 404:
        del fields[1]
    conn.sendall(response(status, fields) + text.encode())


def _answer(request: RequestHead, headers: Mapping[str, str], extension: str) -> bytes:
    text = _SWITCHING + accept_key(request.get("sec-websocket-key").encode("latin-1")) + "\r\n"
    if extension:
        text += f"Sec-WebSocket-Extensions: {extension}\r\n"
    for given, value in headers.items():
        name = canonical(given)
        if name not in ("Sec-Websocket-Protocol", "Sec-Websocket-Extensions"):
            text += f"{name}: {''.join(c if c > chr(31) else ' ' for c in value)}\r\n"
    return (text + "\r\n").encode("latin-1", "replace")


def client_source(request: RequestHead) -> str:
    """The client's IP as a reverse proxy told it; empty when none did, or not an address."""
    told = (
        request.get("cf-connecting-ip")
        or request.get("x-forwarded-for").partition(",")[0]
        or request.get("x-real-ip")
    ).strip()
    return told if told and is_ip(told) and "%" not in told else ""
