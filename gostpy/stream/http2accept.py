"""HTTP/2 on the accepting side: which version of HTTP a client speaks, and ``Upgrade: h2c``.

Wire      PREFACE at once (prior knowledge), or an HTTP/1.1 request with ``Upgrade: h2c`` and
          ``HTTP2-Settings``, answered by 101; that request is then stream 1
Source    RFC 9113 section 3, RFC 7540 section 3.2
Differs   A request with a body is not upgraded (Go reads up to 1 MiB of it first).
"""

from __future__ import annotations

import base64
import binascii
import time
from collections.abc import Callable
from email.utils import formatdate

from gostpy.errors import ProtocolError, Truncated
from gostpy.interfaces import ExchangeRequest
from gostpy.net.conn import Conn, ConnInfo
from gostpy.net.timers import timeout
from gostpy.stream.http1 import read_request
from gostpy.stream.http2 import Config, Session, Stream
from gostpy.wire.http1 import RequestHead, client_ip, response
from gostpy.wire.http2 import PREFACE, read_settings

__all__ = ["FIRST_TIMEOUT", "accept_http2", "begins_http2", "date", "set_source"]

FIRST_TIMEOUT = 15.0
"""Seconds for the preface, or for the head of an HTTP/1.1 request."""

_NOT_IN_HTTP2 = frozenset(
    {
        "connection",
        "http2-settings",
        "keep-alive",
        "proxy-connection",
        "te",
        "transfer-encoding",
        "upgrade",
    }
)
_SWITCHING = response(101, [("Connection", "Upgrade"), ("Upgrade", "h2c")])


def accept_http2(
    conn: Conn,
    deliver: Callable[[Stream], None],
    *,
    upgrade: bool = False,
    config: Config | None = None,
) -> Session | RequestHead | None:
    """Find out what the client speaks and serve it.

    Args:
        upgrade: take up ``Upgrade: h2c``.
    Returns: a running session; the head of an HTTP/1 request; None when the client has left.
    Raises:  ProtocolError, OSError, TimeoutError.
    """
    with timeout(FIRST_TIMEOUT, "no HTTP request in time"):
        if begins_http2(conn):
            session = Session(conn, False, deliver, config)
            session.start()
            return session
        head = read_request(conn)
        if head is None or not upgrade or head.upgrade != "h2c" or head.framing:
            return head
        pairs = _settings(head)
        conn.sendall(_SWITCHING)
    session = Session(conn, False, deliver, config)
    session.apply(pairs)
    session.start(_as_fields(head))
    return session


def begins_http2(conn: Conn) -> bool:
    """Look at what comes, without taking it, until it is clear. Raises Truncated, OSError."""
    size = 1
    while True:
        start = conn.peek(size)
        if not PREFACE.startswith(start[: len(PREFACE)]):
            return False
        if len(start) >= len(PREFACE):
            return True
        if len(start) < size:
            if start:
                raise Truncated("stream ended inside the preface of HTTP/2")
            return False
        size = len(start) + 1


def _settings(head: RequestHead) -> list[tuple[int, int]]:
    """The client's first settings. Raises ProtocolError."""
    values = head.all("http2-settings")
    if len(values) != 1:
        raise ProtocolError("Upgrade: h2c without HTTP2-Settings")
    text = values[0].rstrip("=")
    try:
        payload = base64.b64decode(text + "=" * (-len(text) % 4), b"-_", validate=True)
    except (binascii.Error, ValueError) as error:
        raise ProtocolError("HTTP2-Settings are no base64") from error
    return read_settings(payload)


def _as_fields(head: RequestHead) -> list[tuple[str, str]]:
    """The request as HTTP/2 would have brought it."""
    fields = [(":method", head.method)]
    if head.method != "CONNECT":
        fields += [(":scheme", "http"), (":path", head.path)]
    fields.append((":authority", head.get("host") or head.authority))
    return fields + [
        (name.lower(), value)
        for name, value in head.items
        if name.lower() not in _NOT_IN_HTTP2 and name.lower() != "host"
    ]


def set_source(info: ConnInfo, request: ExchangeRequest) -> None:
    """Note the client that a proxy in front names; its port is not known."""
    if not request.headers:
        return
    fields = dict(reversed(request.headers))
    ip = client_ip(lambda name: fields.get(name, ""))
    if ip:
        info.source = (ip, 0)


_date: tuple[int, str] = (0, "")


def date() -> str:
    """The value of a ``date`` header; made once a second."""
    global _date
    now = int(time.time())
    if _date[0] != now:
        _date = (now, formatdate(now, usegmt=True))
    return _date[1]
