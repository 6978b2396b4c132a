"""``scripts/conformance``: the whole matrix, with a report."""

from gevent import monkey

monkey.patch_all()

import argparse  # noqa: E402
import sys  # noqa: E402
import time  # noqa: E402
from pathlib import Path  # noqa: E402

import gevent.pool  # noqa: E402

from tests.conformance.namespaces import play_namespaces  # noqa: E402
from tests.conformance.play import Player, implementations  # noqa: E402
from tests.conformance.report import (  # noqa: E402
    kept_cells,
    summary,
    versions,
    write_report,
)
from tests.conformance.scenario import Cell, Scenario, assignments, read_scenarios  # noqa: E402


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--report", type=Path, help="write the matrix here, and JSON beside it")
    parser.add_argument("--only", default="", help="scenarios whose name contains this")
    parser.add_argument(
        "--update", action="store_true", help="keep the cells of the report that --only leaves out"
    )
    parser.add_argument(
        "--namespaces", action="store_true", help="also what needs network namespaces, as root"
    )
    parser.add_argument("--jobs", type=int, default=3, help="cells played at once")
    parser.add_argument("--with", dest="names", help="implementations, comma separated")
    chosen = parser.parse_args()
    commands = implementations()
    if chosen.names:
        commands = {name: commands[name] for name in chosen.names.split(",") if name in commands}
    if "gost" not in commands:
        print("no real gost in GOST_BIN or on the PATH: its cells are skipped")
    scenarios = read_scenarios(chosen.only)
    started = time.monotonic()
    player = Player(commands)
    cells: list[Cell] = []
    try:
        work = [(s, made) for s in scenarios for made in assignments(s, list(commands))]
        pool = gevent.pool.Pool(chosen.jobs)
        for done, played in enumerate(pool.imap(lambda pair: _play(player, *pair), work), 1):
            cells += played
            _tell(played, done, len(work))
    finally:
        player.close()
    cells += _skipped(scenarios, commands)
    if chosen.namespaces:
        cells += play_namespaces()
    if chosen.report and chosen.update:
        played = {scenario.name for scenario in scenarios} | {cell.scenario for cell in cells}
        cells = kept_cells(chosen.report, played) + cells
    print(summary(cells))
    if chosen.report:
        write_report(chosen.report, cells, versions(commands), time.monotonic() - started)
    return 1 if any(cell.state == "red" and _counts(cell) for cell in cells) else 0


def _play(player: Player, scenario: Scenario, assignment: dict[str, str]) -> list[Cell]:
    return player.play_assignment(scenario, assignment)


def _counts(cell: Cell) -> bool:
    """A red control (gost alone) is information, not a failure of gostpy."""
    return "gostpy" in cell.assignment.values()


def _skipped(scenarios: list[Scenario], commands: dict[str, list[str]]) -> list[Cell]:
    """The cells of an absent gost, counted."""
    if "gost" in commands:
        return []
    return [
        Cell(scenario.name, check, made, "skipped", "no real gost at hand")
        for scenario in scenarios
        for made in assignments(scenario, ["gost", "gostpy"])
        if "gost" in made.values()
        for check in scenario.checks
    ]


def _tell(cells: list[Cell], done: int, total: int) -> None:
    for cell in cells:
        if cell.state == "red":
            who = " - ".join(cell.assignment.values())
            print(f"red  {cell.scenario} [{cell.check}] {who}: {cell.reason}")
    if cells and sys.stderr.isatty():
        print(f"\r{done}/{total}", end="", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
