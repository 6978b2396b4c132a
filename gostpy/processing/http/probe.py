"""Probe resistance: what a client without credentials gets to see instead of a 407.

``code:N``     an empty answer with that status
``web:URL``    the page at that address, fetched for every probe
``host:ADDR``  a connection to another server, which gets the request and the rest of the stream
``file:PATH``  a page from a file; 503 when it cannot be read
other types    503; a value without a colon turns the feature off

Differs   Credentials that were tried are not passed on to the ``host`` server; ``web`` has 15 s and
          no https.
"""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass

from gostpy.errors import GostError, Unsupported
from gostpy.net.conn import Conn
from gostpy.net.dial import dial_tcp
from gostpy.net.timers import timeout
from gostpy.processing.context import HandlerContext
from gostpy.processing.http.answers import Answers
from gostpy.stream.http1 import Exchange
from gostpy.wire.http1 import RequestHead, with_port

__all__ = ["Probe", "parse_probe"]

_TIMEOUT = 15.0
_PIECE = 65536


@dataclass(frozen=True, slots=True)
class Probe:
    """A configured decoy; ``knock`` is the host that is challenged all the same."""

    kind: str
    value: str
    knock: str = ""

    def hides(self, host: str) -> bool:
        """Whether a request for this host is answered by the decoy."""
        return not self.knock or host.lower() != self.knock.lower()

    def answer(
        self, conn: Conn, request: RequestHead, answers: Answers, context: HandlerContext
    ) -> None:
        """Give the decoy. Raises OSError: the client is gone."""
        if self.kind == "code":
            digits = self.value.isascii() and self.value.isdigit() and len(self.value) == 3
            conn.sendall(answers.decoy(int(self.value) if digits else 503))
        elif self.kind == "file":
            self._send_file(conn, answers)
        elif self.kind == "host":
            self._hand_over(conn, request, answers, context)
        elif self.kind == "web":
            self._send_page(conn, answers)
        else:
            conn.sendall(answers.decoy(503))

    def _send_file(self, conn: Conn, answers: Answers) -> None:
        with contextlib.ExitStack() as stack:
            try:
                file = stack.enter_context(open(self.value, "rb"))
            except OSError:
                conn.sendall(answers.decoy(503))
                return
            left = os.fstat(file.fileno()).st_size
            conn.sendall(answers.page(left))
            while left > 0 and (data := file.read(min(left, _PIECE))):
                conn.sendall(data)
                left -= len(data)

    def _hand_over(
        self, conn: Conn, request: RequestHead, answers: Answers, context: HandlerContext
    ) -> None:
        try:
            upstream = dial_tcp(self.value)
        except (GostError, OSError):
            conn.sendall(answers.decoy(503))
            return
        try:
            upstream.sendall(_as_origin(request).encode())
        except BaseException:
            upstream.close(True)
            raise
        context.relay(conn, upstream, context.request(conn, "tcp", self.value))

    def _send_page(self, conn: Conn, answers: Answers) -> None:
        url = self.value if self.value.startswith("http") else "http://" + self.value
        page = RequestHead("GET", url)
        page.target = page.path
        page.items = [
            ("Host", page.authority),
            ("User-Agent", "Go-http-client/1.1"),
            ("Connection", "close"),
        ]
        upstream: Conn | None = None
        try:
            with timeout(_TIMEOUT):
                try:
                    if page.scheme != "http":
                        raise Unsupported(f"probeResist: cannot fetch {url}")
                    upstream = dial_tcp(with_port(page.authority, 80))
                    exchange = Exchange(conn, upstream, page)
                    exchange.send()
                    response = exchange.response()
                except (GostError, OSError):
                    conn.sendall(answers.decoy(503))
                    return
                exchange.answer(response, keep=response.status == 200 and exchange.delimited)
        finally:
            if upstream is not None:
                upstream.close(True)


def _as_origin(request: RequestHead) -> RequestHead:
    """The request as an origin server would have got it."""
    target = request.target if request.method == "CONNECT" else request.path
    copy = RequestHead(request.method, target, request.version, list(request.items))
    copy.remove("host", "proxy-authorization", "proxy-connection")
    copy.items.insert(0, ("Host", request.authority))
    if not copy.get("user-agent"):
        copy.items.insert(1, ("User-Agent", "Go-http-client/1.1"))
    return copy


def parse_probe(text: str, knock: str) -> Probe | None:
    """The decoy of ``probeResist``; None for no or a value without a colon."""
    kind, colon, value = text.partition(":")
    return Probe(kind, value, knock) if colon else None
