"""Channels on datagrams, reached through a node before: its answers have other addresses."""

import pytest

from gostpy.channel.stacks import DIALERS, LISTENERS
from tests.contract.pairing import STREAMS
from tests.contract.test_channels import talk
from tests.engine.running import Stage

NAMES = sorted(
    name
    for name in STREAMS
    if name in DIALERS and LISTENERS[name].carrier in ("quic", "dtlspackets", "sealed")
)

FAR = """
services:
- {{name: far, addr: "127.0.0.1:0", listener: {{type: {name}}}, handler: {{type: relay}}}}
- name: between
  addr: "127.0.0.1:0"
  handler: {{type: {kind}, metadata: {{udp: true}}}}
"""

NEAR = """
services:
- name: near
  addr: "127.0.0.1:0"
  listener: {{type: tcp}}
  handler: {{type: tcp, chain: way}}
  forwarder: {{nodes: [{{name: t, addr: "127.0.0.1:{target}"}}]}}
chains:
- name: way
  hops:
  - name: first
    nodes:
    - name: between
      addr: "127.0.0.1:{between}"
      connector: {{type: {kind}, metadata: {{relay: udp}}}}
  - name: second
    nodes:
    - name: far
      addr: "127.0.0.1:{far}"
      dialer: {{type: {name}}}
      connector: {{type: relay}}
"""


@pytest.mark.parametrize("kind", ["relay", "socks5"])
@pytest.mark.parametrize("name", NAMES)
def test_through_a_node(stage: Stage, name: str, kind: str) -> None:
    far = stage.run(FAR.format(name=name, kind=kind))
    near = stage.run(
        NEAR.format(
            name=name,
            kind=kind,
            target=stage.echo(),
            between=far.port("between"),
            far=far.port("far"),
        )
    )
    assert talk(near.port("near"), bytes(range(256)) * 100) == bytes(range(256)) * 100
