"""PROXY protocol with haproxy: versions 1 and 2, received from it and sent to it."""

from __future__ import annotations

import re
import socket

import pytest

from tests.peers.stage import LIMIT, Stage, free_port, program

BASE = "defaults\n  mode {mode}\n  timeout connect 5s\n  timeout client 30s\n  timeout server 30s\n"


def haproxy(stage: Stage, text: str, port: int, mode: str) -> None:
    config = stage.file("haproxy.cfg", BASE.format(mode=mode) + text)
    stage.start(program("haproxy"), "-db", "-f", config, port=port)


def ask(port: int) -> tuple[str, str]:
    """(our address, the body of an HTTP answer)."""
    with socket.create_connection(("127.0.0.1", port), LIMIT) as sock:
        own = f"127.0.0.1:{sock.getsockname()[1]}"
        sock.sendall(b"GET / HTTP/1.0\r\n\r\n")
        answer = b""
        while part := sock.recv(4096):
            answer += part
    return own, answer.decode().partition("\r\n\r\n")[2].strip()


def shows_source(port: int) -> str:
    """A front end that tells the source it was told."""
    return (
        f"frontend f\n  bind 127.0.0.1:{port} accept-proxy\n"
        "  http-request return status 200 content-type text/plain lf-string %ci:%cp\n"
    )


@pytest.mark.parametrize("version", [1, 2])
def test_sent_to_haproxy(stage: Stage, version: int) -> None:
    port = free_port()
    haproxy(stage, shows_source(port), port, "http")
    local = stage.node("-L", f"tcp://127.0.0.1:0/127.0.0.1:{port}?handler.proxyProtocol={version}")
    own, shown = ask(local)
    assert shown == own


@pytest.mark.parametrize("sends", ["send-proxy", "send-proxy-v2"])
def test_received_from_haproxy(stage: Stage, sends: str) -> None:
    """Client -> haproxy -> gostpy -> haproxy, which shows the client's own address."""
    front, back = free_port(), free_port()
    target = f"127.0.0.1:{back}?proxyProtocol=1&handler.proxyProtocol=2"
    middle = stage.node("-L", f"tcp://127.0.0.1:0/{target}")
    text = (
        f"listen in\n  mode tcp\n  bind 127.0.0.1:{front}\n"
        f"  server s 127.0.0.1:{middle} {sends}\n{shows_source(back)}"
    )
    haproxy(stage, text, front, "http")
    own, shown = ask(front)
    assert shown == own


def test_a_wrong_header_ends_one_connection(stage: Stage) -> None:
    port = stage.node("-L", f"tcp://127.0.0.1:0/127.0.0.1:{stage.origin}?proxyProtocol=1")
    with socket.create_connection(("127.0.0.1", port), LIMIT) as sock:
        sock.sendall(b"PROXY TCP4 nonsense\r\n")
        assert not re.match(rb"HTTP", sock.recv(100))
    stage.check(port=port)
