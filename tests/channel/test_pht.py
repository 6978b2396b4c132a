"""The pht mux: options of both sides as the other side sees them; which HTTP phts speaks."""

import gevent
import pytest

from gostpy.channel import pht
from gostpy.channel.stacks import DIALERS, LISTENERS, part
from gostpy.interfaces import Context
from gostpy.net.timers import timeout
from gostpy.options import parse
from gostpy.stream.pht import Paths
from tests.channel.fakes import SilentLog
from tests.contract.pairing import Seen
from tests.contract.test_channels import talk
from tests.engine.conftest import stage  # noqa: F401
from tests.engine.running import Stage, eventually
from tests.net.pairs import socket_pair


def mux(listening, options=None, address="node.test:8080"):
    cls = pht.ListenOptions if listening else pht.DialOptions
    return pht.Mux(parse(cls, options), Context(address, SilentLog(), listening=listening))


def first_request(options=None, address="node.test:8080"):
    """What a dialer sends first."""
    ours, peer = socket_pair()
    peer.timeout = 5
    dialing = gevent.spawn(mux(False, options, address).gather, lambda: ours)
    try:
        return peer.recv().decode()
    finally:
        dialing.kill()
        peer.close(True)


@pytest.mark.effect("dialer:pht", "host", "header")
@pytest.mark.parametrize(
    ("options", "line"),
    [
        ({}, "Host: node.test:8080"),
        ({"host": "cdn.test"}, "Host: cdn.test:8080"),
        ({"host": "cdn.test:1"}, "Host: cdn.test:8080"),
        ({"host": "2001:db8::1"}, "Host: [2001:db8::1]:8080"),
        ({"header": {"x-secret": "1"}}, "X-Secret: 1"),
        ({"header": {"user-agent": "curl"}}, "User-Agent: curl"),
    ],
)
def test_dial_options(options, line):
    assert line in first_request(options).split("\r\n")


def test_headers_that_are_ours():
    request = first_request({"header": {"host": "a", "content-length": "5", "x": "a\r\nb: c"}})
    assert request.count("\r\n") == 4


@pytest.mark.effect("dialer:pht", "authorizePath", "pushPath", "pullPath")
@pytest.mark.effect("listener:pht", "authorizePath", "pushPath", "pullPath")
@pytest.mark.parametrize(
    ("options", "paths"),
    [
        ({}, Paths()),
        (
            {"authorizePath": "/a", "pushPath": "/b", "pullPath": "/c"},
            Paths("/a", "/b", "/c"),
        ),
        ({"authorizePath": "a", "pushPath": "", "pullPath": "/c"}, Paths(pull="/c")),
    ],
)
def test_paths(options, paths):
    """Both sides with the same paths understand each other, by these requests."""
    serving, dialing = mux(True, options), mux(False, options)
    assert (serving._paths, dialing._paths) == (paths, paths)
    conns, requests = [], []

    def establish():
        ours, served = socket_pair()
        serving.serve(served, conns.append)
        tunnels = serving._tunnels
        ask = type(tunnels).request

        def noted(method, target, answering):
            requests.append((method, target.partition("?")[0]))
            return ask(tunnels, method, target, answering)

        tunnels.request = noted
        return ours

    with timeout(5):
        session = dialing.gather(establish)
        conn = session.open()
        conn.sendall(b"hello")
        while not conns:
            gevent.sleep(0.001)
        assert conns[0].recv() == b"hello"
    assert set(requests) == {
        ("GET", paths.authorize),
        ("GET", paths.pull),
        ("POST", paths.push),
    }
    session.close()
    conns[0].close(True)


def test_rows():
    assert LISTENERS["phts"].layers == ("tls",)
    assert part(DIALERS["phts"].layers[0]).alpn == ("h2", "http/1.1")


NODES = """
services:
- name: far
  addr: 127.0.0.1:0
  listener: {{type: phts, tls: {{options: {{alpn: {alpn}}}}}}}
  handler: {{type: tcp}}
  forwarder: {{nodes: [{{name: t, addr: "127.0.0.1:{target}"}}]}}
"""
NEAR = """
services:
- name: near
  addr: 127.0.0.1:0
  handler: {{type: tcp, chain: way}}
  forwarder: {{nodes: [{{name: t, addr: "127.0.0.1:1"}}]}}
chains:
- name: way
  hops:
  - name: hop
    nodes:
    - {{name: node, addr: "127.0.0.1:{far}", dialer: {{type: phts}}, connector: {{type: forward}}}}
"""


@pytest.mark.parametrize("alpn", ["[]", "[h2]", "[http/1.1]"])
def test_http_of_phts(stage: Stage, alpn: str) -> None:  # noqa: F811
    """The listener's ALPN decides; a client offers both. Either way all comes through."""
    far = stage.run(NODES.format(alpn=alpn, target=stage.echo()))
    service = far.node.world.runtime.services["far"]
    seen = service.handler = Seen(service.handler)
    near = stage.run(NEAR.format(far=far.port("far")))
    data = bytes(range(256)) * 4096
    assert talk(near.port("near"), data) == data
    talks = [gevent.spawn(talk, near.port("near"), data[:5000]) for _ in range(40)]
    gevent.joinall(talks, timeout=20)
    assert [each.value for each in talks] == [data[:5000]] * 40
    assert {conn.info.tls.alpn for conn in seen.conns} == {alpn.strip("[]")}
    eventually(lambda: not service.listener._mux._tunnels.count)
    assert not far.messages("error", "warning")
    assert not near.messages("error", "warning")
