"""WebSocket channels beside independent programs: v2ray-plugin, and the Autobahn cases by kosoku.

v2ray-plugin is looked for in V2RAY_PLUGIN and on the PATH (``go build`` of teddysun/v2ray-plugin);
kosoku on the PATH (``pip install kosoku``).
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from tests.peers.stage import LIMIT, Stage, free_port, program

CASES = Path(__file__).resolve().parents[2] / "testdata" / "websocket_cases.txt"
PASSED = {"OK", "NON-STRICT", "INFORMATIONAL"}


def plugin(stage: Stage, *words: str, local: int, remote: int) -> None:
    """Start v2ray-plugin without its own mux, which is no part of WebSocket."""
    name = os.environ.get("V2RAY_PLUGIN") or program("v2ray-plugin")
    ends = ["-localAddr", "127.0.0.1", "-localPort", str(local)]
    ends += ["-remoteAddr", "127.0.0.1", "-remotePort", str(remote)]
    stage.start(name, *ends, "-mux", "0", *words, port=local)


@pytest.mark.parametrize("compressed", ["false", "true"])
def test_v2ray_plugin_as_client(stage: Stage, compressed: str) -> None:
    options = f"path=/tunnel&enableCompression={compressed}"
    node = stage.node("-L", f"forward+ws://127.0.0.1:0/127.0.0.1:{stage.origin}?{options}")
    port = free_port()
    plugin(stage, "-path", "/tunnel", "-host", "a.test", local=port, remote=node)
    stage.check(port=port)


def test_v2ray_plugin_as_server(stage: Stage) -> None:
    far = free_port()
    plugin(stage, "-server", "-path", "/tunnel", local=far, remote=stage.origin)
    way = f"forward+ws://127.0.0.1:{far}?path=/tunnel"
    stage.check(port=stage.node("-L", f"tcp://127.0.0.1:0/127.0.0.1:{stage.origin}", "-F", way))


def test_v2ray_plugin_with_tls(stage: Stage) -> None:
    stage.certificate()
    options = f"path=/t&cert={stage.folder}/cert.pem&key={stage.folder}/key.pem"
    node = stage.node("-L", f"forward+wss://127.0.0.1:0/127.0.0.1:{stage.origin}?{options}")
    port = free_port()
    words = ["-tls", "-host", "localhost", "-path", "/t", "-cert", f"{stage.folder}/cert.pem"]
    plugin(stage, *words, local=port, remote=node)
    stage.check(port=port)


def test_no_case_that_gost_passes_fails(stage: Stage) -> None:
    """The listener before an echo server, and the cases of Autobahn that gost 3.2.6 passes: the
    others ask for texts to come back as texts, which a tunnel of bytes does not do."""
    runner = program("kosoku")
    echo = stage.tcp_echo()
    port = stage.node("-L", f"forward+ws://127.0.0.1:0/127.0.0.1:{echo}?path=/")
    wanted = CASES.read_text().split()
    words = [word for case in wanted for word in ("-i", case)]
    report = stage.folder / "report"
    target = f"ws://127.0.0.1:{port}/"
    subprocess.run(
        [runner, "-m", "fuzzingclient", *words, "-p", "8", "-o", str(report), target],
        capture_output=True,
        timeout=6 * LIMIT,
        check=False,
    )
    seen = {}
    for path in report.glob("*_case_*.json"):
        case = json.loads(path.read_text())
        seen[path.stem.partition("_case_")[2].replace("_", ".")] = case["behavior"]
    assert {case: seen.get(case) for case in wanted if seen.get(case) not in PASSED} == {}
