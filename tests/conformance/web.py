"""HTTP and TLS: the origins behind the proxies, and the checks that speak to them.

An origin answers ``NAME METHOD PATH SIZE-OF-BODY`` and keeps its connections open.
"""

from __future__ import annotations

import base64
import contextlib
import datetime
import socket
import ssl
import tempfile
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.conformance.clients import Entry, read_exact, read_head

__all__ = ["serve_http", "serve_tls", "tls_context", "web", "web_code"]

HOST = "a.test"

# -- targets -------------------------------------------------------------------------------------


def serve_http(name: str, sock: socket.socket, _: Any) -> None:
    """Requests of one connection, one after the other."""
    with contextlib.suppress(OSError):
        while True:
            method, path, headers = _read_request(sock)
            body = read_exact(sock, int(headers.get("content-length", 0)))
            answer = f"{name} {method} {path} {len(body)}".encode()
            head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(answer)}\r\n"
            closing = headers.get("connection", "").lower() == "close"
            head += "Connection: close\r\n" if closing else ""
            sock.sendall(head.encode() + b"\r\n" + answer)
            if closing:
                return


def _read_request(sock: socket.socket) -> tuple[str, str, dict[str, str]]:
    first, headers = _split_head(read_head(sock))
    method, path, _ = first.split(" ", 2)
    return method, path, headers


def _split_head(head: bytes) -> tuple[str, dict[str, str]]:
    first, *lines = head.decode("latin-1").strip().split("\r\n")
    pairs = (line.partition(":") for line in lines)
    return first, {name.lower(): value.strip() for name, _, value in pairs}


def tls_context() -> ssl.SSLContext:
    """A server's context with a certificate of its own."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, HOST)])
    now = datetime.datetime.now(datetime.UTC)
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name)
    builder = builder.public_key(key.public_key()).serial_number(1)
    builder = builder.not_valid_before(now - datetime.timedelta(days=1))
    builder = builder.not_valid_after(now + datetime.timedelta(days=1))
    certificate = builder.sign(key, hashes.SHA256())
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    pem = serialization.Encoding.PEM
    with tempfile.NamedTemporaryFile() as file:
        file.write(certificate.public_bytes(pem))
        file.write(
            key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        )
        file.flush()
        context.load_cert_chain(Path(file.name))
    context.sni_callback = _note_name
    return context


def _note_name(sock: ssl.SSLObject, name: str | None, _: ssl.SSLContext) -> None:
    sock.asked_name = name or ""  # type: ignore[attr-defined]


def serve_tls(context: ssl.SSLContext, sock: socket.socket, _: Any) -> None:
    with contextlib.suppress(OSError), context.wrap_socket(sock, server_side=True) as tls:
        tls.sendall(getattr(tls, "asked_name", "").encode() + b"\n")
        while data := tls.recv(65536):
            tls.sendall(data)


# -- checks --------------------------------------------------------------------------------------


def web(entry: Entry) -> None:
    """Up to three requests, on one connection while the proxy keeps it open."""
    name = entry.options.get("origin", "web")
    bodies = (b"", b"twelve bytes", b"")[: int(entry.options.get("requests", 3))]
    sock = _open(entry)
    try:
        for number, body in enumerate(bodies):
            method = "POST" if body else "GET"
            sock.sendall(_request(entry, method, f"/{number}?a=b", body))
            code, headers, answer = _response(sock)
            wanted = f"{name} {method} /{number}?a=b {len(body)}"
            if (code, answer.decode()) != (200, wanted):
                raise AssertionError(f"got {code} {answer[:60]!r}, expected {wanted!r}")
            if headers.get("connection", "").lower() == "close":
                sock.close()
                sock = _open(entry)
    finally:
        sock.close()


def web_code(entry: Entry) -> None:
    """A request that no node serves is refused with the code of gost."""
    wanted = int(entry.options["web"])
    with _open(entry) as sock:
        sock.sendall(_request(entry, "GET", "/", b""))
        code, _, _ = _response(sock)
        if code != wanted:
            raise AssertionError(f"code {code}, expected {wanted}")


def _open(entry: Entry) -> socket.socket:
    """To an http proxy requests go as they are; any other entry is asked for the origin first."""
    return entry.open() if entry.kind == "http" else entry.connect()


def _request(entry: Entry, method: str, path: str, body: bytes) -> bytes:
    host = entry.options.get("host", entry.target)
    lines = [f"Host: {host}"]
    if body:
        lines.append(f"Content-Length: {len(body)}")
    if entry.kind == "http":
        path = f"http://{host}{path}"
        token = base64.b64encode(f"{entry.user}:{entry.password}".encode()).decode()
        lines.append(f"Proxy-Authorization: Basic {token}")
    return "\r\n".join([f"{method} {path} HTTP/1.1", *lines, "", ""]).encode() + body


def _response(sock: socket.socket) -> tuple[int, dict[str, str], bytes]:
    first, headers = _split_head(read_head(sock))
    body = read_exact(sock, int(headers.get("content-length", 0)))
    return int(first.split(" ")[1]), headers, body


def tls(entry: Entry) -> None:
    """A TLS session with the target, which tells the name it was asked for."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    host = entry.options.get("host", HOST)
    with entry.connect() as plain, context.wrap_socket(plain, server_hostname=host) as sock:
        sock.sendall(b"hello")
        wanted = host.encode() + b"\nhello"
        got = read_exact(sock, len(wanted))
        if got != wanted:
            raise AssertionError(f"got {got!r}, expected {wanted!r}")
