"""TLS settings made into contexts: versions, suites, certificates, verification, resumption.

A context belongs to one listener, handler, dialer or connector and is made once. Its certificate
files are looked at again by the handshakes, at most once a second; a changed file makes a new
context for new conns, and a file that cannot be used keeps the old one and is logged once.

Source   Go's crypto/tls for defaults; gost's internal/util/tls
Differs  suites that OpenSSL no longer has (RC4, 3DES) are left out; TLS 1.3 suites cannot be
         chosen (as in Go); the system's root certificates are OpenSSL's, or those at the usual
         places; a server with ``alpn`` goes on without a protocol when the client offers others

The raw contexts of ``_ssl`` are used, which gevent's patch leaves alone: a patched ``ssl`` breaks
``sni_callback``, an unpatched one breaks inside a patched process.
"""

from __future__ import annotations

import _ssl
import os
import time
import warnings
from collections.abc import Sequence
from typing import Any, Generic, TypeVar

from gostpy.errors import ConfigError
from gostpy.interfaces import Log, TLSSettings
from gostpy.stream.certificates import load_generated, load_pair, server_pair

__all__ = ["ClientContext", "ServerContext", "Watched", "known_names", "system_roots"]

_LOOK_INTERVAL = 1.0
_MOST_NAMES = 1024
_MOST_MISSES = 4

_VERSIONS = {
    "versiontls10": _ssl.PROTO_TLSv1,
    "versiontls11": _ssl.PROTO_TLSv1_1,
    "versiontls12": _ssl.PROTO_TLSv1_2,
    "versiontls13": _ssl.PROTO_TLSv1_3,
}

# what Go offers and accepts when nothing is configured, AES-128 first
_DEFAULT_SUITES = ":".join(
    f"ECDHE-{kind}-{suite}"
    for suite in (
        "AES128-GCM-SHA256",
        "AES256-GCM-SHA384",
        "CHACHA20-POLY1305",
        "AES128-SHA",
        "AES256-SHA",
    )
    for kind in ("ECDSA", "RSA")
)

# Go's order: between two gostpy nodes AES-128 saves some 8 % of a handshake and 5 % of bulk
_TLS13_SUITES = "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256"

_SUITES = {
    "TLS_RSA_WITH_RC4_128_SHA": "RC4-SHA",
    "TLS_RSA_WITH_3DES_EDE_CBC_SHA": "DES-CBC3-SHA",
    "TLS_RSA_WITH_AES_128_CBC_SHA": "AES128-SHA",
    "TLS_RSA_WITH_AES_256_CBC_SHA": "AES256-SHA",
    "TLS_RSA_WITH_AES_128_CBC_SHA256": "AES128-SHA256",
    "TLS_RSA_WITH_AES_128_GCM_SHA256": "AES128-GCM-SHA256",
    "TLS_RSA_WITH_AES_256_GCM_SHA384": "AES256-GCM-SHA384",
    "TLS_ECDHE_ECDSA_WITH_RC4_128_SHA": "ECDHE-ECDSA-RC4-SHA",
    "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA": "ECDHE-ECDSA-AES128-SHA",
    "TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA": "ECDHE-ECDSA-AES256-SHA",
    "TLS_ECDHE_RSA_WITH_RC4_128_SHA": "ECDHE-RSA-RC4-SHA",
    "TLS_ECDHE_RSA_WITH_3DES_EDE_CBC_SHA": "ECDHE-RSA-DES-CBC3-SHA",
    "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA": "ECDHE-RSA-AES128-SHA",
    "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA": "ECDHE-RSA-AES256-SHA",
    "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA256": "ECDHE-ECDSA-AES128-SHA256",
    "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA256": "ECDHE-RSA-AES128-SHA256",
    "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256": "ECDHE-RSA-AES128-GCM-SHA256",
    "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256": "ECDHE-ECDSA-AES128-GCM-SHA256",
    "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384": "ECDHE-RSA-AES256-GCM-SHA384",
    "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384": "ECDHE-ECDSA-AES256-GCM-SHA384",
    "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256": "ECDHE-RSA-CHACHA20-POLY1305",
    "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256": "ECDHE-ECDSA-CHACHA20-POLY1305",
}

# where Go looks for the system's root certificates
_SYSTEM_ROOTS = (
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/cert.pem",
)


T = TypeVar("T")


