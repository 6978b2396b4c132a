"""Tunnels between two namespaces, both ends in this process: real packets, real TCP."""

from __future__ import annotations

import socket
import time

import gevent
import pytest

from gostpy.channel import device
from tests.engine.running import Running, Stage
from tests.netns.lab import Lab, Machine, eventually
from tests.netns.traffic import bulk, datagrams, half_close, many, pings, wait_for_ping

SERVICE = """
- name: {name}
  addr: "{address}"
  metadata: {{netns: {space}, netns.out: {space}}}
  listener: {{type: {listener}, metadata: {{{device}}}}}
  handler: {{type: {handler}, {chain} metadata: {{{options}}}{more}}}
  {forwarder}
"""
CHAIN = """
chains:
- name: way
  hops:
  - name: hop
    nodes:
    - name: n
      addr: "{address}"
      metadata: {{netns: {space}}}
      connector: {{type: relay, metadata: {{nodelay: true}}}}
      dialer: {{type: tcp}}
"""


def service(
    machine: Machine,
    kind: str,
    device: str = "",
    options: str = "",
    *,
    name: str = "s",
    address: str = ":8421",
    to: str = "",
    listener: str = "",
    chain: bool = False,
    more: str = "",
) -> str:
    """One service of a configuration."""
    return SERVICE.format(
        name=name,
        address=address,
        space=machine.name,
        listener=listener or kind,
        handler=kind,
        device=device,
        options=options,
        chain="chain: way," if chain else "",
        more=more,
        forwarder=f'forwarder: {{nodes: [{{name: t, addr: "{to}"}}]}}' if to else "",
    )


def relay(machine: Machine) -> str:
    return service(machine, "relay", name="relay", address=":8422", listener="tcp")


def run(stage: Stage, *services: str, rest: str = "") -> Running:
    return stage.run("services:" + "".join(services) + rest)


FAR = 'name: tf, net: "10.66.0.1/24,fd66::1/64"'
NEAR = 'name: tn, net: "10.66.0.2/24,fd66::2/64"'


@pytest.mark.parametrize("chain", [False, True], ids=["udp", "relay"])
def test_tun(stage: Stage, lab: Lab, chain: bool) -> None:
    run(stage, service(lab.far, "tun", FAR), *([relay(lab.far)] if chain else []))
    rest = CHAIN.format(address="10.200.0.2:8422", space=lab.near.name) if chain else ""
    target = "127.0.0.1:8421" if chain else "10.200.0.2:8421"
    options = "keepalive: true, ttl: 1s"
    run(
        stage,
        service(lab.near, "tun", NEAR, options, address=":0", to=target, chain=chain),
        rest=rest,
    )
    wait_for_ping(lab.near, "10.66.0.1")
    pings(lab.near, "10.66.0.1", "fd66::1")
    pings(lab.far, "10.66.0.2", "fd66::2")
    for host in ("10.66.0.1", "fd66::1"):
        bulk(lab, lab.near, lab.far, host)
        datagrams(lab, lab.near, lab.far, host)
    bulk(lab, lab.far, lab.near, "10.66.0.2")


def test_tun_with_auther_and_networks_behind_the_client(stage: Stage, lab: Lab) -> None:
    auther = """
authers:
- name: a
  auths: [{username: 10.66.0.2, password: sesame}, {username: "fd66::2", password: sesame}]
"""
    lab.near.give("10.77.0.1/32")
    routed = FAR + ', routes: ["10.77.0.0/24 10.66.0.2"]'
    run(stage, service(lab.far, "tun", routed, more=", auther: a"), rest=auther)
    to = "10.200.0.2:8421"
    wrong = run(stage, service(lab.near, "tun", NEAR, "passphrase: x", address=":0", to=to))
    server = stage._nodes[0]
    eventually(lambda: any("refused" in text for text in server.messages("debug")), "a refusal")
    assert not lab.near.ping("10.66.0.1")
    wrong.node.close()
    run(stage, service(lab.near, "tun", NEAR, "passphrase: sesame", address=":0", to=to))
    wait_for_ping(lab.near, "10.66.0.1")
    pings(lab.far, "10.77.0.1")


