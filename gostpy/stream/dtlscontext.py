"""TLS settings made into DTLS contexts of pyOpenSSL, which the ``dtls`` extra brings.

DTLS 1.2 only, with the extended master secret (OpenSSL offers and takes it by itself). Of a ``tls``
block gost uses the certificate, ``caFile``, ``secure`` and ``serverName``; so does this.

Differs   a client with a ``caFile`` and without ``secure`` checks the chain, as with TLS; gost
          checks nothing then
"""

from __future__ import annotations

import os
import time

from gostpy.errors import ConfigError, HandshakeFailed, MissingExtra
from gostpy.interfaces import Log, TLSSettings
from gostpy.net.dial import is_ip
from gostpy.stream.certificates import server_pair

try:
    from OpenSSL import SSL
except ModuleNotFoundError as error:
    raise MissingExtra("dtls", "DTLS") from error

__all__ = ["DTLSContext", "check_name"]

_VERSION_12 = 0xFEFD
_LOOK_INTERVAL = 1.0
_SUITES = ":".join(
    f"ECDHE-{kind}-{suite}"
    for suite in ("AES128-GCM-SHA256", "AES256-GCM-SHA384", "AES256-SHA")
    for kind in ("ECDSA", "RSA")
)


class DTLSContext:
    """The context of one listener or dialer; files that changed make a new one for new conns.

    Args:
        listening: for the serving side, which always has a certificate.

    Raises ConfigError: a file cannot be used.
    """

    def __init__(self, settings: TLSSettings | None, listening: bool, log: Log) -> None:
        self.settings = settings or TLSSettings()
        self._listening = listening
        self._log = log
        given = (self.settings.cert_file, self.settings.key_file, self.settings.ca_file)
        self._files = [path for path in given if path]
        self._stamp = self._stat()
        self._look_at = 0.0
        self._made = self._make()

    def current(self) -> SSL.Context:
        """The context for a new conn."""
        if self._files and time.monotonic() >= self._look_at:
            self._look_at = time.monotonic() + _LOOK_INTERVAL
            stamp = self._stat()
            if stamp != self._stamp:
                self._stamp = stamp
                try:
                    self._made = self._make()
                except ConfigError as error:
                    self._log.error(f"changed certificate files are not used: {error.message}")
        return self._made

    def _stat(self) -> list[tuple[int, int, int]]:
        stamps = []
        for path in self._files:
            try:
                found = os.stat(path)
                stamps.append((found.st_mtime_ns, found.st_size, found.st_ino))
            except OSError:
                stamps.append((0, 0, 0))
        return stamps

    def _make(self) -> SSL.Context:
        settings = self.settings
        context = SSL.Context(SSL.DTLS_METHOD)
        context.set_min_proto_version(_VERSION_12)
        context.set_options(SSL.OP_NO_QUERY_MTU | SSL.OP_NO_RENEGOTIATION)
        context.set_cipher_list(_SUITES.encode())
        if self._listening or settings.cert_file or settings.key_file:
            _load_pair(context, settings)
        if settings.ca_file:
            try:
                context.load_verify_locations(settings.ca_file)
            except SSL.Error as error:
                raise ConfigError(f"cannot use caFile {settings.ca_file!r}") from error
        elif settings.secure and not self._listening:
            context.set_default_verify_paths()
        if self._listening:
            if settings.ca_file:
                context.set_verify(SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT)
            # the cookie was checked before there was a conn
            context.set_cookie_generate_callback(lambda _: b"-")
            context.set_cookie_verify_callback(lambda *_: True)
        elif settings.ca_file or settings.secure:
            context.set_verify(SSL.VERIFY_PEER)
        return context


def _load_pair(context: SSL.Context, settings: TLSSettings) -> None:
    pair = server_pair(settings)
    try:
        from cryptography.hazmat.primitives.serialization import load_pem_private_key
        from cryptography.x509 import load_pem_x509_certificates

        chain = load_pem_x509_certificates(pair.certificate)
        context.use_certificate(chain[0])
        for extra in chain[1:]:
            context.add_extra_chain_cert(extra)
        context.use_privatekey(load_pem_private_key(pair.key, None))
        context.check_privatekey()
    except (SSL.Error, TypeError, ValueError, IndexError) as error:
        raise ConfigError(
            f"cannot use certificate {settings.cert_file!r} with key {settings.key_file!r}"
        ) from error


def check_name(connection: SSL.Connection, name: str) -> None:
    """The peer's certificate is for ``name``. Raises HandshakeFailed."""
    from cryptography import x509

    found = connection.get_peer_certificate(as_cryptography=True)
    if found is None or not name:
        raise HandshakeFailed("dtls: secure needs a certificate and a server name to verify")
    try:
        names = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        raise HandshakeFailed(f"dtls: the certificate names no host, wanted {name!r}") from None
    if is_ip(name):
        good = name in [str(each) for each in names.get_values_for_type(x509.IPAddress)]
    else:
        asked = name.lower().rstrip(".")
        known = [each.lower() for each in names.get_values_for_type(x509.DNSName)]
        _, _, parent = asked.partition(".")
        good = asked in known or ("." in parent and f"*.{parent}" in known)
    if not good:
        raise HandshakeFailed(f"dtls: the certificate is not for {name!r}")
