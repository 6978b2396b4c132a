"""The first mistakes of a new user: one line saying where and what to do, and the exit status."""

from __future__ import annotations

import errno
import socket
from pathlib import Path

import pytest

from compat.cli import main
from compat.hints import why_not_listening
from gostpy.errors import ConfigError, DialFailed

SERVICE = "services:\n- name: a\n  addr: 127.0.0.1:0\n  handler: {type: http}\n"
FILES = {
    "indent.yml": "services:\n- name: a\n   addr: x\n",
    "open.yml": SERVICE + "  listener: [1\n",
    "word.yml": "hello\n",
    "bad.json": '{"services": [}',
    "bad.toml": "a = \n",
    "latin.yml": "a: \xe9\n",
    "handler.yml": SERVICE.replace("http", "htp"),
    "listener.yml": SERVICE + "  listener: {type: tpc}\n",
    "number.yml": SERVICE.replace("127.0.0.1:0", "[1]"),
    "cert.yml": SERVICE
    + "  listener:\n    type: tls\n    tls: {certFile: no.pem, keyFile: no.key}\n",
    "two.yml": SERVICE + SERVICE.partition("\n")[2],
    "later.yml": SERVICE + "sds:\n- name: x\n",
    "rule.yml": SERVICE
    + "  forwarder:\n    nodes:\n    - {name: n, addr: 'a:1', matcher: {rule: 'Host(`a'}}\n",
}

# what is written -> exit status, and what the line must hold
CASES = [
    pytest.param(["-x"], 2, ["-x", "gostpy -h"], id="unknown flag"),
    pytest.param(["-L"], 2, ["-L", "argument"], id="flag without value"),
    pytest.param(["-R", "soon"], 2, ["-R", "10s"], id="bad duration"),
    pytest.param([], 1, ["-L http://:8080", "gost.yml", "-h"], id="nothing at all"),
    pytest.param(["http://:1"], 1, ["no flag", "-L http://:1"], id="forgotten -L"),
    pytest.param(["-C", "none.yml"], 1, ["none.yml", "no such file"], id="missing file"),
    pytest.param(["-C", "."], 1, [".yml", ".json"], id="no format"),
    pytest.param(["-C", "indent.yml"], 1, ["indent.yml:3:", "YAML"], id="YAML indentation"),
    pytest.param(["-C", "open.yml"], 1, ["open.yml:6:", "']'"], id="YAML bracket"),
    pytest.param(["-C", "word.yml"], 1, ["word.yml:1:1", "services"], id="no map"),
    pytest.param(["-C", "bad.json"], 1, ["bad.json:1:15", "JSON"], id="JSON"),
    pytest.param(["-C", "bad.toml"], 1, ["bad.toml:1:", "TOML"], id="TOML"),
    pytest.param(["-C", "latin.yml"], 1, ["latin.yml:1:4", "UTF-8"], id="not UTF-8"),
    pytest.param(["-C", "handler.yml"], 1, ["handler.yml:4:", "'htp'", "'http'"], id="handler"),
    pytest.param(["-C", "listener.yml"], 1, ["listener.yml:5:", "'tcp'"], id="listener"),
    pytest.param(["-C", "number.yml"], 1, ["number.yml:3:", "expected text"], id="wrong type"),
    pytest.param(
        ["-C", "cert.yml"], 1, ["cert.yml", "no.pem", "No such file"], id="no certificate"
    ),
    pytest.param(["-C", "two.yml"], 1, ["two.yml:5:", "'a'"], id="same name twice"),
    pytest.param(["-C", "rule.yml"], 1, ["rule.yml:", "matcher.rule"], id="matcher rule"),
    pytest.param(["-L", "http://127.0.0.1:99999"], 1, ["-L 1", "99999"], id="port too high"),
    pytest.param(["-L", "http://127.0.0.1:x"], 1, ["-L 1", "port"], id="port no number"),
    pytest.param(["-L", "http://192.0.2.1:0"], 1, ["-L 1", "no interface"], id="not our address"),
    pytest.param(
        ["-L", "ss://127.0.0.1:0"], 1, ["-L 1", "method and password"], id="ss, no method"
    ),
    pytest.param(["-L", "ss://rot13:x@127.0.0.1:0"], 1, ["rot13", "aes-128-gcm"], id="ss method"),
    pytest.param(["-L", "unix:///no/such/x.sock"], 1, ["-L 1", "folder"], id="socket folder"),
    pytest.param(["-O", "yaml", "-C", "none.yml"], 1, ["none.yml"], id="printing"),
]


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name, text in FILES.items():
        (tmp_path / name).write_text(text, encoding="latin-1")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def said(
    arguments: list[str], folder: Path, capsys: pytest.CaptureFixture[str]
) -> tuple[int, list[str]]:
    status = main(arguments, {"HOME": str(folder)}, lambda: b"")
    output = capsys.readouterr()
    assert output.out == ""
    return status, output.err.splitlines()


@pytest.mark.parametrize(("arguments", "status", "holds"), CASES)
def test_one_line(
    arguments: list[str],
    status: int,
    holds: list[str],
    files: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    found, lines = said(arguments, files, capsys)
    assert found == status
    assert len(lines) == 1
    assert lines[0].startswith("gostpy: ")
    assert "Errno" not in lines[0]
    for text in holds:
        assert text in lines[0]


def test_port_in_use(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        status, lines = said(["-L", f"http://{address}"], files, capsys)
    assert status == 1
    assert len(lines) == 1
    assert f"-L 1: services[0].addr: cannot listen on {address}: address already in use" in lines[0]
    assert "choose another port" in lines[0]


def test_all_mistakes_of_a_file_at_once(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (files / "many.yml").write_text(SERVICE.replace("{type: http}", "[]") + "chains: 5\n")
    status, lines = said(["-C", "many.yml"], files, capsys)
    assert status == 1
    assert len(lines) == 2


def test_a_file_in_the_way_of_a_socket_stays(
    files: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = files / "notes.txt"
    path.write_text("mine")
    status, lines = said(["-L", f"unix://{path}"], files, capsys)
    assert (status, len(lines)) == (1, 1)
    assert "no socket" in lines[0]
    assert path.read_text() == "mine"


@pytest.mark.parametrize(
    ("error", "address", "line"),
    [
        pytest.param(
            OSError(errno.EACCES, "listen :80: Permission denied"),
            ":80",
            "cannot listen on :80: permission denied (this user may not: ports below 1024 need root"
            " or CAP_NET_BIND_SERVICE)",
            id="low port",
        ),
        pytest.param(
            OSError(errno.EACCES, "listen /x: Permission denied"),
            "/x",
            "cannot listen on /x: permission denied (this user may not write there)",
            id="folder",
        ),
        pytest.param(
            OSError(errno.EMFILE, "Too many open files"),
            "",
            "cannot listen on :0: too many open files",
            id="without a hint",
        ),
        pytest.param(ConfigError("bad port"), "x", "bad port", id="configuration"),
        pytest.param(DialFailed("no such name"), "x", "no such name", id="name"),
        pytest.param(OSError("odd"), "a:1", "cannot listen on a:1: odd", id="without number"),
    ],
)
def test_why_not_listening(error: Exception, address: str, line: str) -> None:
    assert why_not_listening(error, address) == line


def test_likely_spelling_of_a_scheme(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["-O", "yaml", "-L", "http+tsl://:0", "-F", "sock5://a:1"], {"HOME": str(files)}, None)
    errors = capsys.readouterr().err
    assert "-L 1: 'tsl' is not a known listener, the default is used; did you mean 'tls'?" in errors
    assert "did you mean 'socks5'?" in errors
