"""kcptun: the same wire as gost's kcp, from the library's own program.

KCPTUN_CLIENT and KCPTUN_SERVER may name the programs.
"""

from __future__ import annotations

import os

import pytest

from tests.peers.stage import Stage, free_port, program

pytestmark = pytest.mark.timeout(60)

# the options of gost and those of kcptun
CASES = [
    pytest.param("", (), id="aes"),
    pytest.param("&kcp.crypt=sm4", ("-crypt", "sm4"), id="sm4"),
    pytest.param("&kcp.crypt=none&kcp.nocomp=true", ("-crypt", "none", "-nocomp"), id="none"),
    pytest.param("&kcp.smuxver=2", ("-smuxver", "2"), id="smux-2"),
    pytest.param("", ("-datashard", "5", "-parityshard", "2"), id="other-shards"),
    pytest.param("", ("-datashard", "0", "-parityshard", "0"), id="no-shards"),
]
OURS = "kcp.key=s3cret&kcp.mode=fast&kcp.mtu=1350&kcp.sndwnd=512&kcp.rcvwnd=512"


@pytest.mark.parametrize(("ours", "theirs"), CASES)
def test_client(stage: Stage, ours: str, theirs: tuple[str, ...]) -> None:
    client = program(os.environ.get("KCPTUN_CLIENT", "kcptun-client"))
    port = stage.node("-L", f"kcp://127.0.0.1:0/127.0.0.1:{stage.origin}?{OURS}{ours}")
    entry = free_port()
    words = ("-l", f"127.0.0.1:{entry}", "-r", f"127.0.0.1:{port}", "-key", "s3cret")
    stage.start(client, *words, *theirs, port=entry)
    stage.check(port=entry)


@pytest.mark.parametrize(("ours", "theirs"), CASES)
def test_server(stage: Stage, ours: str, theirs: tuple[str, ...]) -> None:
    server = program(os.environ.get("KCPTUN_SERVER", "kcptun-server"))
    port = free_port()
    words = ("-l", f"127.0.0.1:{port}", "-t", f"127.0.0.1:{stage.origin}", "-key", "s3cret")
    stage.start(server, *words, *theirs)
    entry = stage.node(
        "-L", "tcp://127.0.0.1:0", "-F", f"forward+kcp://127.0.0.1:{port}?{OURS}{ours}"
    )
    stage.check(port=entry)
