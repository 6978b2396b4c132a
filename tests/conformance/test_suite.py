"""The conformance suite with gostpy at both ends: every scenario, whatever else is installed.

The nodes of all scenarios are played in one session, a few at a time; each scenario then is one
test that looks at its cells. The matrix with the real gost is ``scripts/conformance``.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

import gevent
import gevent.pool
import pytest
from gevent.event import AsyncResult

from tests.conformance.play import Player, gostpy_command
from tests.conformance.scenario import FOLDER, Cell, Scenario, assignments, read_scenarios

SCENARIOS = [scenario for scenario in read_scenarios() if assignments(scenario, ["gostpy"])]
JOBS = 2 + (os.cpu_count() or 1) // 2
REASON = 300

# the first test that asks waits until its scenario was played
pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module")
def played(request: pytest.FixtureRequest) -> Iterator[Callable[[str], list[Cell]]]:
    """Gives the cells of a scenario, once they were played; plays what was collected."""
    wanted = {
        item.callspec.params["scenario"].name: item.callspec.params["scenario"]
        for item in request.session.items
        if item.module is request.module and "scenario" in getattr(item, "fixturenames", ())
    }
    player = Player({"gostpy": gostpy_command()})
    pool = gevent.pool.Pool(JOBS)
    results = {name: AsyncResult() for name in wanted}

    def play(scenario: Scenario) -> None:
        try:
            results[scenario.name].set(list(player.play(scenario)))
        except Exception as error:  # the test of the scenario tells
            results[scenario.name].set_exception(error)

    playing = gevent.spawn(pool.map, play, wanted.values())

    def cells_of(name: str) -> list[Cell]:
        found: list[Cell] = results[name].get()
        return found

    yield cells_of
    playing.kill()
    pool.kill()
    player.close()


@pytest.mark.parametrize("scenario", SCENARIOS, ids=[scenario.name for scenario in SCENARIOS])
def test_scenario(scenario: Scenario, played: Callable[[str], list[Cell]]) -> None:
    cells = played(scenario.name)
    assert [cell.check for cell in cells] == list(scenario.checks)
    red = [f"[{cell.check}] {cell.reason[:REASON]}" for cell in cells if cell.state == "red"]
    if red:
        pytest.fail("\n".join(red), pytrace=False)


def test_number_of_cells(capsys: pytest.CaptureFixture[str]) -> None:
    """No scenario was lost: testdata/scenarios/cells.txt holds the number there must be."""
    cells = [
        Cell(scenario.name, check, made)
        for scenario in SCENARIOS
        for made in assignments(scenario, ["gostpy"])
        for check in scenario.checks
    ]
    committed = int((FOLDER / "cells.txt").read_text(encoding="utf-8"))
    with capsys.disabled():
        print(f"\nconformance: {len(cells)} cells in {len(SCENARIOS)} scenarios of gostpy", end="")
    assert len(cells) >= committed, f"{len(cells)} cells, {committed} committed"
