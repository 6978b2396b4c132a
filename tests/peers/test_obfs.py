"""simple-obfs's own programs on the other side."""

from __future__ import annotations

import pytest

from tests.peers.stage import Stage, free_port, program

FORMS = pytest.mark.parametrize("form", ["http", "tls"])


@FORMS
def test_obfs_server(stage: Stage, form: str) -> None:
    behind = stage.node("-L", "socks5://127.0.0.1:0")
    port = free_port()
    words = ["-s", "127.0.0.1", "-p", str(port), "--obfs", form, "-r", f"127.0.0.1:{behind}"]
    stage.start(program("obfs-server"), *words, port=port)
    node = f"socks5+o{form}://127.0.0.1:{port}?notls=true&host=a.test"
    local = stage.node("-L", "auto://127.0.0.1:0", "-F", node)
    stage.check("-x", f"http://127.0.0.1:{local}", "-p")
    stage.check("-x", f"socks5h://127.0.0.1:{local}")


@FORMS
def test_obfs_local(stage: Stage, form: str) -> None:
    node = stage.node("-L", f"socks5+o{form}://127.0.0.1:0")
    port = free_port()
    words = ["-s", "127.0.0.1", "-p", str(node), "-l", str(port), "--obfs", form]
    stage.start(program("obfs-local"), *words, "--obfs-host", "a.test", port=port)
    stage.check("-x", f"socks5h://127.0.0.1:{port}")
