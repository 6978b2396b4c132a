"""Probe resistance of the http2 handler: what the unauthenticated see instead of a 407.

The kinds are those of gostpy/processing/http/probe.py. ``host`` gets the one request by HTTP/1.1.
"""

from __future__ import annotations

import contextlib
import os

from gostpy.errors import ConnectionClosed, GostError, Unsupported
from gostpy.net.dial import dial_tcp
from gostpy.net.timers import timeout
from gostpy.processing.context import HandlerContext
from gostpy.processing.http.probe import Probe
from gostpy.processing.http2.forwarding import Lines, forward, give_back
from gostpy.stream.http1 import read_response
from gostpy.stream.http2exchange import StreamExchange
from gostpy.wire.http1 import RequestHead, with_port

__all__ = ["Decoy"]

_TIMEOUT = 15.0
_PIECE = 65536


class Decoy:
    """One configured decoy.

    Args:
        lines: header lines added to its answers.
    """

    def __init__(self, probe: Probe, lines: Lines, context: HandlerContext) -> None:
        self._probe = probe
        self._lines = lines
        self._context = context

    def hides(self, host: str) -> bool:
        """Whether a request for this host is answered by the decoy."""
        return self._probe.hides(host)

    def answer(self, exchange: StreamExchange) -> None:
        """Give the decoy. Raises GostError, OSError."""
        kind, value = self._probe.kind, self._probe.value
        if kind == "code":
            digits = value.isascii() and value.isdigit() and len(value) == 3 and value >= "200"
            self._plain(exchange, int(value) if digits else 503)
        elif kind == "file":
            self._send_file(exchange, value)
        elif kind == "host":
            self._hand_over(exchange, value)
        elif kind == "web":
            self._send_page(exchange, value)
        else:
            self._plain(exchange, 503)

    def _plain(self, exchange: StreamExchange, status: int) -> None:
        exchange.respond(status, self._lines, end=True)

    def _send_file(self, exchange: StreamExchange, path: str) -> None:
        with contextlib.ExitStack() as stack:
            try:
                file = stack.enter_context(open(path, "rb"))
            except OSError:
                self._plain(exchange, 503)
                return
            left = os.fstat(file.fileno()).st_size
            kind = ("content-type", "text/html")
            conn = exchange.respond(200, [*self._lines, kind, ("content-length", str(left))])
            while left > 0 and (data := file.read(min(left, _PIECE))):
                conn.sendall(data)
                left -= len(data)

    def _hand_over(self, exchange: StreamExchange, address: str) -> None:
        try:
            upstream = dial_tcp(address)
        except (GostError, OSError):
            self._plain(exchange, 503)
            return
        request = self._context.request(exchange, "tcp", address)
        forward(self._context, exchange, upstream, request, self._lines, _TIMEOUT)

    def _send_page(self, exchange: StreamExchange, url: str) -> None:
        page = RequestHead("GET", url if url.startswith("http") else "http://" + url)
        page.target = page.path
        page.items = [
            ("Host", page.authority),
            ("User-Agent", "Go-http-client/1.1"),
            ("Connection", "close"),
        ]
        with contextlib.ExitStack() as stack, timeout(_TIMEOUT, "no decoy page in time"):
            try:
                if page.scheme != "http":
                    raise Unsupported(f"probeResist: cannot fetch {url}")
                upstream = dial_tcp(with_port(page.authority, 80))
                stack.callback(upstream.close, True)
                upstream.sendall(page.encode())
                response = read_response(upstream)
                give_back(exchange, upstream, response, self._lines)
            except ConnectionClosed:
                exchange.close(True)
            except (GostError, OSError):
                if exchange.answered:
                    exchange.close(True)
                else:
                    self._plain(exchange, 503)
