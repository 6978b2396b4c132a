"""Independent clients of gostpy: curl in all its proxy ways, openssl, ss-local, stunnel, socat."""

from __future__ import annotations

import subprocess

import pytest

from tests.peers.stage import LIMIT, Stage, free_port, program

USER = "alice:secret"

WAYS = [
    pytest.param("http", "http://{p}", id="http"),
    pytest.param("http", "http://{p} -p", id="http CONNECT"),
    pytest.param("http+tls", "https://{p} --proxy-insecure", id="https"),
    pytest.param("http+tls", "https://{p} --proxy-insecure -p", id="https CONNECT"),
    pytest.param("socks4", "socks4://{p}", id="socks4"),
    pytest.param("socks4", "socks4a://{p}", id="socks4a"),
    pytest.param("socks5", "socks5://{p}", id="socks5"),
    pytest.param("socks5", "socks5h://{p}", id="socks5h"),
    pytest.param("auto", "http://{p}", id="auto http"),
    pytest.param("auto", "socks4a://{p}", id="auto socks4a"),
    pytest.param("auto", "socks5h://{p}", id="auto socks5h"),
    pytest.param("auto+tls", "https://{p} --proxy-insecure", id="auto https"),
]
WITH_USER = [
    pytest.param("http", "http://{u}@{p}", id="http"),
    pytest.param("http", "http://{u}@{p} -p", id="http CONNECT"),
    pytest.param("http+tls", "https://{u}@{p} --proxy-insecure", id="https"),
    pytest.param("socks5", "socks5://{u}@{p}", id="socks5"),
    pytest.param("socks5", "socks5h://{u}@{p}", id="socks5h"),
    pytest.param("auto", "socks5h://{u}@{p}", id="auto"),
]


@pytest.mark.parametrize(("scheme", "way"), WAYS)
def test_curl(stage: Stage, scheme: str, way: str) -> None:
    port = stage.node("-L", f"{scheme}://127.0.0.1:0")
    stage.check("-x", *way.format(p=f"127.0.0.1:{port}").split())


@pytest.mark.parametrize(("scheme", "way"), WITH_USER)
def test_curl_with_user(stage: Stage, scheme: str, way: str) -> None:
    port = stage.node("-L", f"{scheme}://{USER}@127.0.0.1:0")
    place = f"127.0.0.1:{port}"
    stage.check("-x", *way.format(p=place, u=USER).split())
    for wrong in ("alice:wrong", "bob:secret"):
        words = way.format(p=place, u=wrong).split()
        done = stage.curl("-f", "-x", *words, f"http://127.0.0.1:{stage.origin}/")
        assert done.returncode != 0
        assert not done.stdout


@pytest.mark.parametrize("channel", ["ws", "mwss", "mtls"])
def test_curl_through_a_chain(stage: Stage, channel: str) -> None:
    server = stage.node("-L", f"relay+{channel}://{USER}@127.0.0.1:0")
    port = stage.node(
        "-L", "http://127.0.0.1:0", "-F", f"relay+{channel}://{USER}@127.0.0.1:{server}"
    )
    stage.check("-x", f"http://127.0.0.1:{port}")


def test_curl_sends_a_proxy_header(stage: Stage) -> None:
    port = stage.node("-L", f"tcp://127.0.0.1:0/127.0.0.1:{stage.origin}?proxyProtocol=1")
    stage.check("--haproxy-protocol", port=port)
    stage.check(port=port)  # and without one, as gost


@pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
def test_openssl_s_client(stage: Stage, version: str) -> None:
    port = stage.node("-L", f"forward+tls://127.0.0.1:0/127.0.0.1:{stage.origin}")
    done = subprocess.run(
        [program("openssl"), "s_client", "-quiet", version, "-connect", f"127.0.0.1:{port}"],
        input=b"POST / HTTP/1.0\r\nContent-Length: 3\r\n\r\nabc",
        capture_output=True,
        timeout=LIMIT,
        check=False,
    )
    assert b" 200 OK" in done.stdout, done.stderr
    # sha256 of abc
    assert done.stdout.endswith(b"f20015ad")


METHODS = ["aes-128-gcm", "aes-256-gcm", "chacha20-ietf-poly1305"]


@pytest.mark.parametrize("method", METHODS)
def test_ss_local(stage: Stage, method: str) -> None:
    server = stage.node("-L", f"ss://{method}:key@127.0.0.1:0")
    local = free_port()
    words = ["-s", "127.0.0.1", "-p", str(server), "-k", "key", "-m", method]
    stage.start(program("ss-local"), *words, "-b", "127.0.0.1", "-l", str(local), port=local)
    stage.check("-x", f"socks5h://127.0.0.1:{local}")


@pytest.mark.parametrize("method", METHODS)
def test_ss_tunnel_udp(stage: Stage, method: str) -> None:
    server = stage.node("-L", f"ssu+udp://{method}:key@127.0.0.1:0")
    local, echo = free_port(), stage.udp_echo()
    words = ["-s", "127.0.0.1", "-p", str(server), "-k", "key", "-m", method, "-u"]
    words += ["-L", f"127.0.0.1:{echo}", "-b", "127.0.0.1", "-l", str(local)]
    stage.start(program("ss-tunnel"), *words, port=local)
    stage.check_udp(local)


def test_stunnel_in_front(stage: Stage) -> None:
    server = stage.node("-L", f"socks5+tls://{USER}@127.0.0.1:0")
    local = free_port()
    config = f"foreground = yes\npid =\n[out]\nclient = yes\naccept = 127.0.0.1:{local}\n"
    config += f"connect = 127.0.0.1:{server}\n"
    stage.start(program("stunnel"), stage.file("stunnel.conf", config), port=local)
    stage.check("-x", f"socks5h://{USER}@127.0.0.1:{local}")


@pytest.mark.parametrize(
    "form",
    [
        "SOCKS4A:127.0.0.1:127.0.0.1:{o},socksport={p}",
        "PROXY:127.0.0.1:127.0.0.1:{o},proxyport={p}",
    ],
)
def test_socat(stage: Stage, form: str) -> None:
    port = stage.node("-L", "auto://127.0.0.1:0")
    local = free_port()
    target = form.format(o=stage.origin, p=port)
    listen = f"TCP-LISTEN:{local},bind=127.0.0.1,fork,reuseaddr"
    stage.start(program("socat"), listen, target, port=local)
    stage.check(port=local)


@pytest.mark.parametrize("scheme", ["ws", "wss"])
def test_websocat(stage: Stage, scheme: str) -> None:
    port = stage.node("-L", f"forward+{scheme}://127.0.0.1:0/127.0.0.1:{stage.origin}")
    local = free_port()
    words = ["--binary", "-E", "-k", f"tcp-l:127.0.0.1:{local}", f"{scheme}://127.0.0.1:{port}/ws"]
    stage.start(program("websocat"), *words, port=local)
    stage.check(port=local)
