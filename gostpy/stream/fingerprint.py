"""TLS as a browser begins it: the ``utls`` library (BoringSSL) in place of OpenSSL, dialing only.

The codec and the handshake are those of stream/tls.py; only the context differs. Sessions are not
resumed, since a fingerprint says what is offered.
"""

from __future__ import annotations

import os
from typing import Any

from gostpy.errors import ConfigError, MissingExtra
from gostpy.interfaces import Log, TLSSettings
from gostpy.stream.certificates import load_pair
from gostpy.stream.tlscontext import ClientContext, system_roots

__all__ = ["STANDARD", "FingerprintContext", "fingerprints", "profile"]

STANDARD = ("", "golang")
"""Names that mean a hello as of any other TLS dialer."""

_DEFAULT = {"chrome": "chrome:stable"}


def _library() -> Any:
    """Raises MissingExtra."""
    try:
        import utls
        import utls.profiles
    except ModuleNotFoundError as error:
        raise MissingExtra("utls", "the utls dialer") from error
    return utls


def fingerprints() -> list[str]:
    """The names that can be had. Raises MissingExtra."""
    return ["golang", *_DEFAULT, *_library().profiles.names()]


def profile(name: str) -> Any:
    """What the library needs for a name. Raises ConfigError: it cannot be produced."""
    possible = fingerprints()
    if name not in possible or name in STANDARD:
        raise ConfigError(
            f"fingerprint {name!r} cannot be produced here; possible: {', '.join(possible)}",
            "fingerprint",
        )
    return _library().get_preset(_DEFAULT.get(name, name))


class FingerprintContext(ClientContext):
    """The dialing side with a fingerprint. Cipher suites and ALPN are the browser's.

    Raises MissingExtra, ConfigError.
    """

    def __init__(
        self, settings: TLSSettings | None, fingerprint: str, log: Log | None = None
    ) -> None:
        self._profile = profile(fingerprint)
        super().__init__(settings, log=log)

    def _make(self) -> Any:
        library, settings = _library(), self.settings
        context = library.SSLContext(library.PROTOCOL_TLS_CLIENT)
        context.set_fingerprint(self._profile)
        context.check_hostname = settings.secure
        if settings.cert_file or settings.key_file:
            load_pair(context, settings.cert_file, settings.key_file)
        if settings.ca_file:
            _load(context, settings.ca_file)
        elif settings.secure:
            context.set_default_verify_paths()
            roots = system_roots()
            if roots:
                _load(context, roots)
        if not settings.secure and not settings.ca_file:
            context.verify_mode = library.CERT_NONE
        return _Context(context, _bio(library))


def _bio(library: Any) -> Any:
    """The library's memory buffer, made to take views as OpenSSL's does."""

    class MemoryBIO(library.MemoryBIO):  # type: ignore[misc]
        def write(self, data: Any) -> int:
            return int(super().write(bytes(data)))

    return MemoryBIO


def _load(context: Any, path: str) -> None:
    try:
        context.load_verify_locations(path)
    except (OSError, ValueError) as error:
        code = getattr(error, "errno", None)
        reason = os.strerror(code) if code else str(error)
        raise ConfigError(f"cannot use caFile {path!r}: {reason}") from error


class _Context:
    """A context of the library, as TLS expects one of OpenSSL."""

    __slots__ = ("_context", "bio")

    def __init__(self, context: Any, bio: Any) -> None:
        self._context = context
        self.bio = bio

    def _wrap_bio(
        self,
        incoming: Any,
        outgoing: Any,
        server: bool,
        name: str | None,
        *,
        owner: object = None,
        session: Any = None,
    ) -> _Object:
        return _Object(self._context.wrap_bio(incoming, outgoing, server, name))


class _Object:
    """A connection of the library, as TLS expects one of OpenSSL."""

    __slots__ = (
        "_inner",
        "cipher",
        "do_handshake",
        "getpeercert",
        "read",
        "selected_alpn_protocol",
        "shutdown",
        "version",
    )

    session = None
    session_reused = False

    def __init__(self, inner: Any) -> None:
        self._inner = inner
        self.read = inner.read
        self.do_handshake = inner.do_handshake
        self.shutdown = inner.unwrap
        self.version = inner.version
        self.cipher = inner.cipher
        self.getpeercert = inner.getpeercert
        self.selected_alpn_protocol = inner.selected_alpn_protocol

    def write(self, data: Any) -> int:
        return int(self._inner.write(bytes(data)))
