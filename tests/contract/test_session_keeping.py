"""Every data channel with a mux keeps its sessions in the same way: shared, missed, replaced."""

from __future__ import annotations

from typing import Any

import pytest

from gostpy.channel.sessions import SessionPool
from gostpy.channel.stacks import DIALERS, LISTENERS
from tests.contract.pairing import FAR, PROTOCOLS, STREAMS, Pair
from tests.contract.test_channels import talk
from tests.engine.running import Stage, eventually

MUXES = [
    name for name in STREAMS if LISTENERS[name].mux and DIALERS[name].mux and name not in PROTOCOLS
]

every = pytest.mark.parametrize("name", MUXES)

IMPATIENT: dict[str, str] = {}
"""Data channel -> metadata of its dialer that make it miss a peer soon, where nothing tells it."""


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The sessions that were made so far."""
    sessions: list[Any] = []
    make = SessionPool._make

    def noted(pool: SessionPool, connect: Any) -> None:
        make(pool, lambda: sessions.append(connect()) or sessions[-1])

    monkeypatch.setattr(SessionPool, "_make", noted)
    return sessions


@every
def test_streams_share_a_session(stage: Stage, name: str, made: list[Any]) -> None:
    pair = Pair(stage, name, stage.echo())
    for number in range(5):
        assert talk(pair.port, b"%d" % number) == b"%d" % number
    assert len(made) == 1


@every
def test_a_node_that_comes_back_is_used_again(stage: Stage, name: str, made: list[Any]) -> None:
    """Its end is noticed without a request; the next request makes a session; both are told."""
    target = stage.echo()
    pair = Pair(stage, name, target, dialer=IMPATIENT.get(name, ""))
    carriers: list[Any] = []
    mux = pair.far_service.listener._mux
    serve = mux.serve
    mux.serve = lambda conn, deliver: carriers.append(conn) or serve(conn, deliver)
    assert talk(pair.port, b"before") == b"before"
    port = pair.far.port("far")
    pair.far.node.close()
    for conn in carriers:  # what the end of a process does
        conn.close(True)
    eventually(lambda: not made[0].alive)
    eventually(lambda: any("is down" in line for line in pair.near.messages("warning")))
    forwarder = f'forwarder: {{nodes: [{{name: t, addr: "127.0.0.1:{target}"}}]}}'
    stage.run(
        FAR.format(
            address=f"127.0.0.1:{port}",
            name=name,
            handler="tcp",
            service="",
            forwarder=forwarder,
            rest="",
        )
    )
    assert talk(pair.port, b"after") == b"after"
    assert any("is back" in line for line in pair.near.messages("info"))
