"""Tunnels between processes, gost 3.2.6 and gostpy in every assignment; gost with itself is the
control. Needs root and the real gost (GOST_BIN, or on the PATH)."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gevent
import pytest

from tests.netns.lab import Lab, Machine, eventually
from tests.netns.traffic import BULK, bulk, datagrams, exchange, many, pings, wait_for_ping

ASSIGNMENTS = pytest.mark.parametrize(
    ("server", "client"),
    [("gost", "gost"), ("gost", "gostpy"), ("gostpy", "gost"), ("gostpy", "gostpy")],
    ids=lambda name: name,
)
ROOT = Path(__file__).resolve().parents[2]
Start = Callable[..., Any]


@pytest.fixture
def start(gost_binary: str, lab: Lab, tmp_path: Path) -> Iterator[Start]:
    """Runs a program on a machine; ended when the test is over, before the namespaces."""
    running: list[Any] = []
    programs = {"gost": [gost_binary], "gostpy": [sys.executable, "-m", "gostpy"]}
    environment = {**os.environ, "GODEBUG": "urlstrictcolons=0", "PYTHONPATH": str(ROOT)}

    def begin(machine: Machine, program: str, *arguments: str, device: str = "") -> None:
        log = (tmp_path / f"{len(running)}-{program}.log").open("wb")
        command = [*programs[program], *arguments]
        running.append(machine.start(command, stdout=log, stderr=log, env=environment))
        log.close()
        if device:
            eventually(lambda: "UP" in (machine.link(device) or {}).get("flags", ()), device)

    yield begin
    for process in running:
        process.terminate()
    for process in running:
        with gevent.Timeout(10, False):
            process.wait()
        if process.poll() is None:
            process.kill()
            process.wait()


@ASSIGNMENTS
@pytest.mark.parametrize("chain", [False, True], ids=["udp", "relay"])
def test_tun(lab: Lab, start: Start, server: str, client: str, chain: bool) -> None:
    net = "net=10.66.0.1/24,fd66::1/64"
    listeners = ["-L", f"tun://:8421?{net}&name=tf"]
    if chain:
        listeners += ["-L", "relay://:8422"]
    start(lab.far, server, *listeners, device="tf")
    target = "127.0.0.1:8421" if chain else "10.200.0.2:8421"
    way = ["-F", "relay://10.200.0.2:8422"] if chain else []
    net = "net=10.66.0.2/24,fd66::2/64"
    start(
        lab.near,
        client,
        "-L",
        f"tun://:0/{target}?{net}&name=tn&keepAlive=true&ttl=1s&token=sesame",
        *way,
        device="tn",
    )
    for host in ("10.66.0.1", "fd66::1"):
        wait_for_ping(lab.near, host)
    wait_for_ping(lab.far, "10.66.0.2")
    bulk(lab, lab.near, lab.far, "10.66.0.1")
    datagrams(lab, lab.near, lab.far, "10.66.0.1")
    datagrams(lab, lab.near, lab.far, "fd66::1")


AUTHER = """
services:
- name: s
  addr: ":8421"
  listener: {type: tun, metadata: {name: tf, net: 10.66.0.1/24}}
  handler: {type: tun, auther: a}
authers:
- name: a
  auths: [{username: 10.66.0.2, password: sesame}]
"""


@ASSIGNMENTS
def test_passphrase(lab: Lab, start: Start, tmp_path: Path, server: str, client: str) -> None:
    config = tmp_path / "server.yml"
    config.write_text(AUTHER)
    start(lab.far, server, "-C", str(config), device="tf")
    for name, word in (("t1", "wrong"), ("t2", "sesame")):
        net = "10.66.0.3/32" if word == "wrong" else "10.66.0.2/24"
        uri = f"tun://:0/10.200.0.2:8421?net={net}&name={name}&passphrase={word}&keepalive=true"
        start(lab.near, client, "-L", f"{uri}&ttl=1s", device=name)
    wait_for_ping(lab.far, "10.66.0.2")
    assert not lab.far.ping("10.66.0.3")


@ASSIGNMENTS
@pytest.mark.parametrize("auth", ["", "chacha20-ietf-poly1305:sesame@"], ids=["plain", "cipher"])
def test_tap(lab: Lab, start: Start, server: str, client: str, auth: str) -> None:
    start(lab.far, server, "-L", f"tap://{auth}:8421?net=10.67.0.1/24&name=tf", device="tf")
    uri = f"tap://{auth}:0/10.200.0.2:8421?net=10.67.0.2/24&name=tn"
    start(lab.near, client, "-L", uri, device="tn")
    wait_for_ping(lab.near, "10.67.0.1")
    wait_for_ping(lab.far, "10.67.0.2")
    bulk(lab, lab.near, lab.far, "10.67.0.1")
    datagrams(lab, lab.near, lab.far, "10.67.0.1")


@ASSIGNMENTS
def test_tungo(lab: Lab, start: Start, server: str, client: str) -> None:
    for address in ("10.99.0.1/32", "fd99::1/128"):
        lab.far.give(address)
    start(lab.far, server, "-L", "relay://:8422")
    net = "net=10.55.0.1/24,fd55::1/64&route=10.99.0.0/24,fd99::/64"
    uri = f"tungo://:0?{net}&ipv6=true"
    start(lab.near, client, "-L", uri, "-F", "relay://10.200.0.2:8422", device="tungo")
    for host in ("10.99.0.1", "fd99::1"):
        datagrams(lab, lab.near, lab.far, host)
        if client == "gostpy":  # gost does not answer pings of IPv4
            pings(lab.near, host)
        bulk(lab, lab.near, lab.far, host)
        many(lab, lab.near, lab.far, host, 20)


def carry(lab: Lab, start: Start, server: str, client: str, channel: str, host: str) -> None:
    """3 MiB there and back, and a few small requests, through relay on a channel."""
    port = lab.echo(lab.far, "127.0.0.1")
    where, _, options = channel.partition("?")
    options = f"?{options}" if options else ""
    start(lab.far, server, "-L", f"relay+{where}://:8443{options}")
    start(
        lab.near,
        client,
        "-L",
        f"tcp://127.0.0.1:7001/127.0.0.1:{port}",
        "-F",
        f"relay+{where}://{host}:8443{options}",
    )

    def answered() -> bool:
        try:
            with lab.near.dial("127.0.0.1", 7001) as sock:
                sock.settimeout(3)
                sock.sendall(b"hello")
                return sock.recv(100) == b"hello"
        except OSError:
            return False

    eventually(answered, f"an answer through {channel}")
    with lab.near.dial("127.0.0.1", 7001) as sock:
        exchange(sock, BULK * 3)
    for number in range(20):
        with lab.near.dial("127.0.0.1", 7001) as sock:
            exchange(sock, str(number).encode() * 100)


@ASSIGNMENTS
@pytest.mark.parametrize("name", ["icmp", "icmp6"])
def test_icmp(lab: Lab, start: Start, server: str, client: str, name: str) -> None:
    host = "10.200.0.2"
    if name == "icmp6":
        for machine, address in ((lab.near, "fd00::1/64"), (lab.far, "fd00::2/64")):
            machine.ip("addr", "add", address, "dev", "cable", "nodad")
        host = "[fd00::2]"
    carry(lab, start, server, client, name, host)


@ASSIGNMENTS
def test_kcp_in_fake_tcp(lab: Lab, start: Start, server: str, client: str) -> None:
    carry(lab, start, server, client, "kcp?tcp=true", "10.200.0.2")
