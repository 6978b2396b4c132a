"""Certificates of the serving side: which files are in effect, and the one made when there is none.

gost looks in this order: the listener's or handler's own files, the global ``tls`` section,
``cert.pem``/``key.pem``/``ca.pem`` in the working directory, a certificate made at start.

Generated   ECDSA P-256, self-signed, subject O=GOST CN=gost.run, SAN DNS:gost.run, random 128-bit
            serial, one year from now, digitalSignature and certSign, client and server
            authentication, not a CA
Source      gost's config/parsing/tls.go
Differs     a ``caFile`` without a certificate is honoured (gost forgets it, and with it the check
            of clients); an unreadable ``caFile`` of the global section is an error (gost goes on
            without the check); name strings are UTF8String
"""

from __future__ import annotations

import _ssl
import dataclasses
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache

from gostpy.errors import ConfigError
from gostpy.interfaces import TLSSettings

__all__ = [
    "KeyPair",
    "common_settings",
    "generated",
    "load_generated",
    "load_pair",
    "server_pair",
    "server_settings",
]

_YEAR = 365 * 24 * 3600.0


@dataclass(frozen=True, slots=True)
class KeyPair:
    """A certificate (chain) and its private key, both PEM."""

    certificate: bytes
    key: bytes = field(repr=False)


def common_settings(
    section: TLSSettings | None, warn: Callable[[str], None] | None = None
) -> TLSSettings:
    """What serves listeners and handlers without files of their own.

    Args:
        section: the global ``tls`` section; None looks into the working directory.
        warn: told when the files cannot be used, so that a certificate is made instead.
    """
    base = section if section is not None else _in_working_directory()
    if base.cert_file or base.key_file:
        try:
            load_pair(_ssl._SSLContext(_ssl.PROTOCOL_TLS_SERVER), base.cert_file, base.key_file)
        except ConfigError as error:
            if warn is not None:
                warn(f"{error.message}; a generated certificate is served")
            base = dataclasses.replace(base, cert_file="", key_file="")
    return base


def server_settings(own: TLSSettings | None, common: TLSSettings) -> TLSSettings:
    """What one listener or handler serves with.

    Args:
        own: its ``tls`` block; versions, suites and ALPN always come from here.
        common: see :func:`common_settings`.
    """
    own = own or TLSSettings()
    if own.cert_file or own.key_file:
        return own
    return dataclasses.replace(
        own,
        cert_file=common.cert_file,
        key_file=common.key_file,
        ca_file=own.ca_file or common.ca_file,
        validity=own.validity or common.validity,
        organization=own.organization or common.organization,
        common_name=own.common_name or common.common_name,
    )


def _in_working_directory() -> TLSSettings:
    if not (os.path.exists("cert.pem") and os.path.exists("key.pem")):
        return TLSSettings()
    return TLSSettings(
        cert_file="cert.pem",
        key_file="key.pem",
        ca_file="ca.pem" if os.path.exists("ca.pem") else "",
    )


def server_pair(settings: TLSSettings) -> KeyPair:
    """The certificate and key themselves (an SSH host key is made from them).

    Raises ConfigError: a file cannot be read.
    """
    if not (settings.cert_file or settings.key_file):
        return generated(settings.validity, settings.organization, settings.common_name)
    try:
        with open(settings.cert_file, "rb") as cert, open(settings.key_file, "rb") as key:
            return KeyPair(cert.read(), key.read())
    except OSError as error:
        raise ConfigError(f"cannot read {error.filename!r}: {error.strerror}") from error


def load_pair(context: _ssl._SSLContext, cert_file: str, key_file: str) -> None:
    """Load certificate and key files. Raises ConfigError naming the file that is wrong."""
    for path, key in ((cert_file, "certFile"), (key_file, "keyFile")):
        if not path:
            raise ConfigError(f"certificate and key belong together, but {key} is not set")
        try:
            with open(path, "rb"):
                pass
        except OSError as error:
            raise ConfigError(f"cannot read {key} {path!r}: {error.strerror}") from error
    try:
        # an encrypted key fails here instead of asking on the terminal
        context.load_cert_chain(cert_file, key_file, lambda: "")
    except (OSError, ValueError) as error:  # SSLError is an OSError
        reason = getattr(error, "reason", None) or str(error)
        raise ConfigError(
            f"cannot use certificate {cert_file!r} with key {key_file!r}: {reason}"
        ) from error


def load_generated(context: _ssl._SSLContext, settings: TLSSettings) -> None:
    """Load the certificate of this process."""
    pair = generated(settings.validity, settings.organization, settings.common_name)
    with _as_file(pair.certificate + pair.key) as path:
        context.load_cert_chain(path)


@contextmanager
def _as_file(data: bytes) -> Iterator[str]:
    """A path for data that a library wants from a file; in memory where the system can do that."""
    if hasattr(os, "memfd_create"):
        fd = os.memfd_create("gostpy-certificate", os.MFD_CLOEXEC)
        try:
            os.write(fd, data)
            yield f"/proc/self/fd/{fd}"
        finally:
            os.close(fd)
        return
    import tempfile

    with tempfile.NamedTemporaryFile(suffix=".pem") as file:
        file.write(data)
        file.flush()
        yield file.name


def generated(validity: float = 0.0, organization: str = "", common_name: str = "") -> KeyPair:
    """The self-signed certificate of this process; made once for the same arguments.

    Args:
        validity: seconds, 0 or less = a year.
        organization: O of the subject, default GOST.
        common_name: CN and SAN, default gost.run.
    """
    return _generate(
        validity if validity > 0 else _YEAR, organization or "GOST", common_name or "gost.run"
    )


@lru_cache(maxsize=16)
def _generate(validity: float, organization: str, name: str) -> KeyPair:
    # half a second of imports that only a process with a generated certificate pays for
    from datetime import UTC, datetime, timedelta

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

    subject = x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, organization),
            x509.NameAttribute(NameOID.COMMON_NAME, name),
        ]
    )
    usage = dict.fromkeys(
        (
            "content_commitment",
            "key_encipherment",
            "data_encipherment",
            "key_agreement",
            "crl_sign",
            "encipher_only",
            "decipher_only",
        ),
        False,
    )
    now = datetime.now(UTC)
    key = ec.generate_private_key(ec.SECP256R1())
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(int.from_bytes(os.urandom(16), "big") or 1)
        .not_valid_before(now)
        .not_valid_after(now + timedelta(seconds=validity))
        .add_extension(
            x509.KeyUsage(digital_signature=True, key_cert_sign=True, **usage), critical=True
        )
        .add_extension(
            x509.ExtendedKeyUsage(
                [ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH]
            ),
            critical=False,
        )
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    return KeyPair(
        certificate.public_bytes(serialization.Encoding.PEM),
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        ),
    )
