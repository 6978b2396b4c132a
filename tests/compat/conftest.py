"""Runs the command in this process, in an empty directory that is also the home."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from compat.cli import main

TESTDATA = Path(__file__).parents[2] / "testdata"


@dataclass(frozen=True)
class Result:
    """What a run left behind."""

    status: int
    output: str
    errors: str


Command = Callable[..., Result]


@pytest.fixture
def command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Command:
    """``command("-O", "yaml", files={...}, strict=True)`` -> Result."""
    monkeypatch.chdir(tmp_path)

    def run(
        *arguments: str,
        files: Mapping[str, str] | None = None,
        environment: Mapping[str, str] | None = None,
        stdin: str = "",
        strict: bool = False,
    ) -> Result:
        for name, text in (files or {}).items():
            (tmp_path / name).write_text(text, encoding="utf-8")
        env = {"HOME": str(tmp_path), **(environment or {})}
        if strict:
            env["GOSTPY_COMPAT"] = "strict"
        sequence: Sequence[str] = arguments
        status = main(sequence, env, lambda: stdin.encode())
        captured = capsys.readouterr()
        return Result(status, captured.out, captured.err)

    return run


@pytest.fixture
def testdata() -> Path:
    """The folder of recorded outputs."""
    return TESTDATA
