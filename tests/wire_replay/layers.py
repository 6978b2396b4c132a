"""What lies around the recorded bytes, written for the tests alone, in both roles.

A layer has ``read()`` (what came, nothing at the end), ``write(data)`` and ``close()``; what it
hands over has nothing random in it:

    tls         the bytes inside, with a certificate of the tests; ``tls h2`` with that ALPN
    ws          the heads of the handshake with KEY and ACCEPT for the random parts, then what the
                binary messages hold
    http2       see http2layer.py
    grpc        see grpclayer.py, on http2
    ohttp, otls see obfslayer.py
    socks5tls   the offer and the chosen method, then the bytes inside TLS when it was chosen
    ss, ss2022  see shadow.py
"""

from __future__ import annotations

import base64
import hashlib
import os
import re
import socket
import ssl
from functools import lru_cache
from typing import Protocol

from gevent.event import Event

from tests.conformance.web import tls_context
from tests.wire_replay.grpclayer import Grpc
from tests.wire_replay.http2layer import Http2
from tests.wire_replay.obfslayer import ObfsHttp, ObfsTls
from tests.wire_replay.shadow import Shadow, Shadow2022

__all__ = ["Layer", "Plain", "stack"]

_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


class Layer(Protocol):
    """One side of a conn."""

    def read(self) -> bytes: ...
    def write(self, data: bytes) -> None: ...
    def close(self) -> None: ...


def stack(names: tuple[str, ...], sock: socket.socket, role: str) -> Layer:
    """The layers on a socket, in the role of client or server."""
    layer: Layer = Plain(sock)
    for words in names:
        name, _, secret = words.partition(" ")
        if name == "tls":
            assert isinstance(layer, Plain)
            layer = Plain(over_tls(layer.sock, role, secret))
        elif name == "http2":
            layer = Http2(layer, role)
        elif name == "ohttp":
            layer = ObfsHttp(layer, role)
        elif name == "otls":
            layer = ObfsTls(layer, role)
        elif name == "grpc":
            layer = Grpc(layer)
        elif name == "ws":
            layer = WebSocket(layer, role)
        elif name == "socks5tls":
            assert isinstance(layer, Plain)
            layer = SocksTls(layer.sock, role)
        elif name == "ss":
            layer = Shadow(layer, *secret.split(":", 1))
        elif name == "ss2022":
            layer = Shadow2022(layer, role, *secret.split(":", 1))
        else:
            raise ValueError(name)
    return layer


@lru_cache
def _server_context(alpn: str) -> ssl.SSLContext:
    context = tls_context()
    if alpn:
        context.set_alpn_protocols([alpn])
    return context


def over_tls(sock: socket.socket, role: str, alpn: str = "") -> ssl.SSLSocket:
    """TLS on a socket; nothing is verified."""
    if role == "server":
        return _server_context(alpn).wrap_socket(sock, server_side=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    if alpn:
        context.set_alpn_protocols([alpn])
    return context.wrap_socket(sock)


class Plain:
    """A socket."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock

    def read(self) -> bytes:
        try:
            return self.sock.recv(65536)
        except TimeoutError:
            raise
        except OSError:
            return b""  # a reset ends a conn as well

    def write(self, data: bytes) -> None:
        self.sock.sendall(data)

    def close(self) -> None:
        self.sock.close()


class SocksTls:
    """SOCKS5 with gost's methods 0x80 and 0x82: TLS begins after the chosen method."""

    def __init__(self, sock: socket.socket, role: str) -> None:
        self._plain = Plain(sock)
        self._role = role
        self._chosen = Event()
        self._offered = False

    def read(self) -> bytes:
        if self._chosen.is_set():
            return self._plain.read()
        if self._role == "server":
            if self._offered:
                self._chosen.wait()
                return self._plain.read()
            self._offered = True
            return self._plain.read()
        method = self._plain.read()
        self._begin(method)
        return method

    def write(self, data: bytes) -> None:
        self._plain.write(data)
        if self._role == "server" and not self._chosen.is_set():
            self._begin(data)

    def _begin(self, method: bytes) -> None:
        if method in (b"\x05\x80", b"\x05\x82"):
            self._plain = Plain(over_tls(self._plain.sock, self._role))
        self._chosen.set()

    def close(self) -> None:
        self._plain.close()


class WebSocket:
    """RFC 6455, as far as gost uses it: binary messages in one frame each."""

    def __init__(self, inner: Layer, role: str) -> None:
        self._inner = inner
        self._role = role
        self._came = b""
        self._read_head = self._wrote_head = False
        self._key = base64.b64encode(os.urandom(16))

    def read(self) -> bytes:
        if not self._read_head:
            while b"\r\n\r\n" not in self._came:
                if not self._fill():
                    return b""
            head, _, self._came = self._came.partition(b"\r\n\r\n")
            self._read_head = True
            return self._checked(head) + b"\r\n\r\n"
        while True:
            taken = self._frame()
            if taken is not None:
                return taken
            if not self._fill():
                return b""

    def _fill(self) -> bool:
        data = self._inner.read()
        self._came += data
        return bool(data)

    def _checked(self, head: bytes) -> bytes:
        if self._role == "server":
            found = re.search(rb"\r\nSec-WebSocket-Key: ([A-Za-z0-9+/]{22}==)(?=\r\n)", head)
            assert found, head
            self._key = found[1]
            return head.replace(self._key, b"KEY")
        accept = self._accept()
        assert b"\r\nSec-WebSocket-Accept: " + accept in head, head
        return head.replace(accept, b"ACCEPT")

    def _accept(self) -> bytes:
        return base64.b64encode(hashlib.sha1(self._key + _GUID).digest())

    def _frame(self) -> bytes | None:
        came = self._came
        if len(came) < 2:
            return None
        assert came[0] == 0x82, f"no binary message in one frame: {came[:2].hex()}"
        masked, size, at = came[1] >= 0x80, came[1] & 0x7F, 2
        if size >= 126:
            wide = 2 if size == 126 else 8
            size, at = int.from_bytes(came[2 : 2 + wide], "big"), 2 + wide
        assert masked == (self._role == "server"), "clients mask, servers do not"
        mask = came[at : at + 4] if masked else b""
        at += len(mask)
        if len(came) < at + size:
            return None
        payload, self._came = came[at : at + size], came[at + size :]
        return _masked(payload, mask) if masked else payload

    def write(self, data: bytes) -> None:
        if not self._wrote_head:
            head, blank, data = data.partition(b"\r\n\r\n")
            own = {"client": (b"KEY", self._key), "server": (b"ACCEPT", self._accept())}
            self._inner.write(head.replace(*own[self._role]) + blank)
            self._wrote_head = True
        if data:
            self._inner.write(self._framed(data))

    def _framed(self, data: bytes) -> bytes:
        mask = os.urandom(4) if self._role == "client" else b""
        bit = 0x80 if mask else 0
        size = len(data)
        length = (
            bytes((bit | size,)) if size < 126 else bytes((bit | 126,)) + size.to_bytes(2, "big")
        )
        return b"\x82" + length + mask + (_masked(data, mask) if mask else data)

    def close(self) -> None:
        self._inner.close()


def _masked(data: bytes, mask: bytes) -> bytes:
    return bytes(byte ^ mask[at % 4] for at, byte in enumerate(data))
