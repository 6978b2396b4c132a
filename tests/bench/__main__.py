"""``scripts/bench``: gost and gostpy side by side, alternating; prints ratios (gostpy / gost)."""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import statistics
import sys
from collections.abc import Callable
from pathlib import Path as FilePath

from tests.bench import load
from tests.bench.nodes import Nodes, Origin, gostpy_command
from tests.bench.paths import PATHS, Path

Figures = dict[str, float]
FIGURES = ("bulk", "bulk up", "req/s", "conn/s", "p50", "p99", "cpu/GiB", "idle", "start")


def measure(path: Path, command: list[str], target: str, seconds: float, what: set[str]) -> Figures:
    """All figures of one path with one implementation."""
    base = f"http://{target}/" if path.absolute else "/"
    found: Figures = {}
    nodes = Nodes(path, command, target)
    found["start"] = nodes.start
    try:
        load.requests(nodes, base, 1)  # warm
        steps: dict[str, Callable[[], Figures]] = {
            "req/s": lambda: {"req/s": load.requests(nodes, base, seconds)},
            "conn/s": lambda: {"conn/s": load.conns(nodes, base, seconds)},
            "bulk": lambda: dict(
                zip(("bulk", "cpu/GiB"), load.down(nodes, base, seconds), strict=True)
            ),
            "bulk up": lambda: {"bulk up": load.up(nodes, base, seconds)},
            "p50": lambda: dict(
                zip(("p50", "p99"), load.latency(nodes, base, seconds), strict=True)
            ),
            "idle": lambda: {"idle": load.idle_memory(nodes, base)},
        }
        for name, step in steps.items():
            if name in what:
                try:
                    found |= step()
                except (RuntimeError, OSError) as error:  # the figure is missing from this round
                    print(f"{path.name} {command[0]} {name}: {error}", file=sys.stderr)
    finally:
        nodes.close()
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("paths", nargs="*", help=f"of {', '.join(PATHS)}; all by default")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=3, help="length of each load")
    parser.add_argument("--only", default="", help="figures, comma separated")
    parser.add_argument("--json", type=FilePath, help="write all figures here")
    chosen = parser.parse_args()
    gost = os.environ.get("GOST_BIN") or shutil.which("gost")
    for program, given in (("gost", gost), ("wrk", shutil.which("wrk")), ("nginx", "")):
        if not (given or shutil.which(program)):
            print(f"scripts/bench needs {program}", file=sys.stderr)
            return 1
    assert gost
    commands = {"gost": [gost], "gostpy": gostpy_command()}
    what = set(chosen.only.split(",")) if chosen.only else set(FIGURES)
    origin = Origin()
    target = f"127.0.0.1:{origin.port}"
    kept: dict[str, dict[str, list[Figures]]] = {}
    try:
        print(f"{platform.python_implementation()} {platform.python_version()}, ", end="")
        print(f"{os.cpu_count()} CPUs, {chosen.rounds} rounds of {chosen.seconds} s")
        print(f"{'path':14}" + "".join(f"{name:>22}" for name in FIGURES if _shown(name, what)))
        for name in chosen.paths or PATHS:
            runs: dict[str, list[Figures]] = {"gost": [], "gostpy": []}
            for turn in range(chosen.rounds):
                order = ("gost", "gostpy") if turn % 2 == 0 else ("gostpy", "gost")
                for made in order:
                    runs[made].append(
                        measure(PATHS[name], commands[made], target, chosen.seconds, what)
                    )
            kept[name] = runs
            print(_row(name, runs, what), flush=True)
    finally:
        origin.close()
    if chosen.json:
        chosen.json.write_text(json.dumps(kept, indent=1) + "\n")
    return 0


def _shown(name: str, what: set[str]) -> bool:
    partner = {"p99": "p50", "cpu/GiB": "bulk"}.get(name, name)
    return partner in what or name == "start"


def _row(name: str, runs: dict[str, list[Figures]], what: set[str]) -> str:
    """Median ratio of the pairs, with least and greatest; start is a difference in ms."""
    cells = [f"{name:14}"]
    for figure in FIGURES:
        if not _shown(figure, what):
            continue
        pairs = list(zip(runs["gostpy"], runs["gost"], strict=True))
        if figure == "start":
            values = [(ours[figure] - theirs[figure]) * 1000 for ours, theirs in pairs]
            cells.append(f"{statistics.median(values):+9.0f} ms".rjust(22))
            continue
        values = [
            ours[figure] / theirs[figure]
            for ours, theirs in pairs
            if figure in ours and figure in theirs
        ]
        if not values:
            cells.append("-".rjust(22))
            continue
        text = f"{statistics.median(values):.2f} ({min(values):.2f}-{max(values):.2f})"
        cells.append(text.rjust(22))
    return "".join(cells)


if __name__ == "__main__":
    sys.exit(main())
