"""A small name server for tests: udp, tcp, tls and https (HTTP/1.1)."""

from __future__ import annotations

import socket
import ssl
from pathlib import Path

import dns.message
import dns.rrset
import gevent

from tests.engine.running import Stage, read_exact


class Names:
    """Answers A and AAAA queries from a table and counts them."""

    def __init__(self, table: dict[str, str], ttl: int = 60) -> None:
        self.table = table
        self.ttl = ttl
        self.asked: list[str] = []

    def answer(self, wire: bytes) -> bytes:
        query = dns.message.from_wire(wire)
        question = query.question[0]
        name = question.name.to_text().rstrip(".")
        family = "AAAA" if question.rdtype == 28 else "A"
        self.asked.append(f"{name}/{family}")
        reply = dns.message.make_response(query)
        found = self.table.get(name)
        if found and (":" in found) == (family == "AAAA"):
            reply.answer.append(dns.rrset.from_text(question.name, self.ttl, "IN", family, found))
        return reply.to_wire()

    def over_stream(self, sock: socket.socket) -> None:
        size = int.from_bytes(read_exact(sock, 2), "big")
        reply = self.answer(read_exact(sock, size))
        sock.sendall(len(reply).to_bytes(2, "big") + reply)

    def over_http(self, sock: socket.socket) -> None:
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += read_exact(sock, 1)
        fields = dict(
            line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:] if b": " in line
        )
        reply = self.answer(read_exact(sock, int(fields[b"content-length"])))
        sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: application/dns-message\r\n")
        sock.sendall(b"Content-Length: %d\r\n\r\n" % len(reply) + reply)

    def start(self, stage: Stage, scheme: str) -> str:
        """Serve; the address for a configuration."""
        if scheme == "udp":
            return f"udp://127.0.0.1:{self._start_udp(stage)}"
        if scheme == "tcp":
            return f"tcp://127.0.0.1:{stage.serve(self.over_stream)}"
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate(stage.folder))
        handle = self.over_http if scheme == "https" else self.over_stream

        def secured(sock: socket.socket) -> None:
            with context.wrap_socket(sock, server_side=True) as wrapped:
                handle(wrapped)

        port = stage.serve(secured)
        return f"{scheme}://127.0.0.1:{port}" + ("/dns-query" if scheme == "https" else "")

    def _start_udp(self, stage: Stage) -> int:
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sock.bind(("127.0.0.1", 0))

        def loop() -> None:
            while True:
                wire, peer = sock.recvfrom(4096)
                sock.sendto(self.answer(wire), peer)

        serving = gevent.spawn(loop)
        stage.later(lambda: serving.kill(block=False))
        stage.later(sock.close)
        return sock.getsockname()[1]


def certificate(folder: Path) -> Path:
    """A self-signed certificate with its key in one file."""
    import datetime

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    path = folder / "certificate.pem"
    if not path.exists():
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
        moment = datetime.datetime.now(datetime.UTC)
        made = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(key.public_key())
            .serial_number(1)
            .not_valid_before(moment - datetime.timedelta(days=1))
            .not_valid_after(moment + datetime.timedelta(days=1))
            .sign(key, hashes.SHA256())
        )
        encoding, pkcs8 = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
        path.write_bytes(
            key.private_bytes(encoding, pkcs8, serialization.NoEncryption())
            + made.public_bytes(encoding)
        )
    return path
