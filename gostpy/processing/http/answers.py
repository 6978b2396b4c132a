"""Answers of the http handler itself, byte for byte as gost gives them.

Without a body and its length, ``Connection: close`` first, the other lines sorted by name:
configured ``header`` lines everywhere, Proxy-Agent once the client is known, Proxy-Authenticate on
407. The answer to a successful CONNECT has none of the configured lines.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gostpy.errors import ConfigError
from gostpy.processing.http.options import header_lines
from gostpy.wire.http1 import RequestHead, is_field, response

__all__ = ["Answers"]

_CLOSE = ("Connection", "close")
_NO_BODY = ("Content-Length", "0")


class Answers:
    """Made once per handler. Raises ConfigError: a line that HTTP cannot carry."""

    def __init__(self, header: Mapping[str, Any], agent: str, realm: str) -> None:
        agent, realm = agent or "gost/3.0", realm or "gost"
        for key, text in (("proxyAgent", agent), ("authBasicRealm", realm)):
            if not is_field("X", text):
                raise ConfigError(f"{key}: {text!r} cannot be sent in an HTTP header line")
        self._plain = header_lines(header)
        own = [line for line in self._plain if line[0] == "Proxy-Agent"]
        self._known = self._plain if own else [*self._plain, ("Proxy-Agent", agent)]
        self._challenge = ("Proxy-Authenticate", f'Basic realm="{realm}"')
        lead = f"HTTP/1.1 200 Connection established\r\nProxy-Agent: {agent}\r\n\r\n"
        self.established = lead.encode("latin-1")
        self.udp_ready = response(200, [*self._plain, _NO_BODY])
        self.udp_refused = response(403, [*self._plain, _NO_BODY])

    def refusal(self, status: int, *, known: bool = True) -> bytes:
        """The head of a refusal; ``known``: the client has got past authentication."""
        return response(status, [_CLOSE, *sorted(self._known if known else self._plain)])

    def challenge(self, request: RequestHead) -> bytes:
        """407; a client that would repeat the request on this connection is told not to."""
        lines = [*self._plain, self._challenge]
        if request.get("proxy-connection").lower() == "keep-alive":
            lines.append(("Proxy-Connection", "close"))
        return response(407, [_CLOSE, *sorted(lines)])

    def decoy(self, status: int) -> bytes:
        """What somebody without credentials is told when it may not look like a proxy."""
        return self.refusal(status, known=False)

    def page(self, size: int) -> bytes:
        """Head of a decoy page."""
        lines = [*self._plain, ("Connection", "keep-alive"), ("Content-Type", "text/html")]
        return response(200, [("Content-Length", str(size)), *sorted(lines)])
