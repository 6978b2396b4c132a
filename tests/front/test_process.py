"""The program as a process: what importing and starting it does, in which order, how it ends."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LISTEN = ["-L", "tcp://127.0.0.1:0/127.0.0.1:1"]

# nothing that a plain service needs; each costs tens of milliseconds
HEAVY = [
    "asyncio",
    "cryptography.x509",
    "difflib",
    "dns",
    "http.client",
    "hypothesis",
    "importlib.metadata",
    "ruamel",
    "tomllib",
    "urllib.request",
    "websockets",
]


def python(code: str, *arguments: str) -> str:
    """What a fresh interpreter prints."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code, *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_import_has_no_effect() -> None:
    out = python(
        "import sys; before = set(sys.modules)\n"
        "import gostpy\n"
        "print(sorted(set(sys.modules) - before))\n"
        "import gostpy.errors, gostpy.options, gostpy.registry\n"
        "import socket, threading, time, _socket\n"
        "print([m for m in sys.modules if m.split('.')[0] in ('gevent', 'greenlet')])\n"
        "print(socket.socket.__module__, threading.active_count())"
    )
    assert out.splitlines() == ["['gostpy']", "[]", "socket 1"]


def test_libraries_stay_importable_without_a_patch() -> None:
    """A program that uses parts of the engine is not patched by them."""
    out = python(
        "import gostpy.net.conn, gostpy.wire.relay, gostpy.channel.stacks, compat.settings\n"
        "import socket; print(socket.socket.__module__)"
    )
    assert out == "socket\n"


def test_patch_comes_first() -> None:
    out = python(
        "import sys\n"
        "from gevent import monkey\n"
        "real = monkey.patch_all\n"
        "def patch_all(**options):\n"
        "    roots = {name.split('.')[0] for name in sys.modules}\n"
        "    print(sorted(roots & {'compat', 'cryptography', 'dns', 'nacl', 'ruamel'}))\n"
        "    print([n for n in sys.modules if n.startswith('gostpy.')])\n"
        "    real(**options)\n"
        "monkey.patch_all = patch_all\n"
        "sys.argv = ['gostpy', '-C', 'none.yml']\n"
        "import gostpy.__main__\n"
        "print(gostpy.__main__.main())\n"
        "import socket, ssl, subprocess, threading, time, select, queue\n"
        "print(sorted(name for name in ('socket', 'ssl', 'subprocess', 'threading', 'time',\n"
        "    'select', 'signal', 'os') if monkey.is_module_patched(name)))"
    )
    patched = ["os", "select", "signal", "socket", "ssl", "subprocess", "threading", "time"]
    assert out.splitlines() == ["[]", "['gostpy.__main__']", "1", str(patched)]


@pytest.mark.parametrize("flag", ["-V", "-h", "--help", "-O=yaml"])
def test_what_does_not_run_does_not_load_gevent(flag: str) -> None:
    out = python(
        "import sys; sys.argv[0] = 'gostpy'\n"
        "from gostpy.__main__ import main\n"
        "status = main()\n"
        "print('|', status, [name for name in sys.modules if name.startswith('gevent')])",
        flag,
        *(LISTEN if flag.startswith("-O") else []),
    )
    assert out.endswith("| 0 []\n")


def test_a_plain_service_loads_nothing_heavy() -> None:
    out = python(
        "import sys\n"
        "from gostpy.__main__ import _patch\n"
        "_patch()\n"
        "import compat.cli\n"
        "from compat.settings import load_settings\n"
        "from compat.run import Node\n"
        "node = Node(load_settings(sys.argv[1:], {}))\n"
        "node.start()\n"
        f"print([name for name in {HEAVY} if name in sys.modules])\n"
        "node.close()",
        *LISTEN,
    )
    assert out == "[]\n"


@pytest.fixture
def started() -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-m", "gostpy", *LISTEN],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signals_end_it_with_status_0(
    started: subprocess.Popen[str], number: signal.Signals
) -> None:
    assert started.stderr is not None
    line = started.stderr.readline()
    assert '"listening on 127.0.0.1:' in line
    started.send_signal(number)
    out, errors = started.communicate(timeout=20)
    assert (started.returncode, out) == (0, "")
    assert "Traceback" not in errors


def test_an_empty_configuration_waits_and_says_so(tmp_path: Path) -> None:
    (tmp_path / "empty.yml").write_text("")
    process = subprocess.Popen(
        [sys.executable, "-m", "gostpy", "-C", str(tmp_path / "empty.yml")],
        cwd=ROOT,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    line = process.stderr.readline()
    process.terminate()
    process.communicate(timeout=20)
    assert "no services" in line
    assert process.returncode == 0


def test_listens_soon() -> None:
    """A loose limit: only a start that does something absurd takes so long."""
    best = min(time_to_listening() for _ in range(2))
    assert best < 4.0


def time_to_listening() -> float:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    begin = time.monotonic()
    process = subprocess.Popen(
        [sys.executable, "-m", "gostpy", "-L", f"tcp://127.0.0.1:{port}/127.0.0.1:1"],
        cwd=ROOT,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    process.stderr.readline()
    took = time.monotonic() - begin
    process.kill()
    process.communicate()
    return took


def test_uses_all_open_files_that_are_granted() -> None:
    out = python(
        "import resource\n"
        "_, hard = resource.getrlimit(resource.RLIMIT_NOFILE)\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (64, hard))\n"
        "from gevent import monkey; monkey.patch_all()\n"
        "from compat.run import run\n"
        "from compat.settings import load_settings\n"
        "settings = load_settings(['-L', 'tcp://127.0.0.1:0/127.0.0.1:1'], {})\n"
        "run(settings, lambda node: node.stop())\n"
        "print(resource.getrlimit(resource.RLIMIT_NOFILE) == (hard, hard))"
    )
    assert out.splitlines()[-1] == "True"
