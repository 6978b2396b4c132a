"""Handler ``http``: CONNECT, plain forwarding of ``http://`` requests, and UDP.

Order     rate limit, head, form (400), login (407 or a decoy), bypass (403), then by method and
          ``X-Gost-Protocol``: datagrams, plain forwarding, or dial (503), 200 and relay
Source    RFC 9110 section 9.3.6; go-gost/x handler/http
Differs   The first request must come within ``readTimeout``, a head has at most 64 KiB; a request
          in origin form is forwarded to its Host or Gost-Target (gost: 503), also later on a kept
          connection, where CONNECT works too; CONNECT without a host is a 400.

``Gost-Target`` and ``X-Gost-Target`` name the real host behind a decoy one; see wire/httptarget.
"""

from __future__ import annotations

import re

from gostpy.errors import AuthFailed, Denied, GostError, ProtocolError
from gostpy.interfaces import Request
from gostpy.net.conn import Conn
from gostpy.net.dial import is_ip
from gostpy.net.framed import TunnelConn
from gostpy.net.timers import timeout
from gostpy.processing.context import HandlerContext
from gostpy.processing.http.answers import Answers
from gostpy.processing.http.forwarding import Forwarder
from gostpy.processing.http.login import basic_pair, hidden_target
from gostpy.processing.http.options import HandlerOptions
from gostpy.processing.http.probe import parse_probe
from gostpy.processing.sniffing import refuse_unbuilt, relay_for
from gostpy.processing.udprelay import relay_packets
from gostpy.stream.http1 import read_request
from gostpy.wire.address import split_target
from gostpy.wire.http1 import RequestHead, with_port

__all__ = ["Handler"]

_NAME = re.compile(r"[a-zA-Z0-9_][a-zA-Z0-9_-]{0,62}(?:\.[a-zA-Z0-9_][a-zA-Z0-9_-]{0,62})*[._]?")


class Handler:
    """See the module's description."""

    def __init__(self, options: HandlerOptions, context: HandlerContext) -> None:
        refuse_unbuilt(options)
        self._context = context
        wait = options.read_timeout or 15.0
        self._wait = max(wait, 0.0)
        self._by_host = options.hash == "host"
        self._udp = options.udp
        self._udp_size = max(options.udp_buffer_size, 0)
        self._idle = max(options.idle_timeout, 0.0)
        self._answers = Answers(options.header, options.proxy_agent, options.realm)
        self._probe = parse_probe(options.probe_resist, options.knock)
        self._forwarder = Forwarder(context, keepalive=options.keepalive, timeout=self._wait)
        self._relay = relay_for(options, context, self._wait)

    def handle(self, conn: Conn) -> None:
        self._context.check_rate(conn)
        with timeout(self._wait, "no HTTP request in time"):
            head = read_request(conn)
        client: str | None = None
        while head is not None:
            request = self._admit(conn, head, client)
            if request is None:
                return
            client = request.client_id
            if request.network == "udp":
                self._relay_datagrams(conn, request)
                return
            if head.method == "CONNECT":
                self._connect(conn, request)
                return
            if not self._forwarder.forward(conn, head, request):
                return
            head = read_request(conn)

    def _admit(self, conn: Conn, head: RequestHead, client: str | None) -> Request | None:
        """What is asked for, or None when it was answered already.

        Args:    client: who has been let in on this connection before.
        Raises:  AuthFailed, Denied: it was refused, and told so.
        """
        udp = head.get("x-gost-protocol") == "udp"
        if head.method != "CONNECT" and not _is_plain(head):
            conn.sendall(self._answers.refusal(400, known=False))
            return None
        try:
            head.authority = hidden_target(head.fields) or head.authority
            address = with_port(head.authority, 80)
        except ProtocolError:
            conn.sendall(self._answers.refusal(400, known=False))
            raise
        if client is None:
            client = self._login(conn, head)
            if client is None:
                return None
        if not head.authority and not udp:
            conn.sendall(self._answers.refusal(400))
            return None
        request = self._context.request(conn, "udp" if udp else "tcp", address, client_id=client)
        if self._by_host:
            request.hash_source = address
        if not udp or head.authority:
            try:
                self._context.check_bypass(request)
            except Denied:
                conn.sendall(self._answers.refusal(403))
                raise
        return request

    def _login(self, conn: Conn, head: RequestHead) -> str | None:
        """The client's id, or None when a decoy took the conn over.

        Raises AuthFailed: it was refused, and told so.
        """
        context = self._context
        if context.authenticate is None:
            return ""
        username, password = basic_pair(head.get("proxy-authorization"))
        try:
            return context.login(conn, username, password)
        except AuthFailed:
            host = _host(head) if head.scheme or head.method == "CONNECT" else ""
            if self._probe is None or not self._probe.hides(host):
                conn.sendall(self._answers.challenge(head))
                raise
            self._probe.answer(conn, head, self._answers, context)
            if conn.sink is None:
                raise
            return None

    def _connect(self, conn: Conn, request: Request) -> None:
        context = self._context
        try:
            upstream = context.dial(request)
        except (GostError, OSError):
            conn.sendall(self._answers.refusal(503))
            raise
        try:
            conn.sendall(self._answers.established)
            self._relay(conn, upstream, request, idle=self._idle)
        except BaseException:
            upstream.close(True)
            raise

    def _relay_datagrams(self, conn: Conn, request: Request) -> None:
        """UDP over the stream; the target of CONNECT is not looked at, as in gost."""
        if not self._udp:
            conn.sendall(self._answers.udp_refused)
            raise Denied("UDP is not enabled")
        conn.sendall(self._answers.udp_ready)
        request.address = ""
        upstream = self._context.dial(request)
        relay_packets(
            self._context,
            TunnelConn(conn),
            upstream,
            request,
            idle=self._idle,
            size=self._udp_size,
        )


def _is_plain(head: RequestHead) -> bool:
    """A request that can be forwarded: for an http URL, or a host given as a bare DNS name."""
    if head.scheme or head.method == "PRI":
        return head.scheme == "http" and head.method != "PRI"
    host = head.get("host")  # no port, not an IP
    return _NAME.fullmatch(host) is not None and len(host) <= 318 and not is_ip(host)


def _host(head: RequestHead) -> str:
    try:
        return split_target(head.authority)[0]
    except ProtocolError:
        return ""