class Watched(Generic[T]):
    """A context and the files that it was made of."""

    def __init__(self, settings: TLSSettings, alpn: Sequence[str], log: Log | None) -> None:
        self.settings = settings
        self._alpn = tuple(alpn) or settings.alpn
        self._log = log
        self._files = [p for p in (settings.cert_file, settings.key_file, settings.ca_file) if p]
        self._stamp: object = None
        self._look_at = 0.0
        self._made: T | None = None
        if self._files:  # wrong files are an error of the configuration, not of the first conn
            self._stamp = self._stat()
            self._made = self._make()

    def current(self) -> T:
        """The context for a new conn."""
        made = self._made
        if made is None:
            made = self._made = self._make()
        elif self._files and time.monotonic() >= self._look_at:
            made = self._look_again(made)
        return made

    def _look_again(self, made: T) -> T:
        self._look_at = time.monotonic() + _LOOK_INTERVAL
        stamp = self._stat()
        if stamp == self._stamp:
            return made
        self._stamp = stamp
        try:
            made = self._made = self._make()
            self._renewed()
        except ConfigError as error:
            if self._log is not None:
                self._log.error(f"changed certificate files are not used: {error.message}")
        return made

    def _stat(self) -> object:
        stamps = []
        for path in self._files:
            try:
                found = os.stat(path)
                stamps.append((found.st_mtime_ns, found.st_size, found.st_ino))
            except OSError:
                stamps.append((0, 0, 0))
        return stamps

    def _make(self) -> T:
        raise NotImplementedError

    def _renewed(self) -> None:
        """A new context took the old one's place."""


class ServerContext(Watched[_ssl._SSLContext]):
    """The serving side of one listener or handler.

    Args:
        settings: see :func:`gostpy.stream.certificates.server_settings`; without files the
            generated certificate is served.
        alpn: protocols of the transport, in place of the settings'.

    Raises ConfigError: a file or a suite cannot be used.
    """

    def __init__(
        self,
        settings: TLSSettings | None = None,
        *,
        alpn: Sequence[str] = (),
        log: Log | None = None,
    ) -> None:
        self._names: frozenset[str] = frozenset()
        super().__init__(settings or TLSSettings(), alpn, log)

    def _make(self) -> _ssl._SSLContext:
        settings = self.settings
        context = _basic(_ssl.PROTOCOL_TLS_SERVER, settings, self._alpn)
        if settings.cert_file or settings.key_file:
            load_pair(context, settings.cert_file, settings.key_file)
        else:
            load_generated(context, settings)
        if settings.ca_file:
            _load_ca(context, settings.ca_file)
            context.verify_mode = _ssl.CERT_REQUIRED
        context.num_tickets = 1
        # the client's order: Go prefers AES-128, OpenSSL's server would choose AES-256
        context.options &= ~_ssl.OP_CIPHER_SERVER_PREFERENCE
        if settings.reject_unknown_names:
            self._names = known_names(settings)
            context.sni_callback = self._checked
        else:
            context.sni_callback = _named
        return context

    def _checked(self, codec: Any, name: str | None, context: object) -> int | None:
        _named(codec, name, context)
        asked = (name or "").lower()
        _, _, parent = asked.partition(".")
        if asked in self._names or (parent and f"*.{parent}" in self._names):
            return None
        return _ssl.ALERT_DESCRIPTION_UNRECOGNIZED_NAME


def _named(codec: Any, name: str | None, _: object) -> None:
    """OpenSSL tells the name that the client asks for; ``codec`` owns the connection object."""
    if codec is not None:
        codec.server_name = name or ""


def known_names(settings: TLSSettings) -> frozenset[str]:
    """``serverNames``, or the names in the certificate."""
    if settings.server_names:
        return frozenset(name.lower() for name in settings.server_names)
    from cryptography import x509

    certificate = x509.load_pem_x509_certificate(server_pair(settings).certificate)
    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except x509.ExtensionNotFound:
        return frozenset()
    return frozenset(name.lower() for name in found.value.get_values_for_type(x509.DNSName))


class ClientContext(Watched[_ssl._SSLContext]):
    """The dialing side of one node.

    Without ``secure`` the peer is not verified, or with a ``caFile`` its chain is, but not its
    name. With ``secure`` chain and name are, against ``caFile`` or the system's roots.

    Sessions are fetched once per server name and offered to every conn from then on: fetching and
    setting one costs some 0.1 ms each. A server that does not take them is left alone.
    """

    def __init__(
        self,
        settings: TLSSettings | None = None,
        *,
        alpn: Sequence[str] = (),
        log: Log | None = None,
    ) -> None:
        self._sessions: dict[str, Remembered] = {}
        super().__init__(settings or TLSSettings(), alpn, log)

    @property
    def verifies_names(self) -> bool:
        return self.settings.secure

    def remembered(self, server_name: str) -> Remembered:
        """The place of this server's session."""
        place = self._sessions.get(server_name)
        if place is None:
            if len(self._sessions) >= _MOST_NAMES:
                self._sessions.clear()
            place = self._sessions[server_name] = Remembered()
        return place

    def _renewed(self) -> None:
        self._sessions = {}

    def _make(self) -> _ssl._SSLContext:
        settings = self.settings
        context = _basic(_ssl.PROTOCOL_TLS_CLIENT, settings, self._alpn)
        context.check_hostname = settings.secure
        if settings.cert_file or settings.key_file:
            load_pair(context, settings.cert_file, settings.key_file)
        if settings.ca_file:
            _load_ca(context, settings.ca_file)
        elif settings.secure:
            _load_system_roots(context)
        else:
            context.verify_mode = _ssl.CERT_NONE
        return context


