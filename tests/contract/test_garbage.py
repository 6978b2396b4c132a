"""Random and cut bytes at every listener and every handler: one line per conn at most, no exception
that nobody expected, and the service goes on."""

import contextlib
import random
import socket
from typing import Any

import gevent
import pytest

from gostpy.channel.stacks import LISTENERS
from gostpy.registry import names
from tests.contract.pairing import EXCEPTIONS, reset
from tests.engine.running import Running, Stage, dial, read_all

CARRIERS = sorted(name for name in LISTENERS if name not in EXCEPTIONS)
AWAY = {
    **dict.fromkeys(("rtcp", "rudp", "runix"), "bound by a chain"),
    **dict.fromkeys(("tun", "tap", "tungo"), "a device; tests/netns feeds it"),
}
HANDLERS = sorted(
    set(names("handler")) - {"rtcp", "rudp", "runix", "serial", "tun", "tap", "tungo"}
)

TEXT = """
services:
- name: in
  addr: {address}
  listener: {{type: {listener}}}
  handler:
    type: {handler}
    auth: {{username: chacha20-ietf-poly1305, password: pw}}
    metadata: {{readTimeout: 1s}}
  forwarder: {{nodes: [{{name: t, addr: "127.0.0.1:{target}"}}]}}
"""

STARTS = [
    b"",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(40),
    b"GET /ws HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n",
    b"GET / HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
    b"CONNECT a:b HTTP/1.1\r\n\r\n",
    b"POST http://[::1 HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\xff" * 20,
    b"\x05\x02\x00\x02",
    b"\x05\x01\x00\x05\x01\x00\x09",
    b"\x04\x01\x00\x50\x00\x00\x00\x01u\x00",
    b"\x01\x01\xff\xff",
    b"\x01\x00\x00\x03\x01\x00\x00",
    b"\x01\x02\xff\xff\x00\x00\x00\x01" + b"\xff" * 8,
    b"SSH-2.0-x\r\n" + b"\xff" * 30,
]


def payloads() -> list[bytes]:
    """The same every time."""
    rng = random.Random(20)
    made = list(STARTS)
    for size in (1, 2, 7, 40, 300, 5000):
        made += [rng.randbytes(size) for _ in range(2)]
    made += [start + rng.randbytes(rng.randrange(1, 60)) for start in STARTS]
    return made


@pytest.fixture
def unexpected(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Exceptions that reached the hub."""
    seen: list[Any] = []
    hub = gevent.get_hub()
    monkeypatch.setattr(hub, "handle_error", lambda *error: seen.append(error[1:3]))
    return seen


def check(running: Running, count: int, unexpected: list[Any]) -> None:
    told = [line for line in running.log() if line["level"] in ("info", "warning", "error")]
    known = ("listening", "there is")
    lines = [line for line in told if not line["msg"].startswith(known)]
    lines = [line for line in lines if "unknown option" not in line["msg"]]  # not all wait
    assert len(lines) <= count
    assert not [line for line in lines if "internal" in line["msg"] or "trace" in line]
    assert not [line for line in lines if line["msg"] == "handshake failed"]
    assert not unexpected


def settle(running: Running) -> None:
    """Until nothing is written to the log any more."""
    known = -1
    while known != (known := len(running.log())):
        gevent.sleep(0.02)


def started(stage: Stage, listener: str, handler: str) -> tuple[Running, Any, int]:
    unix = LISTENERS[listener].carrier == "unix"
    address = str(stage.folder / "s.sock") if unix else "127.0.0.1:0"
    target = stage.serve(lambda sock: sock.recv(65536))
    running = stage.run(
        TEXT.format(address=address, listener=listener, handler=handler, target=target)
    )
    bound = running.node.world.runtime.services["in"].listener.address
    return running, bound if unix else bound[:2], socket.AF_UNIX if unix else socket.AF_INET


@pytest.mark.parametrize("name", [name for name in CARRIERS if name not in AWAY])
def test_listener(stage: Stage, name: str, unexpected: list[Any]) -> None:
    handler = "udp" if LISTENERS[name].parts == ("udp",) else "socks5"
    running, address, family = started(stage, name, handler)
    if LISTENERS[name].carrier in ("tcp", "unix"):
        count = feed_stream(family, address)
    else:
        count = feed_datagrams(address)
    settle(running)
    check(running, count, unexpected)
    assert running.node.world.runtime.services["in"].state == "ready"


def feed_stream(family: int, address: Any) -> int:
    count = 0
    for number, payload in enumerate(payloads()):
        sock = socket.socket(family)
        sock.settimeout(5)
        sock.connect(address)
        count += 1
        with contextlib.suppress(OSError):
            sock.sendall(payload)
        if number % 2 and family == socket.AF_INET:
            reset(sock)
            continue
        with sock, contextlib.suppress(OSError):
            sock.shutdown(socket.SHUT_WR)
            read_all(sock)
    return count


def feed_datagrams(address: Any) -> int:
    count = 0
    for payload in payloads():
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.sendto(payload, address)
            count += 1
    return count


@pytest.mark.parametrize("name", HANDLERS)
def test_handler(stage: Stage, name: str, unexpected: list[Any]) -> None:
    running, address, family = started(stage, "tcp", name)
    count = feed_stream(family, address)
    settle(running)
    check(running, count, unexpected)
    with dial(address) as sock:
        assert sock.getpeername() == address