def test_tun_p2p(stage: Stage, lab: Lab) -> None:
    """The peer gets all that the device is given."""
    lab.near.give("10.78.0.1/32")
    run(stage, service(lab.far, "tun", FAR + ', route: "10.78.0.0/24"', "p2p: true"))
    to = "10.200.0.2:8421"
    run(stage, service(lab.near, "tun", NEAR, address=":0", to=to))
    wait_for_ping(lab.near, "10.66.0.1")
    pings(lab.far, "10.66.0.2", "10.78.0.1")


def test_admission_holds_for_peers_of_tun(stage: Stage, lab: Lab) -> None:
    rest = "admissions:\n- {name: a, whitelist: true, matchers: [10.200.0.99]}\n"
    text = service(lab.far, "tun", FAR) + "  admission: a\n"
    run(stage, text, rest=rest)
    run(stage, service(lab.near, "tun", NEAR, address=":0", to="10.200.0.2:8421"))
    far = stage._nodes[0].node.world.runtime.services["s"]
    eventually(lambda: far.guards.refused, "a refusal")
    assert not lab.near.ping("10.66.0.1")


@pytest.mark.parametrize("auth", ["", ", auth: {username: aes-128-gcm, password: sesame}"])
def test_tap(stage: Stage, lab: Lab, auth: str) -> None:
    run(stage, service(lab.far, "tap", "name: tf, net: 10.67.0.1/24", more=auth))
    near = "name: tn, net: 10.67.0.2/24"
    run(stage, service(lab.near, "tap", near, address=":0", to="10.200.0.2:8421", more=auth))
    wait_for_ping(lab.near, "10.67.0.1")
    pings(lab.near, "10.67.0.1")
    pings(lab.far, "10.67.0.2")
    bulk(lab, lab.near, lab.far, "10.67.0.1")
    datagrams(lab, lab.near, lab.far, "10.67.0.1")


def test_tap_multicast(stage: Stage, lab: Lab) -> None:
    """IPv6 finds its neighbours by multicast."""
    for machine, address, to in (
        (lab.far, ":8421", ""),
        (lab.near, ":0", "10.200.0.2:8421"),
    ):
        run(stage, service(machine, "tap", "name: t0", address=address, to=to))
    for machine, number in ((lab.far, 1), (lab.near, 2)):
        machine.ip("addr", "add", f"fd67::{number}/64", "dev", "t0", "nodad")
    wait_for_ping(lab.near, "fd67::1")


TUNGO = 'net: "10.55.0.1/24,fd55::1/64", route: "10.99.0.0/24,fd99::/64"'


@pytest.mark.parametrize("chain", [True, False], ids=["relay", "direct"])
def test_tungo(stage: Stage, lab: Lab, chain: bool) -> None:
    """Applications on one machine reach servers on the other, whatever addresses these have."""
    for address in ("10.99.0.1/32", "fd99::1/128"):
        lab.far.give(address)
    if chain:
        run(stage, relay(lab.far))
        way = CHAIN.format(address="10.200.0.2:8422", space=lab.near.name)
        run(stage, service(lab.near, "tungo", TUNGO, address=":0", chain=True), rest=way)
    else:  # the handler dials from the other machine
        text = service(lab.near, "tungo", TUNGO, address=":0")
        run(stage, text.replace(f"netns.out: {lab.near.name}", f"netns.out: {lab.far.name}"))
    wait_for_ping(lab.near, "10.99.0.1")
    pings(lab.near, "10.99.0.1", "fd99::1", "10.99.0.77")
    for host in ("10.99.0.1", "fd99::1"):
        bulk(lab, lab.near, lab.far, host)
        many(lab, lab.near, lab.far, host)
        half_close(lab, lab.near, lab.far, host)
        datagrams(lab, lab.near, lab.far, host, (1, 50, 1300, 8000))
    datagrams(lab, lab.near, lab.far, "10.99.0.1", (60000,))


