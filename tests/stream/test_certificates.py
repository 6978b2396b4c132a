"""Certificates of the serving side: the generated one, and whose files are used."""

import os
from datetime import timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID

from gostpy.errors import ConfigError
from gostpy.interfaces import TLSSettings
from gostpy.stream.certificates import (
    common_settings,
    generated,
    server_pair,
    server_settings,
)
from gostpy.stream.tls import ServerContext
from tests.stream.pki import Authority


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("pki")).issue("host.test")


def test_generated_as_gost_makes_it():
    pair = generated()
    assert pair is generated(0.0, "", "")
    certificate = x509.load_pem_x509_certificate(pair.certificate)
    assert certificate.subject == certificate.issuer
    assert certificate.subject.rfc4514_string() == "CN=gost.run,O=GOST"
    assert isinstance(certificate.public_key(), ec.EllipticCurvePublicKey)
    assert certificate.public_key().curve.name == "secp256r1"
    life = certificate.not_valid_after_utc - certificate.not_valid_before_utc
    assert life == timedelta(days=365)
    found = {extension.oid: extension for extension in certificate.extensions}
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["gost.run"]
    usage = found[x509.KeyUsage.oid]
    assert usage.critical
    assert usage.value.digital_signature
    assert usage.value.key_cert_sign
    assert not usage.value.key_encipherment
    assert set(found[x509.ExtendedKeyUsage.oid].value) == {
        ExtendedKeyUsageOID.CLIENT_AUTH,
        ExtendedKeyUsageOID.SERVER_AUTH,
    }
    assert not found[x509.BasicConstraints.oid].value.ca
    assert "PRIVATE" not in repr(pair)


def test_generated_with_other_names():
    certificate = x509.load_pem_x509_certificate(generated(3600.0, "Org", "a.test").certificate)
    assert certificate.subject.rfc4514_string() == "CN=a.test,O=Org"
    life = certificate.not_valid_after_utc - certificate.not_valid_before_utc
    assert life == timedelta(hours=1)


def test_own_files_go_first():
    own = TLSSettings(cert_file="own.pem", key_file="own.key")
    assert server_settings(own, TLSSettings(cert_file="c", key_file="k", ca_file="a")) is own


def test_common_files_and_own_options(pair):
    cert, key = pair
    common = common_settings(TLSSettings(cert_file=cert, key_file=key, ca_file="ca"))
    merged = server_settings(TLSSettings(min_version="VersionTLS13", alpn=("h2",)), common)
    assert (merged.cert_file, merged.key_file, merged.ca_file) == (cert, key, "ca")
    assert (merged.min_version, merged.alpn) == ("VersionTLS13", ("h2",))


def test_unusable_common_files_leave_the_generated_certificate_and_the_check_of_clients(tmp_path):
    told = []
    section = TLSSettings(cert_file=str(tmp_path / "no"), key_file="no", ca_file="ca")
    common = common_settings(section, told.append)
    assert (common.cert_file, common.key_file, common.ca_file) == ("", "", "ca")
    assert len(told) == 1
    assert "certFile" in told[0]


def test_working_directory(pair, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert common_settings(None) == TLSSettings()
    for source, name in zip(pair, ("cert.pem", "key.pem"), strict=True):
        os.symlink(source, name)
    assert common_settings(None) == TLSSettings(cert_file="cert.pem", key_file="key.pem")
    os.symlink(pair[0], "ca.pem")
    assert common_settings(None).ca_file == "ca.pem"
    # a section, even an empty one, is used instead
    assert common_settings(TLSSettings()) == TLSSettings()


def test_server_pair(pair):
    cert, key = pair
    read = server_pair(TLSSettings(cert_file=cert, key_file=key))
    assert read.certificate.startswith(b"-----BEGIN CERTIFICATE")
    assert server_pair(TLSSettings()) is generated()
    with pytest.raises(ConfigError, match="nowhere"):
        server_pair(TLSSettings(cert_file="/nowhere", key_file=key))


WRONG = [
    pytest.param({"cert_file": "{cert}"}, "keyFile is not set", id="key missing"),
    pytest.param({"key_file": "{key}"}, "certFile is not set", id="certificate missing"),
    pytest.param({"cert_file": "/nowhere", "key_file": "{key}"}, "/nowhere", id="no such file"),
    pytest.param({"cert_file": "{key}", "key_file": "{key}"}, "cannot use", id="no certificate"),
    pytest.param(
        {"cert_file": "{cert}", "key_file": "{key}", "ca_file": "{key}"}, "caFile", id="no ca"
    ),
    pytest.param({"cert_file": "{cert}", "key_file": "{other}"}, "cannot use", id="key of another"),
    pytest.param({"alpn": ("",)}, "ALPN", id="empty protocol"),
    pytest.param(
        {"min_version": "VersionTLS13", "max_version": "VersionTLS12"}, "above", id="versions"
    ),
    pytest.param(
        {"cipher_suites": ("TLS_RSA_WITH_RC4_128_SHA",)}, "cipher suites", id="suites gone"
    ),
]


@pytest.mark.parametrize(("settings", "message"), WRONG)
def test_wrong_settings_are_told(settings, message, pair, tmp_path):
    other = Authority(tmp_path).issue("other.test")
    names = {"cert": pair[0], "key": pair[1], "other": other[1]}
    made = {
        key: value.format(**names) if isinstance(value, str) else value
        for key, value in settings.items()
    }
    with pytest.raises(ConfigError, match=message):
        ServerContext(TLSSettings(**made)).current()


def test_an_encrypted_key_does_not_ask(pair, tmp_path):
    from cryptography.hazmat.primitives import serialization

    with open(pair[1], "rb") as file:
        key = serialization.load_pem_private_key(file.read(), None)
    locked = tmp_path / "locked.key"
    locked.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"secret"),
        )
    )
    with pytest.raises(ConfigError, match="cannot use"):
        ServerContext(TLSSettings(cert_file=pair[0], key_file=str(locked)))
