"""TLS of QUIC: the settings of every other transport, made into aioquic's configurations.

TLS 1.3 is all that QUIC has: versions and suites of the settings mean nothing here.

Differs   aioquic checks no client certificates and knows no partial chains, so the peer is checked
          here, when the handshake is complete and before any data is handed over: a peer that is
          refused hears of it in place of the first answer
"""

from __future__ import annotations

import ssl
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from aioquic import tls
from aioquic.quic.configuration import QuicConfiguration
from aioquic.tls import pull_client_hello
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key
from cryptography.x509.oid import ExtendedKeyUsageOID

from gostpy.errors import ConfigError, HandshakeFailed
from gostpy.interfaces import Log, TLSSettings
from gostpy.stream.certificates import server_pair
from gostpy.stream.quiccore import CONNECTION_WINDOW, FIRST_WINDOW
from gostpy.stream.tlscontext import Watched, known_names, system_roots

__all__ = ["QuicFacts", "QuicTLS"]

FIRST_SIZE = 1280
"""Bytes of QUIC in the first datagrams, as gost sends them; larger ones are tried later."""

DATAGRAM_SIZE = 1452
"""Bytes of QUIC that an Ethernet frame takes over IPv6."""


@dataclass(frozen=True, slots=True)
class QuicFacts:
    """What ``conn.info.tls`` tells of a QUIC connection; the names are those of other TLS."""

    server_name: str = ""
    alpn: str = ""
    cipher: str = ""
    version: str = "TLSv1.3"
    resumed: bool = False
    peer_certificate: bytes = b""

    @property
    def peer_subject(self) -> str:
        """The subject of the peer's certificate, ``CN=...,O=...``; empty when it sent none."""
        if not self.peer_certificate:
            return ""
        try:
            return x509.load_der_x509_certificate(self.peer_certificate).subject.rfc4514_string()
        except ValueError:
            return ""


class QuicTLS(Watched[QuicConfiguration]):
    """Configurations of one side; changed certificate files make a new one.

    Args:
        settings: see :func:`gostpy.stream.certificates.server_settings`.
        server: the listening side.
        alpn: protocols, the preferred one first.
        idle_timeout: seconds.
        datagrams: largest DATAGRAM frame that is accepted; 0 = none.
        datagram_size: bytes of QUIC in one datagram, if the path turns out to take them.

    Raises ConfigError: a file cannot be used.
    """

    def __init__(
        self,
        settings: TLSSettings | None,
        *,
        server: bool,
        alpn: Sequence[str],
        idle_timeout: float = 30.0,
        datagrams: int = 0,
        datagram_size: int = DATAGRAM_SIZE,
        log: Log | None = None,
    ) -> None:
        self.server = server
        self._idle_timeout = idle_timeout
        self._datagrams = datagrams
        self.datagram_size = datagram_size
        self._protocols = list(alpn)
        self._roots: Any = None
        super().__init__(settings or TLSSettings(), alpn, log)

    def _make(self) -> QuicConfiguration:
        settings = self.settings
        made = QuicConfiguration(
            is_client=not self.server,
            alpn_protocols=self._protocols,
            idle_timeout=self._idle_timeout,
            max_data=CONNECTION_WINDOW,
            max_stream_data=FIRST_WINDOW,
            max_datagram_size=min(FIRST_SIZE, self.datagram_size),
            max_datagram_frame_size=self._datagrams or None,
            verify_mode=ssl.CERT_NONE,  # see check
        )
        if self.server or settings.cert_file or settings.key_file:
            _load_pair(made, settings)
        self._roots = self._load_roots()
        return made

    def _load_roots(self) -> Any:
        """The store of certificates that peers are checked against; None: they are not."""
        settings = self.settings
        if settings.ca_file:
            return _store(settings.ca_file)
        if settings.secure and not self.server:
            return _store(system_roots())
        return None

    def for_name(self, server_name: str) -> QuicConfiguration:
        """The configuration of a client that asks for ``server_name``."""
        return replace(self.current(), server_name=server_name or None)

    def prepare(self, context: Any) -> None:
        """Set up a TLS context; on the serving side: the client's certificate, and its SNI."""
        if not self.server:
            return
        context._request_client_certificate = self._roots is not None
        handle = context._server_handle_hello
        context.asked_name = ""

        def hello(message: Any, *out: Any) -> None:
            start = message.tell()
            context.asked_name = (pull_client_hello(message).server_name or "").lower()
            message.seek(start)
            if self.settings.reject_unknown_names and not self._serves(context.asked_name):
                raise _UnknownName(f"no server named {context.asked_name!r}")
            handle(message, *out)

        context._server_handle_hello = hello

    def _serves(self, name: str) -> bool:
        names = known_names(self.settings)
        _, _, parent = name.partition(".")
        return name in names or bool(parent and f"*.{parent}" in names)

    def check(self, context: Any, server_name: str) -> QuicFacts:
        """The facts of a complete handshake. Raises HandshakeFailed: the peer is not trusted."""
        certificate = context._peer_certificate
        if self._roots is not None:
            if certificate is None:
                raise HandshakeFailed("quic: the peer has no certificate")
            _verify(self._roots, certificate, context._peer_certificate_chain, self.server)
            if self.settings.secure and not self.server:
                _match(certificate, server_name)
        suite = context.key_schedule.cipher_suite
        return QuicFacts(
            server_name=context.asked_name if self.server else server_name,
            alpn=context.alpn_negotiated or "",
            cipher="TLS_" + suite.name,
            peer_certificate=certificate.public_bytes(Encoding.DER) if certificate else b"",
        )


