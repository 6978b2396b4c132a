"""What pip installs is all that is needed, and what the scripts need is there."""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
NEEDED = ["setup.py", "pyproject.toml", "README.md", "LICENSE", "MANIFEST.in"]


def sources(folder: Path) -> set[str]:
    return {
        str(path.relative_to(folder))
        for package in ("gostpy", "compat")
        for path in (folder / package).rglob("*")
        if path.suffix == ".py" or path.name == "py.typed"
    }


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a wheel would hold, made from a copy of the sources."""
    pytest.importorskip("setuptools", reason="needs setuptools")
    copy = tmp_path_factory.mktemp("sources")
    for name in NEEDED:
        shutil.copy(ROOT / name, copy)
    for package in ("gostpy", "compat"):
        shutil.copytree(
            ROOT / package, copy / package, ignore=shutil.ignore_patterns("__pycache__")
        )
    target = tmp_path_factory.mktemp("built")
    done = subprocess.run(
        [sys.executable, "setup.py", "-q", "build_py", "--build-lib", str(target)],
        cwd=copy,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return target


def test_every_module_is_installed(built: Path) -> None:
    assert sources(built) == sources(ROOT)


def test_the_installed_program_runs(built: Path, tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(built)}
    code = "import sys; from gostpy.__main__ import main; sys.exit(main())"
    done = subprocess.run(
        [sys.executable, "-c", code, "-O", "json", "-L", "relay+mwss://:8443"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert '"type":"mwss"' in done.stdout.replace(" ", "")


def setup_extras() -> set[str]:
    text = (ROOT / "setup.py").read_text(encoding="utf-8")
    return set(re.findall(r'^    "(\w+)": \[', text, re.MULTILINE)) | {"all", "test"}


def test_every_extra_that_an_error_names_exists() -> None:
    named = set()
    for path in (ROOT / "gostpy").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name):
                continue
            at = {"MissingExtra": 0, "_need": 1}.get(node.func.id)
            extra = node.args[at] if at is not None and len(node.args) > at else None
            if isinstance(extra, ast.Constant):
                named.add(extra.value)
    assert named
    assert named <= setup_extras()


@pytest.mark.parametrize(
    "name",
    [*(f"scripts/{n}" for n in ("gostpy", "check", "test", "conformance", "bench")), ".ci/run"],
)
def test_scripts_can_be_run(name: str) -> None:
    path = ROOT / name
    assert os.access(path, os.X_OK)
    done = subprocess.run(["bash", "-n", str(path)], capture_output=True, check=False)
    assert done.returncode == 0, done.stderr


def test_version_is_one() -> None:
    from gostpy import __version__

    done = subprocess.run(
        [sys.executable, "-m", "gostpy", "-V"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith(f"gostpy {__version__} (Python ")
