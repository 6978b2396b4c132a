"""What the documentation says can be done, done: commands, configurations, examples."""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path
from typing import Any

import pytest

from compat.cmd import build
from compat.flags import parse_flags
from compat.load import load_text
from compat.schema import Config
from compat.schema.fields import fields_of
from tests.docs.console import ROOT, Block, Console, blocks, pages

BLOCKS = [block for page in pages() for block in blocks(page)]
EXAMPLES = sorted((ROOT / "examples").glob("*.yml"))
needs_curl = pytest.mark.skipif(not shutil.which("curl"), reason="needs curl")


def named(language: str) -> list[Any]:
    return [pytest.param(b, id=b.name) for b in BLOCKS if b.language == language]


@needs_curl
@pytest.mark.parametrize("block", named("console"))
def test_console(block: Block, console: Console) -> None:
    console.play(block.text)


def whole_files() -> list[Any]:
    """YAML blocks that are a whole file, not a part of one."""
    roots = {declared.key for declared in fields_of(Config)}
    found = [b for b in BLOCKS if b.language == "yaml"]
    return [
        pytest.param(b, id=b.name)
        for b in found
        if roots & set(re.findall(r"^\w+", b.text, re.MULTILINE))
    ]


@pytest.mark.parametrize("block", whole_files())
def test_yaml(block: Block) -> None:
    _, warnings = load_text(block.text, name=block.name)
    assert not warnings


@pytest.mark.parametrize("path", [pytest.param(p, id=p.name) for p in EXAMPLES])
def test_example_has_no_warnings(path: Path) -> None:
    config, warnings = load_text(path.read_text(), name=path.name)
    assert config.services
    assert not warnings


@needs_curl
@pytest.mark.parametrize("path", [pytest.param(p, id=p.name) for p in EXAMPLES])
def test_example_works(path: Path, console: Console) -> None:
    commands = re.findall(r"^#   ((?:gostpy|curl) .*)", path.read_text(), re.MULTILINE)
    start, *requests = [
        command.replace("//example.com/", "//127.0.0.1:8000/") for command in commands
    ]
    console.start(start)
    assert requests
    for request in requests:
        console.play(f"$ {request.replace('curl', 'curl -sS', 1)}\nhello from the origin\n")


def command_lines() -> list[Any]:
    """``gostpy -L ...`` wherever the pages show it, without those that read files."""
    found = []
    for page in pages():
        for number, line in enumerate(page.read_text(encoding="utf-8").splitlines(), 1):
            match = re.match(r"(?:    |\$ |)(?:scripts/)?gostpy (-[LF] [^#&|>]*)", line)
            if match and "..." not in line and " -C" not in line:
                found.append(pytest.param(match[1].strip(), id=f"{page.name}:{number}"))
    return found


@pytest.mark.parametrize("command", command_lines())
def test_shown_command_is_understood(command: str) -> None:
    flags = parse_flags(shlex.split(command))
    assert not flags.extra
    assert not build(flags.services, flags.nodes).warnings