class _UnknownName(tls.Alert):  # type: ignore[misc]
    description = tls.AlertDescription.unrecognized_name


def _load_pair(made: QuicConfiguration, settings: TLSSettings) -> None:
    pair = server_pair(settings)
    try:
        first, *rest = x509.load_pem_x509_certificates(pair.certificate)
        made.certificate, made.certificate_chain = first, rest
        made.private_key = load_pem_private_key(pair.key, None)
    except (ValueError, TypeError) as error:  # TypeError: the key needs a password
        raise ConfigError(
            f"cannot use certificate {settings.cert_file!r} with key {settings.key_file!r}: {error}"
        ) from error
    if made.private_key.public_key() != first.public_key():
        raise ConfigError(
            f"cannot use certificate {settings.cert_file!r} with key {settings.key_file!r}:"
            " they do not belong together"
        )


def _store(path: str) -> Any:
    """A store for verification; a certificate in it is trusted even when it is no root."""
    from OpenSSL import crypto

    store = crypto.X509Store()
    store.set_flags(crypto.X509StoreFlags.PARTIAL_CHAIN)
    if not path:  # a system without roots trusts nobody
        return store
    try:
        with open(path, "rb"):
            pass
        store.load_locations(path)
    except OSError as error:
        raise ConfigError(f"cannot use caFile {path!r}: {error.strerror}") from error
    except crypto.Error as error:
        raise ConfigError(f"cannot use caFile {path!r}: no certificate in it") from error
    return store


def _verify(store: Any, certificate: Any, chain: Sequence[Any], of_client: bool) -> None:
    from OpenSSL import crypto

    usage = ExtendedKeyUsageOID.CLIENT_AUTH if of_client else ExtendedKeyUsageOID.SERVER_AUTH
    try:
        purposes = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
        if usage not in purposes and ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE not in purposes:
            raise HandshakeFailed("quic: the peer's certificate is for something else")
    except x509.ExtensionNotFound:
        pass  # it is for everything
    except ValueError as error:
        raise HandshakeFailed(f"quic: bad certificate: {error}") from error
    context = crypto.X509StoreContext(
        store,
        crypto.X509.from_cryptography(certificate),
        [crypto.X509.from_cryptography(each) for each in chain],
    )
    try:
        context.verify_certificate()
    except crypto.X509StoreContextError as error:
        raise HandshakeFailed(f"quic: certificate verify failed: {error}") from error


def _match(certificate: Any, name: str) -> None:
    import service_identity
    from service_identity import cryptography as identity

    from gostpy.net.dial import is_ip

    if not name:
        raise HandshakeFailed("quic: secure needs a server name to verify")
    check = (
        identity.verify_certificate_ip_address
        if is_ip(name)
        else identity.verify_certificate_hostname
    )
    try:
        check(certificate, name)
    except (
        ValueError,
        service_identity.CertificateError,
        service_identity.VerificationError,
    ) as error:
        raise HandshakeFailed(f"quic: the server's certificate is not for {name!r}") from error
