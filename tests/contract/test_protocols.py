"""Every pair of handler and connector of one name carries requests and refuses them well."""

import hashlib
import socket

import gevent
import pytest

from gostpy.registry import names
from tests.contract.pairing import reset
from tests.engine.running import (
    Running,
    Stage,
    ask,
    dial,
    eventually,
    read_all,
    read_exact,
    socks,
)

EXCEPTIONS = {
    "forward": "no protocol; test_channels has it",
    "tcp": "no protocol; test_channels has it",
    "unix": "no protocol",
    "serial": "needs a device",
    "tunnel": "meets its clients by tunnel id",
    "router": "carries IP packets",
    "masque": "needs its own channel",
    "sshd": "needs its own channel",
    "ssu": "datagrams only",
    "sni": "the target is in the client's bytes",
}
CHANNELS = {"http2": "http2"}
"""Protocol -> the data channel that it must be used with."""

LOGIN = {"ss": "chacha20-ietf-poly1305"}
"""Protocol -> user name, where that is no free choice."""

WITHOUT_PASSWORD = ("socks4", "socks4a")

PAIRS = sorted((set(names("handler")) & set(names("connector"))) - set(EXCEPTIONS))
every = pytest.mark.parametrize("name", PAIRS)

NODES = """
services:
- name: in
  addr: 127.0.0.1:0
  handler: {{type: socks5, chain: way}}
chains:
- name: way
  hops:
  - name: h
    nodes:
    - name: n
      addr: 127.0.0.1:{port}
      dialer: {{type: {channel}}}
      connector: {{type: {name}, auth: {{username: {user}, password: {password}}}}}
"""
SERVICE = """
services:
- name: far
  addr: 127.0.0.1:0
  listener: {{type: {channel}}}
  handler:
    type: {name}
    auth: {{username: {user}, password: {password}}}
    metadata: {{readTimeout: {timeout}}}
  {service}
{rest}
"""
MEBIBYTE = hashlib.shake_128(b"gostpy").digest(1 << 20)


def far(
    stage: Stage, name: str, service: str = "", rest: str = "", timeout: str = "15s"
) -> Running:
    """A node that serves this protocol."""
    text = SERVICE.format(
        channel=CHANNELS.get(name, "tcp"),
        name=name,
        user=LOGIN.get(name, "ann"),
        password="" if name in WITHOUT_PASSWORD else "pw",
        timeout=timeout,
        service=service,
        rest=rest,
    )
    return stage.run(text)


def near(stage: Stage, name: str, port: int, password: str = "pw") -> int:
    """The port of a SOCKS 5 proxy whose chain is a node of this protocol."""
    channel, user = CHANNELS.get(name, "tcp"), LOGIN.get(name, "ann")
    password = "" if name in WITHOUT_PASSWORD else password
    text = NODES.format(port=port, channel=channel, name=name, user=user, password=password)
    return stage.run(text).port("in")


@every
def test_echo(stage: Stage, name: str) -> None:
    behind = far(stage, name)
    proxy, target = near(stage, name, behind.port("far")), stage.echo()
    for data in (b"hello", MEBIBYTE):
        with socks(proxy, "127.0.0.1", target) as sock:
            sending = gevent.spawn(sock.sendall, data)
            assert read_exact(sock, len(data)) == data
            sending.get(timeout=5)
    assert not behind.messages("error", "warning")


@every
def test_server_speaks_first(stage: Stage, name: str) -> None:
    proxy = near(stage, name, far(stage, name).port("far"))
    assert ask(proxy, "127.0.0.1", stage.greeter("hello")) == "hello"


@every
def test_names_are_resolved_there(stage: Stage, name: str) -> None:
    rest = "hosts: [{name: h, mappings: [{ip: 127.0.0.1, hostname: a.test}]}]"
    proxy = near(stage, name, far(stage, name, "hosts: h", rest).port("far"))
    expected = "here" if name != "socks4" else ask(proxy, "a.test", stage.greeter("here"))
    assert ask(proxy, "a.test", stage.greeter("here")) == expected


