"""What needs machines of its own (tun, redirect, icmp ...) as cells: tests in network namespaces.

The tests say with their parameters which implementation plays which node; a test that passed is a
green cell. They need root and are skipped, and counted, without it.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path
from xml.etree import ElementTree

from tests.conformance.node import ROOT
from tests.conformance.scenario import Cell

__all__ = ["play_namespaces"]

FILES = {
    "tests/netns/test_gost.py": ("server", "client"),
    "tests/transparent/test_ftcp.py": ("client", "server"),
    "tests/transparent/test_redirect.py": ("node",),
    "tests/transparent/test_redu.py": ("node",),
}
"""File -> what its implementations play, in the order of the parameters."""

IMPLEMENTATIONS = ("gost", "gostpy")
CHECK = "namespace"


def play_namespaces() -> list[Cell]:
    """Run all of them; about two minutes."""
    cells: list[Cell] = []
    for name, roles in FILES.items():
        with tempfile.NamedTemporaryFile(suffix=".xml") as found:
            command = [sys.executable, "-m", "pytest", "-q", name, f"--junitxml={found.name}"]
            subprocess.run(command, cwd=ROOT, capture_output=True, check=False, timeout=900)
            tree = ElementTree.parse(found.name)
        subject = Path(name).stem.removeprefix("test_")
        prefix = "" if subject == "gost" else f"{subject} "
        for case in tree.iter("testcase"):
            cell = _cell(prefix, roles, case)
            if cell is not None:
                cells.append(cell)
    return cells


def _cell(prefix: str, roles: tuple[str, ...], case: ElementTree.Element) -> Cell | None:
    """The cell of one test; None for one that is about no implementation in particular."""
    name, _, parameters = case.get("name", "").removeprefix("test_").partition("[")
    words = parameters.removesuffix("]").split("-")
    players = [word for word in words if word in IMPLEMENTATIONS]
    if len(players) != len(roles):
        return None
    rest = [word for word in words if word and word not in IMPLEMENTATIONS]
    scenario = prefix + " ".join([name.replace("_", " "), *rest])
    cell = Cell(scenario, CHECK, dict(sorted(zip(roles, players, strict=True), reverse=True)))
    cell.seconds = round(float(case.get("time", 0)), 2)
    cell.state, cell.reason = _state(case)
    return cell


def _state(case: ElementTree.Element) -> tuple[str, str]:
    for tag, state in (("failure", "red"), ("error", "red"), ("skipped", "skipped")):
        found = case.find(tag)
        if found is not None:
            lines = (found.get("message") or "").splitlines() or [""]
            return state, lines[0][:200]
    return "green", ""
