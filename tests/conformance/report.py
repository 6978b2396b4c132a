"""The matrix as a page and as JSON."""

from __future__ import annotations

import html
import json
import platform
import subprocess
import time
from collections import Counter
from pathlib import Path
from typing import Any

from tests.conformance.scenario import Cell

__all__ = ["kept_cells", "summary", "versions", "write_report"]

_STYLE = """
body { font: 14px system-ui, sans-serif; margin: 2em; color: #222 }
table { border-collapse: collapse; margin: 1em 0 }
td, th { border: 1px solid #ccc; padding: 3px 7px; text-align: center }
td:first-child, th:first-child { text-align: left }
.green { background: #cfe8cf } .red { background: #f3b8b8 } .excused { background: #f2e3b3 }
.skipped { background: #e4e4e4 }
"""


def versions(commands: dict[str, list[str]]) -> dict[str, str]:
    """What each implementation says of its version."""
    found = {}
    for name, command in commands.items():
        done = subprocess.run([*command, "-V"], capture_output=True, text=True, timeout=20)
        found[name] = (done.stdout or done.stderr).strip()
    return found


def summary(cells: list[Cell]) -> str:
    """``N cells: G green, R red, E excused, S skipped``."""
    states = Counter(cell.state for cell in cells)
    counts = ", ".join(f"{states[s]} {s}" for s in ("green", "red", "excused", "skipped"))
    return f"{len(cells)} cells: {counts}"


def write_report(path: Path, cells: list[Cell], found: dict[str, str], seconds: float) -> None:
    """Write ``path`` (a page) and the same as JSON beside it."""
    facts = {
        "made": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
        "seconds": round(seconds),
        "machine": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "versions": found,
        "summary": summary(cells),
    }
    data = {**facts, "cells": [_as_data(cell) for cell in cells]}
    path.with_suffix(".json").write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")
    path.write_text(_page(cells, facts), encoding="utf-8")


def kept_cells(path: Path, played: set[str]) -> list[Cell]:
    """Cells of an earlier report whose scenarios were not played again."""
    data = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
    return [
        Cell(
            item["scenario"],
            item["check"],
            item["nodes"],
            item["state"],
            item.get("reason", ""),
            item["seconds"],
        )
        for item in data["cells"]
        if item["scenario"] not in played
    ]


def _as_data(cell: Cell) -> dict[str, Any]:
    made: dict[str, Any] = {
        "scenario": cell.scenario,
        "check": cell.check,
        "nodes": cell.assignment,
        "state": cell.state,
        "seconds": cell.seconds,
    }
    if cell.reason:
        made["reason"] = cell.reason
    return made


def _page(cells: list[Cell], facts: dict[str, Any]) -> str:
    columns = list(dict.fromkeys((_who(cell), cell.check) for cell in cells))
    groups = list(dict.fromkeys(who for who, _ in columns))
    rows: dict[str, dict[tuple[str, str], Cell]] = {}
    for cell in cells:
        rows.setdefault(cell.scenario, {})[_who(cell), cell.check] = cell
    out = ["<!doctype html><meta charset=utf-8><title>Conformance</title>"]
    out.append(f"<style>{_STYLE}</style><h1>Conformance</h1>")
    out.append(f"<p>{html.escape(facts['summary'])}; made {facts['made']}</p><ul>")
    out += [f"<li>{html.escape(k)}: {html.escape(v)}</li>" for k, v in facts["versions"].items()]
    out.append("</ul>")
    for group in groups:
        checks = [check for who, check in columns if who == group]
        out.append(f"<h2>{html.escape(group)}</h2><table><tr><th>scenario</th>")
        out += [f"<th>{html.escape(check)}</th>" for check in checks]
        out.append("</tr>")
        for name, found in rows.items():
            if not any((group, check) in found for check in checks):
                continue
            out.append(f"<tr><td>{html.escape(name)}</td>")
            out += [_cell(found.get((group, check))) for check in checks]
            out.append("</tr>")
        out.append("</table>")
    return "\n".join(out) + "\n"


def _who(cell: Cell) -> str:
    return " - ".join(cell.assignment.values())


def _cell(cell: Cell | None) -> str:
    if cell is None:
        return "<td></td>"
    title = html.escape(cell.reason, quote=True)
    return f'<td class="{cell.state}" title="{title}">{cell.state[:1].upper()}</td>'
