"""What the options of tun, tap and tungo listeners do to the interface, as ``ip`` shows it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from gostpy.channel import device
from gostpy.errors import ConfigError
from tests.engine.running import Running, Stage
from tests.netns.lab import Lab, Machine, eventually

KINDS = pytest.mark.parametrize("kind", ["tun", "tap", "tungo"])


def run(stage: Stage, machine: Machine, kind: str, metadata: str, rest: str = "") -> Running:
    return stage.run(
        f"""
services:
- name: s
  addr: ":0"
  metadata: {{netns: {machine.name}, netns.out: {machine.name}}}
  listener: {{type: {kind}, metadata: {{{metadata}}}}}
  handler: {{type: {kind}}}
{rest}"""
    )


def routes(machine: Machine, name: str) -> dict[str, str]:
    """Network -> gateway."""
    found: list[dict[str, Any]] = machine.show("route", "show", "dev", name)
    return {route["dst"]: route.get("gateway", "") for route in found}


@pytest.mark.effect("listener:tun", "name", "mtu", "gw", "net", "route", "routes")
@pytest.mark.effect("listener:tap", "name", "mtu", "gw", "net", "route", "routes")
@pytest.mark.effect("listener:tungo", "name", "mtu", "gw", "net", "route", "routes")
@KINDS
def test_interface(stage: Stage, lab: Lab, kind: str) -> None:
    run(
        stage,
        lab.near,
        kind,
        'name: x0, mtu: 1300, net: "10.5.0.1/24", gw: 10.5.0.9, route: "10.6.0.0/16,10.7.1.0/24",'
        ' routes: ["10.8.0.0/16 10.5.0.3", "10.9.0.0/16 x"]',
    )
    link = lab.near.link("x0")
    assert link["mtu"] == 1300 and "UP" in link["flags"]
    inner = [entry for entry in link["addr_info"] if entry["family"] == "inet"]
    assert (inner[0]["local"], inner[0]["prefixlen"]) == ("10.5.0.1", 24)
    assert routes(lab.near, "x0") == {
        "10.5.0.0/24": "",
        "10.6.0.0/16": "10.5.0.9",
        "10.7.1.0/24": "10.5.0.9",
        "10.8.0.0/16": "10.5.0.3",
        "10.9.0.0/16": "10.5.0.9",
    }


@pytest.mark.parametrize("kind", ["tun", "tungo"])
def test_several_addresses_and_routes_without_gateway(stage: Stage, lab: Lab, kind: str) -> None:
    metadata = 'name: x0, net: "10.5.0.1/24,bad,fd05::1/64, 10.6.0.1/32", route: "10.9.0.0/16"'
    run(stage, lab.near, kind, metadata)
    link = lab.near.link("x0")
    found = {entry["local"] for entry in link["addr_info"] if entry["scope"] == "global"}
    assert found == {"10.5.0.1", "10.6.0.1", "fd05::1"}
    assert routes(lab.near, "x0")["10.9.0.0/16"] == ""
    assert link["mtu"] == 1420


def test_default_names(stage: Stage, lab: Lab) -> None:
    run(stage, lab.near, "tungo", "net: 10.5.0.1/24")
    run(stage, lab.near, "tun", "net: 10.6.0.1/24")
    assert lab.near.link("tungo") and lab.near.link("tun0")


@pytest.mark.parametrize("kind", ["tun", "tungo"])
@pytest.mark.effect("listener:tun", "dns")
@pytest.mark.effect("listener:tungo", "dns")
def test_dns(
    stage: Stage, lab: Lab, kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "resolvectl"
    program.write_text(f'#!/bin/sh\necho "$@" > {tmp_path}/said\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    run(stage, lab.near, kind, 'name: x0, net: 10.5.0.1/24, dns: "10.0.0.53, bad, fd00::53"')
    assert (tmp_path / "said").read_text() == "dns x0 10.0.0.53 fd00::53\n"


def test_dns_that_cannot_be_set(
    stage: Stage, lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "resolvectl"
    program.write_text("#!/bin/sh\necho no such bus >&2\nexit 1\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    with pytest.raises(ConfigError, match="no such bus"):
        run(stage, lab.near, "tun", "name: x0, dns: 10.0.0.53")
    assert lab.near.link("x0") is None


@pytest.mark.effect("listener:tun", "router")
def test_router(stage: Stage, lab: Lab) -> None:
    """A named router: its routes are the system's, and say who is behind whom."""
    rest = """
routers:
- name: r
  routes:
  - {dst: 10.9.0.0/16, gateway: 10.5.0.2}
  - {net: 10.8.0.0/16, gateway: 10.5.0.3}
"""
    running = run(
        stage, lab.near, "tun", "name: x0, net: 10.5.0.1/24, route: 10.7.0.0/16, router: r", rest
    )
    found = routes(lab.near, "x0")
    assert (found["10.9.0.0/16"], found["10.8.0.0/16"]) == ("10.5.0.2", "10.5.0.3")
    carrier = running.node.world.runtime.services["s"].listener._carrier
    table = carrier._gateways()
    assert table.gateway(bytes([10, 9, 1, 1])) == bytes([10, 5, 0, 2])
    assert table.gateway(bytes([10, 7, 1, 1])) == b""


@KINDS
def test_deleted_device_is_made_anew(
    stage: Stage, lab: Lab, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(device, "DELAY", 0.05)
    running = run(stage, lab.near, kind, "name: x0, net: 10.5.0.1/24")
    first = lab.near.link("x0")["ifindex"]
    lab.near.ip("link", "del", "x0")
    eventually(lambda: (lab.near.link("x0") or {}).get("ifindex", first) != first, "a new device")
    running.node.close()
    eventually(lambda: lab.near.link("x0") is None, "no device")


def test_device_in_use(stage: Stage, lab: Lab) -> None:
    run(stage, lab.near, "tun", "name: x0, net: 10.5.0.1/24")
    with pytest.raises(ConfigError, match="x0: Device or resource busy"):
        run(stage, lab.near, "tun", "name: x0, net: 10.5.0.1/24")


def test_reload_keeps_the_device(stage: Stage, lab: Lab) -> None:
    running = run(stage, lab.near, "tun", "name: x0, net: 10.5.0.1/24")
    first = lab.near.link("x0")["ifindex"]
    text = running.path.read_text()
    running.rewrite(
        text.replace("handler: {type: tun}", "handler: {type: tun, metadata: {p2p: 1}}")
    )
    running.node.reload()
    assert lab.near.link("x0")["ifindex"] == first
