"""qh3, an HTTP/3 and QUIC client of its own (a Rust core), at the listeners of this process."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from qh3.h3.connection import H3Connection
from qh3.h3.events import DataReceived, HeadersReceived
from qh3.quic.configuration import QuicConfiguration
from qh3.quic.connection import QuicConnection

from tests.peers.stage import BLOB, Stage

pytestmark = pytest.mark.timeout(60)

LIMIT = 15.0


class Peer:
    """A client on a UDP socket, driven by whoever waits for something."""

    def __init__(self, port: int, webtransport: bool = False) -> None:
        configuration = QuicConfiguration(
            alpn_protocols=["h3"], verify_mode=0, verify_hostname=False, server_name="a.test"
        )
        if webtransport:
            configuration.max_datagram_frame_size = 65536
        self._sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._sock.connect(("127.0.0.1", port))
        self.quic = QuicConnection(configuration=configuration)
        self.quic.connect(("127.0.0.1", port), now=time.monotonic())
        self.h3: Any = None
        self.events: list[Any] = []
        self.raw: dict[int, bytes] = {}  # streams of WebTransport that were opened here
        self._webtransport = webtransport
        self._flush()
        self.until(lambda: self.quic.tls is not None and self._established)

    _established = False

    def _flush(self) -> None:
        for data, _ in self.quic.datagrams_to_send(now=time.monotonic()):
            self._sock.send(data)

    def until(self, condition: Callable[[], Any]) -> None:
        """Talk until the condition holds."""
        end = time.monotonic() + LIMIT
        self._flush()
        while not condition():
            assert time.monotonic() < end, "no answer in time"
            timer = self.quic.get_timer()
            wait = 0.2 if timer is None else min(max(timer - time.monotonic(), 0.001), 0.2)
            self._sock.settimeout(wait)
            try:
                data = self._sock.recv(65536)
            except TimeoutError:
                self.quic.handle_timer(now=time.monotonic())
            else:
                self.quic.receive_datagram(data, ("127.0.0.1", 1), now=time.monotonic())
            while (event := self.quic.next_event()) is not None:
                if type(event).__name__ == "HandshakeCompleted":
                    self._established = True
                    self.h3 = H3Connection(self.quic, enable_webtransport=self._webtransport)
                elif type(event).__name__ == "ConnectionTerminated":
                    raise AssertionError(f"early end: {event}")
                elif getattr(event, "stream_id", -1) in self.raw:
                    self.raw[event.stream_id] += getattr(event, "data", b"")
                elif self.h3 is not None:
                    self.events += self.h3.handle_event(event)
            self._flush()

    def request(self, *fields: tuple[bytes, bytes], body: bytes = b"", end: bool = True) -> int:
        stream_id = self.quic.get_next_available_stream_id()
        self.h3.send_headers(stream_id, list(fields), end_stream=end and not body)
        if body:
            self.h3.send_data(stream_id, body, end_stream=True)
        return int(stream_id)

    def answer(self, stream_id: int) -> dict[bytes, bytes]:
        """The head of the answer."""

        def heads() -> list[Any]:
            return [
                event
                for event in self.events
                if isinstance(event, HeadersReceived) and event.stream_id == stream_id
            ]

        self.until(heads)
        return dict(heads()[0].headers)

    def body(self, stream_id: int) -> bytes:
        """The whole body of the answer."""
        self.until(
            lambda: any(
                getattr(event, "stream_ended", False) and event.stream_id == stream_id
                for event in self.events
            )
        )
        return b"".join(
            event.data
            for event in self.events
            if isinstance(event, DataReceived) and event.stream_id == stream_id
        )

    def close(self) -> None:
        self.quic.close()
        self._flush()
        self._sock.close()


@pytest.fixture
def connect() -> Iterator[Callable[..., Peer]]:
    made: list[Peer] = []

    def start(port: int, **options: Any) -> Peer:
        made.append(Peer(port, **options))
        return made[-1]

    yield start
    for peer in made:
        peer.close()


def get(path: bytes, method: bytes = b"GET") -> list[tuple[bytes, bytes]]:
    return [
        (b":method", method),
        (b":scheme", b"https"),
        (b":authority", b"a.test"),
        (b":path", path),
    ]


REVERSE = """
services:
- name: far
  addr: 127.0.0.1:0
  listener: {{type: http3}}
  handler: {{type: http3}}
  forwarder: {{nodes: [{{name: t, addr: "127.0.0.1:{port}"}}]}}
"""


def test_reverse_proxy(stage: Stage, connect: Callable[..., Peer], tmp_path: Any) -> None:
    """1 MiB down, 200 kB up, several requests of one connection."""
    config = tmp_path / "far.yml"
    config.write_text(REVERSE.format(port=stage.origin))
    peer = connect(stage.node("-C", str(config)))
    first = peer.request(*get(b"/blob"))
    second = peer.request(*get(b"/", b"POST"), (b"content-length", b"200000"), body=bytes(200_000))
    assert peer.answer(first)[b":status"] == b"200"
    assert peer.body(first) == BLOB
    assert len(peer.body(second)) == 64


def test_webtransport(stage: Stage, connect: Callable[..., Peer]) -> None:
    """A session, and an HTTP request through a stream of it."""
    peer = connect(stage.node("-L", "http+wt://127.0.0.1:0"), webtransport=True)
    session = peer.request(
        *get(b"/wt", b"CONNECT"),
        (b":protocol", b"webtransport"),
        (b"sec-webtransport-http3-draft02", b"1"),
        end=False,
    )
    assert peer.answer(session)[b":status"] == b"200"
    stream_id = peer.h3.create_webtransport_stream(session)
    head = f"GET http://127.0.0.1:{stage.origin}/ HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
    peer.quic.send_stream_data(stream_id, head.encode(), False)

    peer.raw[stream_id] = b""
    peer.until(lambda: len(peer.raw[stream_id]) > len(BLOB) + 50)
    assert peer.raw[stream_id].endswith(BLOB)


def test_pht(stage: Stage, connect: Callable[..., Peer]) -> None:
    peer = connect(stage.node("-L", "socks5+h3://127.0.0.1:0"))
    token = peer.body(peer.request(*get(b"/authorize")))
    assert token.startswith(b"token=")
    push = peer.request(*get(b"/push?" + token, b"POST"), body=b"BQEA\n")
    assert peer.answer(push)[b":status"] == b"200"
    pull = peer.request(*get(b"/pull?" + token))
    assert peer.answer(pull)[b":status"] == b"200"
    peer.until(
        lambda: any(
            isinstance(event, DataReceived) and event.data == b"BQA=\n" for event in peer.events
        )
    )
