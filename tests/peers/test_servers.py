"""gostpy as a client of independent servers: SOCKS, HTTP, Shadowsocks, TLS, WebSocket."""

from __future__ import annotations

import socket

import pytest

from tests.peers.stage import LIMIT, Stage, free_port, program

USER = "alice:secret"
METHODS = ["aes-128-gcm", "aes-256-gcm", "chacha20-ietf-poly1305"]
DANTE = """\
logoutput: stderr
internal: 127.0.0.1 port = {port}
external: 127.0.0.1
clientmethod: none
socksmethod: none
user.privileged: root
user.unprivileged: nobody
client pass {{ from: 0/0 to: 0/0 }}
socks pass {{ from: 0/0 to: 0/0 }}
"""


def check_through(stage: Stage, *nodes: str) -> None:
    """A local proxy whose way out are these nodes."""
    hops = [word for node in nodes for word in ("-F", node)]
    port = stage.node("-L", "auto://127.0.0.1:0", *hops)
    stage.check("-x", f"http://127.0.0.1:{port}", "-p")
    stage.check("-x", f"socks5h://127.0.0.1:{port}", host="localhost")


def test_microsocks(stage: Stage) -> None:
    port = free_port()
    stage.start(program("microsocks"), "-i", "127.0.0.1", "-p", str(port), port=port)
    check_through(stage, f"socks5://127.0.0.1:{port}")


def test_microsocks_with_user(stage: Stage) -> None:
    port = free_port()
    words = ["-i", "127.0.0.1", "-p", str(port), "-u", "alice", "-P", "secret"]
    stage.start(program("microsocks"), *words, port=port)
    check_through(stage, f"socks5://{USER}@127.0.0.1:{port}")
    local = stage.node("-L", "http://127.0.0.1:0", "-F", f"socks5://alice:wrong@127.0.0.1:{port}")
    url = f"http://127.0.0.1:{stage.origin}/"
    done = stage.curl(
        "-o", "/dev/null", "-w", "%{http_code}", "-x", f"http://127.0.0.1:{local}", url
    )
    assert done.stdout == b"503"


def dante(stage: Stage) -> int:
    port = free_port()
    config = stage.file("danted.conf", DANTE.format(port=port))
    stage.start(program("danted"), "-f", config, port=port)
    return port


def test_dante(stage: Stage) -> None:
    check_through(stage, f"socks5://127.0.0.1:{dante(stage)}")


def test_dante_udp(stage: Stage) -> None:
    node = f"socks5://127.0.0.1:{dante(stage)}?relay=udp"
    port = stage.node(
        "-L", f"udp://127.0.0.1:0/127.0.0.1:{stage.udp_echo()}?keepalive=true", "-F", node
    )
    stage.check_udp(port)


def test_two_servers_in_a_row(stage: Stage) -> None:
    port = free_port()
    stage.start(program("microsocks"), "-i", "127.0.0.1", "-p", str(port), port=port)
    check_through(stage, f"socks5://127.0.0.1:{dante(stage)}", f"socks5://127.0.0.1:{port}")


def test_tinyproxy(stage: Stage) -> None:
    port = free_port()
    config = f"Port {port}\nListen 127.0.0.1\nBasicAuth alice secret\nTimeout 30\nMaxClients 20\n"
    stage.start(program("tinyproxy"), "-d", "-c", stage.file("tiny.conf", config), port=port)
    check_through(stage, f"http://{USER}@127.0.0.1:{port}")


@pytest.mark.parametrize("method", METHODS)
def test_ss_server(stage: Stage, method: str) -> None:
    port = free_port()
    words = ["-s", "127.0.0.1", "-p", str(port), "-k", "key", "-m", method]
    stage.start(program("ss-server"), *words, port=port)
    check_through(stage, f"ss://{method}:key@127.0.0.1:{port}")


@pytest.mark.parametrize("method", METHODS)
def test_ss_server_udp(stage: Stage, method: str) -> None:
    port = free_port()
    words = ["-s", "127.0.0.1", "-p", str(port), "-k", "key", "-m", method, "-u"]
    stage.start(program("ss-server"), *words, port=port)
    target = f"udp://127.0.0.1:0/127.0.0.1:{stage.udp_echo()}?keepalive=true"
    stage.check_udp(stage.node("-L", target, "-F", f"ssu+udp://{method}:key@127.0.0.1:{port}"))


def test_stunnel_behind(stage: Stage) -> None:
    inner = stage.node("-L", f"socks5://{USER}@127.0.0.1:0?notls=true")
    port = free_port()
    config = f"foreground = yes\npid =\n[in]\ncert = {stage.certificate()}\n"
    config += f"accept = 127.0.0.1:{port}\nconnect = 127.0.0.1:{inner}\n"
    stage.start(program("stunnel"), stage.file("stunnel.conf", config), port=port)
    check_through(stage, f"socks5+tls://{USER}@127.0.0.1:{port}?notls=true")
    stage.certificate()  # another one: the first is what the server has
    bad = f"socks5+tls://{USER}@127.0.0.1:{port}?notls=true&secure=true&caFile={stage.folder}/cert.pem"
    local = stage.node("-L", "http://127.0.0.1:0", "-F", bad)
    url = f"http://127.0.0.1:{stage.origin}/"
    done = stage.curl(
        "-o", "/dev/null", "-w", "%{http_code}", "-x", f"http://127.0.0.1:{local}", url
    )
    assert done.stdout == b"503"


@pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
def test_openssl_s_server(stage: Stage, version: str) -> None:
    port = free_port()
    words = ["s_server", "-quiet", "-rev", version, "-accept", f"127.0.0.1:{port}"]
    stage.start(program("openssl"), *words, "-cert", stage.certificate(), port=port)
    secure = f"secure=true&serverName=localhost&caFile={stage.folder}/cert.pem"
    local = stage.node(
        "-L", "tcp://127.0.0.1:0/any:1", "-F", f"forward+tls://127.0.0.1:{port}?{secure}"
    )
    with socket.create_connection(("127.0.0.1", local), LIMIT) as sock:
        for word in (b"hello", b"x" * 1000 + b"y"):
            sock.sendall(word + b"\n")
            answer = b""
            while not answer.endswith(b"\n"):
                answer += sock.recv(4096)
            assert answer == word[::-1] + b"\n"


@pytest.mark.parametrize("scheme", ["ws"])
def test_websocat(stage: Stage, scheme: str) -> None:
    port = free_port()
    words = ["--binary", "-E", f"ws-l:127.0.0.1:{port}", f"tcp:127.0.0.1:{stage.origin}"]
    stage.start(program("websocat"), *words, port=port)
    node = f"forward+{scheme}://127.0.0.1:{port}?path=/"
    stage.check(port=stage.node("-L", "tcp://127.0.0.1:0/any:1", "-F", node))