def test_tungo_for_forwarded_clients(stage: Stage, lab: Lab) -> None:
    """A machine behind this one: its packets have a source that is not ours."""
    lab.near.give("10.99.0.1/32")
    lab.near.run(["sh", "-c", "echo 1 > /proc/sys/net/ipv4/ip_forward"])
    lab.far.ip("route", "add", "10.44.0.0/16", "via", lab.near.address)
    text = service(lab.near, "tungo", 'net: 10.55.0.1/24, route: "10.44.0.0/16"', address=":0")
    run(stage, text)
    server = lab.echo(lab.near, "10.99.0.1")
    stage._nodes[0].node.world.runtime.services["s"].handler.context.router = _Redirect(
        lab.near.name, f"10.99.0.1:{server}"
    )
    assert lab.far.ping("10.44.1.1")
    with lab.far.dial("10.44.1.1", 80) as sock:
        sock.sendall(b"hello")
        assert sock.recv(10) == b"hello"


class _Redirect:
    """A router for which every target is one server."""

    def __init__(self, space: str, address: str) -> None:
        self._space = space
        self._address = address

    def dial(self, request: object) -> object:
        from gostpy.net.dial import dial_tcp
        from gostpy.net.sockopt import SocketOptions

        return dial_tcp(self._address, SocketOptions(netns=self._space))


def test_tungo_does_not_dial_itself(stage: Stage, lab: Lab) -> None:
    """A target that is routed to the device, of whoever dials: that is a loop, which ends."""
    running = run(stage, service(lab.near, "tungo", TUNGO, address=":0"))
    wait_for_ping(lab.near, "10.99.0.1")
    with lab.near.dial("10.99.0.1", 9) as sock:
        assert sock.recv(10) == b""
    with lab.near.socket(kind=socket.SOCK_DGRAM) as sock:
        sock.sendto(b"hello", ("10.99.0.1", 9))
        eventually(lambda: len(_loops(running)) > 1, "a refusal of either")
    assert len(_loops(running)) < 10


def _loops(running: Running) -> list[str]:
    return [text for text in running.messages() if "leads back" in text]


def test_tunnel_comes_back(stage: Stage, lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """A device that somebody deletes."""
    monkeypatch.setattr(device, "DELAY", 0.05)
    run(stage, service(lab.far, "tun", FAR))
    run(stage, service(lab.near, "tun", NEAR, address=":0", to="10.200.0.2:8421"))
    wait_for_ping(lab.near, "10.66.0.1")
    for machine, name in ((lab.near, "tn"), (lab.far, "tf")):
        machine.ip("link", "del", name)
    eventually(lambda: lab.near.link("tn") and lab.far.link("tf"), "new devices")
    lab.near.ip("link", "del", "tn")  # so that it registers at the new server
    wait_for_ping(lab.near, "10.66.0.1")


def test_rate_of_the_service(stage: Stage, lab: Lab) -> None:
    """Limits of the service hold for what its device carries."""
    rest = "limiters:\n- {name: slow, limits: ['$ 200KB 200KB']}\n"
    run(stage, service(lab.far, "tun", FAR) + "  limiter: slow\n", rest=rest)
    run(stage, service(lab.near, "tun", NEAR, address=":0", to="10.200.0.2:8421"))
    wait_for_ping(lab.near, "10.66.0.1")
    started = time.monotonic()
    with lab.near.dial("10.66.0.1", lab.echo(lab.far, "10.66.0.1")) as sock:
        sending = gevent.spawn(sock.sendall, bytes(500_000))
        left = 500_000
        while left:
            left -= len(sock.recv(65536))
        sending.get(timeout=5)
    assert time.monotonic() - started > 1.0