@every
def test_half_close(stage: Stage, name: str) -> None:
    target = stage.serve(lambda sock: sock.sendall(hashlib.sha256(read_all(sock)).digest()))
    proxy = near(stage, name, far(stage, name).port("far"))
    with socks(proxy, "127.0.0.1", target) as sock:
        sock.sendall(MEBIBYTE)
        sock.shutdown(socket.SHUT_WR)
        assert read_all(sock) == hashlib.sha256(MEBIBYTE).digest()


@every
def test_hundred_requests_at_once(stage: Stage, name: str) -> None:
    behind = far(stage, name)
    proxy, target = near(stage, name, behind.port("far")), stage.greeter("hello")
    asking = [gevent.spawn(ask, proxy, "127.0.0.1", target) for _ in range(100)]
    gevent.joinall(asking, timeout=20)
    assert [each.value for each in asking] == ["hello"] * 100


@every
def test_wrong_password(stage: Stage, name: str) -> None:
    if name in WITHOUT_PASSWORD:
        pytest.skip("has no password")
    behind = far(stage, name, timeout="1s")
    proxy = near(stage, name, behind.port("far"), "wrong")
    assert ask(proxy, "127.0.0.1", stage.greeter("in")) != "in"
    assert ask(near(stage, name, behind.port("far")), "127.0.0.1", stage.greeter("in")) == "in"


@every
def test_target_that_is_down(stage: Stage, name: str) -> None:
    """Refused or closed, told in one line, and the next request is served."""
    behind = far(stage, name)
    proxy = near(stage, name, behind.port("far"))
    assert ask(proxy, "127.0.0.1", stage.dead_port()) in ("reply 3", "reply 5", "")
    assert len(eventually(lambda: behind.messages("error"))) == 1
    assert ask(proxy, "127.0.0.1", stage.greeter("x")) == "x"


@every
def test_bypass(stage: Stage, name: str) -> None:
    rest = "bypasses: [{name: b, matchers: [127.0.0.1]}]"
    behind = far(stage, name, "bypass: b", rest)
    proxy = near(stage, name, behind.port("far"))
    assert ask(proxy, "127.0.0.1", stage.greeter("in")) != "in"
    assert not behind.messages("error")


@every
def test_admission(stage: Stage, name: str) -> None:
    rest = "admissions: [{name: a, matchers: [127.0.0.1]}]"
    proxy = near(stage, name, far(stage, name, "admission: a", rest).port("far"))
    assert ask(proxy, "127.0.0.1", stage.greeter("in")) != "in"


@every
def test_request_rate(stage: Stage, name: str) -> None:
    rest = "rlimiters: [{name: r, limits: ['$ 1']}]"
    proxy = near(stage, name, far(stage, name, "rlimiter: r", rest).port("far"))
    target = stage.greeter("in")
    answers = [ask(proxy, "127.0.0.1", target) for _ in range(4)]
    assert answers[:2] == ["in", "in"]
    assert answers[2] != "in"


@every
def test_reset_of_a_client(stage: Stage, name: str) -> None:
    ended = []

    def target(sock: socket.socket) -> None:
        sock.sendall(b"ready")
        read_all(sock)
        ended.append(True)

    proxy = near(stage, name, far(stage, name).port("far"))
    sock = socks(proxy, "127.0.0.1", stage.serve(target))
    assert read_exact(sock, 5) == b"ready"
    reset(sock)
    eventually(lambda: ended)


@every
def test_slow_request_is_closed(stage: Stage, name: str) -> None:
    """A request that is cut anywhere holds a handler no longer than its readTimeout."""
    if name in CHANNELS:
        pytest.skip("its channel has the time limit")
    heard = []

    def listen(sock: socket.socket) -> None:
        heard.append(sock.recv(65536))

    ask(near(stage, name, stage.serve(listen)), "127.0.0.1", 80)
    (hello,) = heard
    running = far(stage, name, timeout="400ms")
    cut_off = []
    for cut in range(0, len(hello), max(len(hello) // 20, 1)):
        sock = dial(running.port("far"))
        sock.sendall(hello[:cut])
        cut_off.append(sock)
    with gevent.Timeout(4):
        for sock in cut_off:
            with sock:
                read_all(sock)
    assert len(running.messages("error", "info")) <= len(cut_off) + 1
    assert not [message for message in running.messages() if "internal" in message]
