"""Runs console blocks of the documentation: ``$ command``, ``$ gostpy ... &``, expected output.

Ports of a block are replaced by free ones, except 8000, which is an origin that says hello. A line
``...`` stands for any lines. Files of ``examples/`` are copied with the same ports.
"""

from __future__ import annotations

import os
import re
import shlex
import socket
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

from compat.settings import load_settings

ROOT = Path(__file__).resolve().parents[2]
ORIGIN = 8000
_PORT = re.compile(r"(?<=:)\d{4,5}\b")
_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_LIMIT = 30.0


@dataclass(frozen=True)
class Block:
    """A fenced block: its language, text, and where it begins."""

    file: str
    line: int
    language: str
    text: str

    @property
    def name(self) -> str:
        return f"{self.file}:{self.line}"


def blocks(path: Path) -> list[Block]:
    """All fenced blocks of a page."""
    text = path.read_text(encoding="utf-8")
    return [
        Block(
            str(path.relative_to(ROOT)), text[: match.start()].count("\n") + 1, match[1], match[2]
        )
        for match in _FENCE.finditer(text)
    ]


def pages() -> list[Path]:
    return [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").glob("*.md"))]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class Console:
    """One run of one block.

    Args:
        folder: scratch folder, becomes the working directory.
        origin: port that stands for 8000.
    """

    folder: Path
    origin: int
    ports: dict[str, str] = field(default_factory=dict)
    running: list[subprocess.Popen[str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.ports[str(ORIGIN)] = str(self.origin)
        shim = self.folder / "bin" / "gostpy"
        shim.parent.mkdir()
        shim.write_text(f'#!/bin/sh\nexec {sys.executable} -m gostpy "$@"\n')
        shim.chmod(0o755)
        self.environment = {
            **os.environ,
            "PATH": f"{shim.parent}:{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
            "HOME": str(self.folder),
        }
        examples = self.folder / "examples"
        examples.mkdir()
        for example in (ROOT / "examples").glob("*.yml"):
            (examples / example.name).write_text(self.with_free_ports(example.read_text()))

    def with_free_ports(self, text: str) -> str:
        def other(match: re.Match[str]) -> str:
            if match[0] not in self.ports:
                self.ports[match[0]] = str(free_port())
            return self.ports[match[0]]

        return _PORT.sub(other, text)

    def play(self, text: str) -> None:
        """Run every command of a block and compare what it says."""
        for part in re.split(r"^\$ ", self.with_free_ports(text), flags=re.MULTILINE)[1:]:
            command, _, expected = part.partition("\n")
            if command.endswith(" &"):
                self.start(command.removesuffix(" &"))
            else:
                said = self.run(command)
                pattern = "".join(
                    "(?:.*\n)*" if line == "...\n" else re.escape(line)
                    for line in expected.splitlines(keepends=True)
                )
                assert re.fullmatch(pattern, said), f"$ {command}\n{said}\nexpected:\n{expected}"

    def run(self, command: str) -> str:
        done = subprocess.run(
            ["bash", "-c", command],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=_LIMIT,
            check=False,
        )
        assert done.returncode == 0, f"$ {command}\n{done.stdout}{done.stderr}"
        return done.stdout

    def start(self, command: str) -> None:
        """Start gostpy and wait until every service listens."""
        words = shlex.split(command)
        assert words[0] == "gostpy"
        assert "://:" not in command, "only loopback in tests"
        here = os.getcwd()
        os.chdir(self.folder)
        try:
            services = len(load_settings(words[1:], {}).config.services or ())
        finally:
            os.chdir(here)
        process = subprocess.Popen(
            [sys.executable, "-m", "gostpy", *words[1:]],
            cwd=self.folder,
            env=self.environment,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.running.append(process)
        assert process.stderr is not None
        seen: list[str] = []
        while services:
            line = process.stderr.readline()
            assert line, f"$ {command}\n{''.join(seen)}"
            seen.append(line)
            services -= '"listening on ' in line

    def close(self) -> None:
        for process in self.running:
            process.kill()
            process.wait()
            assert process.stderr is not None
            process.stderr.close()