class Remembered:
    """The session of one server, for resumption."""

    __slots__ = ("misses", "session")

    def __init__(self) -> None:
        self.session: Any = None
        self.misses = 0

    @property
    def wanted(self) -> bool:
        """No session is held yet, and the server may give one."""
        return self.session is None and self.misses < _MOST_MISSES

    def offered(self, reused: bool) -> None:
        """A handshake offered the session; what came of it."""
        if reused:
            self.misses = 0
        else:
            self.session = None
            self.misses += 1

    def keep(self, session: Any) -> None:
        """The server's session, once application data has come."""
        if session is not None and session.has_ticket:
            self.session = session
        else:
            self.misses += 1


def _basic(protocol: int, settings: TLSSettings, alpn: Sequence[str]) -> _ssl._SSLContext:
    context = _ssl._SSLContext(protocol)
    context.options |= _ssl.OP_NO_RENEGOTIATION
    least = _VERSIONS.get(settings.min_version.lower(), _ssl.PROTO_TLSv1_2)
    most = _VERSIONS.get(settings.max_version.lower(), _ssl.PROTO_MAXIMUM_SUPPORTED)
    if most != _ssl.PROTO_MAXIMUM_SUPPORTED and most < least:
        if settings.min_version:
            raise ConfigError(f"minVersion {settings.min_version} above maxVersion")
        least = most
    with warnings.catch_warnings():  # whoever configured TLS 1.0 or 1.1 knows that it is old
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = least
        context.maximum_version = most
    # OpenSSL refuses TLS 1.0 and 1.1 above security level 0; 1 is its own default and Go's habit
    level = 0 if least < _ssl.PROTO_TLSv1_2 else 1
    context.set_ciphers(f"{_suites(settings.cipher_suites)}:@SECLEVEL={level}")
    set_suites = getattr(context, "set_ciphersuites", None)  # Python 3.15 and later
    if set_suites is not None:
        set_suites(_TLS13_SUITES)
    # a certificate in caFile is trusted even when it is no root, as in Go
    context.verify_flags |= _ssl.VERIFY_X509_TRUSTED_FIRST | _ssl.VERIFY_X509_PARTIAL_CHAIN
    context._host_flags = (  # type: ignore[attr-defined]
        _ssl.HOSTFLAG_NO_PARTIAL_WILDCARDS | _ssl.HOSTFLAG_NEVER_CHECK_SUBJECT
    )
    if alpn:
        context._set_alpn_protocols(_alpn_list(alpn))  # type: ignore[attr-defined]
    return context


def _suites(names: Sequence[str]) -> str:
    """An OpenSSL cipher list. Unknown names are ignored, as in gost; none at all is Go's choice."""
    known = [_SUITES[name.upper()] for name in names if name.upper() in _SUITES]
    if not known:
        return _DEFAULT_SUITES
    text = ":".join(known)
    try:
        _ssl._SSLContext(_ssl.PROTOCOL_TLS_CLIENT).set_ciphers(text)
    except _ssl.SSLError:
        raise ConfigError(
            f"OpenSSL has none of the cipher suites {', '.join(names)}", "cipherSuites"
        ) from None
    return text


def _alpn_list(protocols: Sequence[str]) -> bytes:
    encoded = [protocol.encode() for protocol in protocols]
    for name in encoded:
        if not 0 < len(name) < 256:
            raise ConfigError("an ALPN protocol has 1 to 255 bytes", "alpn")
    return b"".join(bytes((len(name),)) + name for name in encoded)


def _load_ca(context: _ssl._SSLContext, path: str) -> None:
    try:
        context.load_verify_locations(path)
    except OSError as error:  # SSLError is one
        reason = getattr(error, "reason", None) or error.strerror or str(error)
        raise ConfigError(f"cannot use caFile {path!r}: {reason}") from error


def _load_system_roots(context: _ssl._SSLContext) -> None:
    context.set_default_verify_paths()
    file_env, file_path, dir_env, dir_path = _ssl.get_default_verify_paths()
    places = (os.environ.get(file_env, file_path), os.environ.get(dir_env, dir_path))
    if not any(os.path.exists(place) for place in places):
        path = system_roots()
        if path:
            _load_ca(context, path)


def system_roots() -> str:
    """The file with the system's root certificates, empty when there is none."""
    file_env, file_path, _, _ = _ssl.get_default_verify_paths()
    places = (os.environ.get(file_env, file_path), *_SYSTEM_ROOTS)
    return next((place for place in places if os.path.isfile(place)), "")
