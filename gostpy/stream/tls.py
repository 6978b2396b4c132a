"""TLS on any conn, at any depth: the codec, and the handshake of both sides.

Everything runs on memory buffers, so a conn may be a socket, a stream of a mux, or another TLS
connection (socks5's TLS method). After the handshake the codec stays on the conn.

Wire      RFC 8446, RFC 5246
Held      the last flight of the handshake (a client's Finished, a server's tickets) rides on the
          first data
End       close_notify both ways; an end of the carrier without one counts as an end, too
Differs   gost shakes hands at the first read or write; here it is done when accept_tls returns
"""

from __future__ import annotations

import _ssl
from typing import Any

from gostpy.errors import ConnectionClosed, HandshakeFailed, ProtocolError
from gostpy.net.conn import Conn
from gostpy.stream.tlscontext import ClientContext, Remembered, ServerContext
from gostpy.wire.codec import Buffer, Codec, decode_buffer

__all__ = [
    "TLS",
    "ClientContext",
    "ServerContext",
    "accept_tls",
    "asked_name",
    "connect_tls",
    "host_of",
]

# A MemoryBIO never gives back what it once grew to: it is fed and drained in pieces.
_SLICE = 32768
_RECORD = 16384

_WantRead = _ssl.SSLWantReadError


class TLS(Codec):
    """One TLS connection; ``conn.info.tls`` is this object, for its facts.

    Attributes:
        server_name: the name that the client asked for (SNI), empty for none.
    """

    __slots__ = (
        "__weakref__",
        "_incoming",
        "_lead",
        "_object",
        "_outgoing",
        "_read",
        "_remember",
        "_write",
        "awaited",
        "ended",
        "held",
        "own",
        "server_name",
    )

    says_bye = True

    def __init__(
        self,
        context: _ssl._SSLContext,
        server: bool,
        server_name: str = "",
        session: Any = None,
    ) -> None:
        super().__init__()
        bio = getattr(context, "bio", _ssl.MemoryBIO)  # utls has its own
        self._incoming = bio()
        self._outgoing = bio()
        self._object: Any = context._wrap_bio(  # type: ignore[attr-defined]
            self._incoming,
            self._outgoing,
            server,
            server_name or None,
            owner=self if server else None,
            session=session,
        )
        self._read = self._object.read
        self._write = self._object.write
        self._lead = b""
        self._remember: Remembered | None = None
        self.server_name = server_name
        self.own = self.held = self.ended = False
        self.awaited = not server  # a server says nothing before it has our Finished

    # -- facts -------------------------------------------------------------------------------

    @property
    def version(self) -> str:
        """``TLSv1.3``, ``TLSv1.2`` ..."""
        return self._object.version() or ""

    @property
    def cipher(self) -> str:
        """OpenSSL's name of the suite."""
        found = self._object.cipher()
        return found[0] if found else ""

    @property
    def alpn(self) -> str:
        """The protocol agreed upon, empty for none."""
        return self._object.selected_alpn_protocol() or ""

    @property
    def resumed(self) -> bool:
        return bool(self._object.session_reused)

    @property
    def peer_certificate(self) -> bytes:
        """The peer's certificate as DER, empty when it sent none."""
        return self._object.getpeercert(True) or b""

    @property
    def peer_subject(self) -> str:
        """The subject of the peer's certificate, ``CN=...,O=...``; empty when it sent none."""
        der = self.peer_certificate
        if not der:
            return ""
        from cryptography import x509

        try:
            return x509.load_der_x509_certificate(der).subject.rfc4514_string()
        except ValueError:
            return ""

    # -- codec -------------------------------------------------------------------------------

    def decode(self, data: Buffer) -> Buffer:
        incoming = self._incoming
        feed = incoming.write
        read = self._read
        buffer = decode_buffer(self.level)
        room = len(buffer)
        size = len(data)
        filled = position = 0
        try:
            while True:
                if size > _SLICE:
                    feed(data[position : position + _SLICE])
                    position += _SLICE
                else:
                    feed(data)
                    position = size
                try:
                    while True:
                        got = read(_RECORD, buffer[filled:] if filled else buffer)
                        if not got:
                            self.ended = True
                            break
                        filled += got
                        if filled + _RECORD > room:  # more at once than a socket ever gives
                            buffer = memoryview(bytearray(buffer[:filled]) + bytearray(room))
                            room = len(buffer)
                        if not incoming.pending:
                            break  # a read is one record: to be told so costs an exception
                except _WantRead:
                    pass
                if position >= size or self.ended:
                    break
        except _ssl.SSLZeroReturnError:
            self.ended = True
        except _ssl.SSLError as error:
            self.own = bool(self._outgoing.pending)  # an alert
            raise ProtocolError(_explain(error)) from error
        if self._outgoing.pending:
            self.own = True
        if filled and self._remember is not None:
            self._remember.keep(self._object.session)
            self._remember = None
        return buffer[:filled]

    def encode(self, data: Buffer) -> Buffer:
        size = len(data)
        write = self._write
        drain = self._outgoing.read
        try:
            if size <= _SLICE:
                if size:
                    write(data)
                if self._lead or self.own:
                    return self.take()
                return drain()
            view = memoryview(data)
            parts = [self.take()] if self._lead or self.own else []
            for position in range(0, size, _SLICE):
                write(view[position : position + _SLICE])
                parts.append(drain())
            return b"".join(parts)
        except _ssl.SSLError as error:
            raise ConnectionClosed(_explain(error)) from error

    def take(self) -> bytes:
        lead, self._lead = self._lead, b""
        self.own = self.held = False
        return lead + self._outgoing.read()

    def bye(self) -> None:
        try:
            self._object.shutdown()
        except OSError:
            pass  # the peer's close_notify is not there yet, or never comes: ours is written

    # -- handshake -----------------------------------------------------------------------------

    def shake(self, conn: Conn) -> None:
        """Run the handshake in a green thread and go on top of the conn.

        Raises HandshakeFailed, OSError.
        """
        shake = self._object.do_handshake
        outgoing, incoming = self._outgoing, self._incoming
        try:
            while True:
                try:
                    shake()
                    break
                except _WantRead:
                    pass
                if outgoing.pending:
                    conn.sendall(outgoing.read())
                data = conn.recv(_SLICE)
                if not data:
                    raise HandshakeFailed("tls: connection closed during the handshake")
                incoming.write(data)
        except _ssl.SSLError as error:
            alert = outgoing.read()
            if alert:
                try:
                    conn.sendall(alert)
                except OSError:
                    pass  # the handshake failed already; the peer need not hear why
            raise HandshakeFailed(_explain(error)) from error
        if outgoing.pending:
            self._lead = outgoing.read()
            self.held = True
        rest = incoming.read()
        if rest:
            conn.unread(rest)
        conn.push(self)
        conn.info.tls = self


