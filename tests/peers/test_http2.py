"""HTTP/2 with independent programs: h2spec, nghttp and curl as clients, nghttpx on both sides."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess

import pytest

from tests.peers.stage import BLOB, LIMIT, Stage, free_port, program

TLS = ("-t", "-k")

# gost's own listeners fail these as well: they want frames refused that our settings allow (4.2),
# a body of an answer that has none (half-closed), and streams that are still open when hundreds of
# others have been (5.1.2)
LARGE = "Sends a large size HEADERS frame that exceeds the SETTINGS_MAX_FRAME_SIZE"
CONCURRENT = (
    "Sends HEADERS frames that causes their advertised concurrent stream limit to be exceeded"
)
HALF_CLOSED = (
    "Sends a WINDOW_UPDATE frame on half-closed (remote) stream",
    "Sends a PRIORITY frame on half-closed (remote) stream",
)


def h2spec() -> str:
    found = os.environ.get("H2SPEC_BIN") or shutil.which("h2spec")
    if not found:
        pytest.skip("needs h2spec in H2SPEC_BIN or on the PATH")
    return found


@pytest.mark.timeout(120)
@pytest.mark.parametrize(
    ("service", "more", "excused"),
    [
        pytest.param("http2://{}", TLS, (), id="http2"),
        pytest.param("relay+h2://{}?path=/", TLS, (LARGE, CONCURRENT), id="h2 path"),
        pytest.param("relay+h2c://{}?path=/", (), (LARGE, CONCURRENT), id="h2c path"),
        pytest.param("relay+h2c://{}", (), (LARGE, CONCURRENT, *HALF_CLOSED), id="h2c"),
    ],
)
def test_h2spec(
    stage: Stage, service: str, more: tuple[str, ...], excused: tuple[str, ...]
) -> None:
    command = h2spec()
    port = stage.node("-L", service.format("127.0.0.1:0"))
    done = subprocess.run(
        [command, "-h", "127.0.0.1", "-p", str(port), "-o", "1", *more],
        capture_output=True,
        check=False,
        timeout=110,
    )
    text = done.stdout.decode()
    failed = set(re.findall(r"\u00d7 \d+: (.*)", text.partition("Failures:")[2]))
    assert re.search(r"14\d tests, ", text), text
    assert failed <= set(excused)


def nghttp(*arguments: str) -> bytes:
    done = subprocess.run(
        [program("nghttp"), "--no-dep", *arguments],
        capture_output=True,
        check=False,
        timeout=2 * LIMIT,
    )
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout


def test_nghttp(stage: Stage) -> None:
    port = stage.node("-L", "http2://127.0.0.1:0")
    origin = ("-H", f":authority: 127.0.0.1:{stage.origin}", f"https://127.0.0.1:{port}/")
    assert nghttp(*origin) == BLOB
    sent = stage.folder / "sent"
    sent.write_bytes(BLOB)
    assert nghttp("-d", str(sent), *origin).decode() == hashlib.sha256(BLOB).hexdigest()
    assert (
        nghttp("-d", str(sent), "-b", "900", *origin).decode() == hashlib.sha256(BLOB).hexdigest()
    )


@pytest.mark.parametrize("way", [(), ("-u",)], ids=["prior knowledge", "upgrade"])
def test_nghttp_at_a_tunnel(stage: Stage, way: tuple[str, ...]) -> None:
    """What is sent comes back: the tunnel leads to a forwarder to the origin of one answer."""
    port = stage.node("-L", f"tcp+h2c://127.0.0.1:0/127.0.0.1:{stage.origin}?path=/t")
    request = stage.folder / "request"
    request.write_bytes(b"GET / HTTP/1.0\r\n\r\n")
    body = () if way else ("-d", str(request))
    found = nghttp(*way, *body, f"http://127.0.0.1:{port}/t")
    assert found.endswith(BLOB) is not bool(way)


def test_curl_by_http1(stage: Stage) -> None:
    port = stage.node("-L", "http2://alice:secret@127.0.0.1:0")
    proxy = f"https://alice:secret@127.0.0.1:{port}"
    stage.check("-x", proxy, "--proxy-insecure")
    stage.check("-x", proxy, "--proxy-insecure", "-p")


def nghttpx(stage: Stage, backend: str, front: str, *more: str) -> int:
    """An nghttpx in front of a proxy; the port of its front."""
    port = free_port()
    words = ["--http2-proxy", f"--frontend=127.0.0.1,{port};{front}", f"--backend={backend}"]
    words += ["--workers=1", "--no-ocsp", "--conf=/dev/null", "--errorlog-file=/dev/null", *more]
    stage.start(program("nghttpx"), *words, port=port)
    return port


def test_nghttpx_as_client(stage: Stage) -> None:
    server = stage.node("-L", "http2://127.0.0.1:0")
    port = nghttpx(stage, f"127.0.0.1,{server};;tls;proto=h2", "no-tls", "--insecure")
    stage.check("-x", f"http://127.0.0.1:{port}")
    stage.check("-x", f"http://127.0.0.1:{port}", "-p")


def test_nghttpx_as_server(stage: Stage) -> None:
    stage.certificate()
    behind = stage.node("-L", "http://127.0.0.1:0")
    files = (str(stage.folder / "key.pem"), str(stage.folder / "cert.pem"))
    port = nghttpx(stage, f"127.0.0.1,{behind}", "tls", *files)
    local = stage.node("-L", "http://127.0.0.1:0", "-F", f"http2://127.0.0.1:{port}")
    stage.check("-x", f"http://127.0.0.1:{local}", "-p")