def accept_tls(conn: Conn, context: ServerContext) -> TLS:
    """The serving side's handshake, in the conn's green thread.

    Raises HandshakeFailed, OSError. The caller sets the deadline.
    """
    codec = TLS(context.current(), True)
    codec.shake(conn)
    # before TLS 1.3 the client waits for our last flight
    if codec.held and codec.version != "TLSv1.3":
        conn.flush()
    return codec


def connect_tls(conn: Conn, context: ClientContext, server_name: str) -> TLS:
    """The dialing side's handshake, in the running green thread.

    Args:
        server_name: host to ask for and, if ``secure``, to verify; an IP literal is verified but
            not sent. ``serverName`` of the settings goes first.

    Raises HandshakeFailed, OSError. The caller sets the deadline.
    """
    name = asked_name(context.settings.server_name or server_name)
    if context.verifies_names and not name:
        raise HandshakeFailed("tls: secure needs a server name to verify")
    made = context.current()
    place = context.remembered(name)
    session = place.session
    try:
        codec = TLS(made, False, name, session)
    except (ValueError, TypeError) as error:  # UnicodeError is one; TypeError means a zero byte
        raise HandshakeFailed(f"tls: bad server name {name!r}: {error}") from error
    if session is None and place.wanted:
        codec._remember = place
    codec.shake(conn)
    if session is not None:
        place.offered(codec.resumed)
    return codec


def host_of(address: str) -> str:
    """The host of ``host:port``, also of one without a port."""
    if address.startswith("["):
        return address[1:].partition("]")[0]
    if address.count(":") > 1:
        return address
    return address.partition(":")[0]


def asked_name(host: str) -> str:
    """A host as it is asked for: without brackets, zone and final dot; IDNs in ASCII."""
    if host.startswith("["):
        host = host[1:].partition("]")[0]
    if ":" in host:
        return host.partition("%")[0]
    host = host.rstrip(".")
    if not host.isascii():
        try:
            return host.encode("idna").decode("ascii")
        except UnicodeError:
            return host
    return host


def _explain(error: _ssl.SSLError) -> str:
    """One line: OpenSSL's reason in words, and what is wrong with a certificate."""
    reason = getattr(error, "reason", None) or str(error.args[-1] if error.args else error)
    if reason == "CALLBACK_FAILED":
        return "tls: the client asked for a name that is not served here"
    reason = reason.replace("_", " ").lower()
    detail = getattr(error, "verify_message", "")
    return f"tls: {reason}: {detail}" if detail and detail != reason else f"tls: {reason}"
