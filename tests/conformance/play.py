"""Plays scenarios: starts the nodes of an assignment, sends the traffic, notes the results."""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gevent

from tests.conformance.scenario import Cell, Scenario, assignments
from tests.conformance.targets import Targets
from tests.conformance.traffic import TARGET, TRAFFIC, Entry

__all__ = ["IMPLEMENTATIONS", "Player", "implementations"]

ROOT = Path(__file__).resolve().parents[2]
START = 10.0
CHECK = 30.0
USER, PASSWORD = "user", "pass-word"
_ENTRIES = {"{entries}": "tcp", "{remote entries}": "rtcp"}

IMPLEMENTATIONS = ("gost", "gostpy", "gost33")


def implementations() -> dict[str, list[str]]:
    """Name -> command of every implementation at hand."""
    found = {"gostpy": [sys.executable, "-m", "gostpy"]}
    gost = os.environ.get("GOST_BIN") or shutil.which("gost")
    if gost:
        found["gost"] = [gost]
    if os.environ.get("GOST33_BIN"):
        found["gost33"] = [os.environ["GOST33_BIN"]]
    return found


class NodeFailed(Exception):
    """A node did not come up; has the end of its log."""


class _Node:
    """A running process of one implementation."""

    def __init__(self, name: str, command: list[str], folder: Path) -> None:
        self.name = name
        self.log = folder / f"{name}-{time.monotonic_ns()}.log"
        environment = {
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "GODEBUG": "urlstrictcolons=0",
            "HOME": str(folder),
        }
        for variable in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "GOSTPY_COMPAT"):
            environment.pop(variable, None)
        with self.log.open("wb") as output:
            self.process = subprocess.Popen(
                command,
                cwd=folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )

    def tail(self) -> str:
        lines = self.log.read_text("utf-8", "replace").splitlines()
        return " / ".join(lines[-3:])[-400:]

    def wait_for(self, addresses: list[str]) -> None:
        """Until every TCP address accepts. Raises NodeFailed."""
        end = time.monotonic() + START
        for address in addresses:
            host, _, port = address.rpartition(":")
            while True:
                with contextlib.suppress(OSError), socket.create_connection((host, int(port)), 1):
                    break
                if self.process.poll() is not None or time.monotonic() > end:
                    raise NodeFailed(f"{self.name} did not start: {self.tail()}")
                gevent.sleep(0.02)

    def stop(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGTERM)
        try:
            self.process.wait(3)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()


_candidates = itertools.cycle(range(12000 + os.getpid() % 97 * 200, 32000))


def free_port() -> int:
    """A port that is free for TCP and UDP now, below those that the system gives to clients."""
    for port in itertools.islice(_candidates, 5000):
        with socket.socket() as tcp, socket.socket(type=socket.SOCK_DGRAM) as udp:
            try:
                tcp.bind(("127.0.0.1", port))
                udp.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise OSError("no free port")


class Player:
    """Plays cells; one set of targets serves all."""

    def __init__(self, commands: dict[str, list[str]]) -> None:
        self.commands = commands
        self.targets = Targets()
        self.folder = Path(tempfile.mkdtemp(prefix="conformance-"))

    def close(self) -> None:
        self.targets.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def play(self, scenario: Scenario, only: set[str] | None = None) -> Iterator[Cell]:
        """Every check with every assignment of the implementations at hand."""
        names = [name for name in self.commands if only is None or name in only]
        for assignment in assignments(scenario, names):
            yield from self.play_assignment(scenario, assignment)

    def play_assignment(self, scenario: Scenario, assignment: dict[str, str]) -> list[Cell]:
        """All checks of one assignment, on one set of running nodes."""
        cells = [Cell(scenario.name, check, assignment) for check in scenario.checks]
        rightful = [cell for cell in cells if cell.check != "password"]
        self._play(scenario, assignment, rightful, PASSWORD)
        intruding = [cell for cell in cells if cell.check == "password"]
        if intruding:
            self._play(scenario, assignment, intruding, "wrong-word")
        for cell in cells:
            self._excuse(scenario, cell)
        return cells

    def _excuse(self, scenario: Scenario, cell: Cell) -> None:
        if cell.state != "red":
            return
        for excuse in scenario.excuses:
            if excuse.covers(cell.check, cell.assignment):
                cell.state = "excused"
                cell.reason = f"{excuse.why} ({excuse.see}): {cell.reason}"
                return

    def _play(
        self, scenario: Scenario, assignment: dict[str, str], cells: list[Cell], password: str
    ) -> None:
        """Start the nodes, run the checks of the cells. ``password`` is the entry node's."""
        places = self._places(scenario)
        running: list[_Node] = []
        last = list(scenario.nodes)[-1]
        try:
            for name, given in scenario.nodes.items():
                proxied = scenario.client == "tcp"
                own = password if name == last and proxied else PASSWORD
                arguments = self._arguments(given, {**places, "user": USER, "password": own})
                node = _Node(name, self.commands[assignment[name]] + arguments, self.folder)
                running.append(node)
                node.wait_for(self._awaited(scenario, name, places))
            for cell in cells:
                self._check(scenario, cell, places, password)
        except (NodeFailed, OSError) as error:
            for cell in cells:
                if not cell.state:
                    cell.state, cell.reason = "red", str(error)
        finally:
            tails = [f"{node.name}: {node.tail()}" for node in running]
            for node in reversed(running):
                node.stop()
        for cell in cells:
            if cell.state == "red":
                cell.reason += " | " + " | ".join(tails)

    def _places(self, scenario: Scenario) -> dict[str, str]:
        """An address for each placeholder that occurs, and those of the targets."""
        places = dict(self.targets.addresses.items())
        for name in [*scenario.nodes, "entry", "a", "b", "c", "d"]:
            places[name] = f"127.0.0.1:{free_port()}"
            places[f"{name}.port"] = places[name].rpartition(":")[2]
        for check in TRAFFIC:
            places[f"entry.{TARGET[check]}"] = f"127.0.0.1:{free_port()}"
        places["folder"] = str(self.folder)
        return places

    def _arguments(self, given: Any, places: dict[str, str]) -> list[str]:
        if isinstance(given, dict):
            text = _placed(given["config"], places)
            path = self.folder / f"config-{time.monotonic_ns()}.yml"
            path.write_text(text, encoding="utf-8")
            return ["-C", str(path)]
        arguments: list[str] = []
        for item in given:
            if item in _ENTRIES:
                for target in ("echo", "bulk", "half", "banner", "refused"):
                    arguments += ["-L", f"{_ENTRIES[item]}://{{entry.{target}}}/{{{target}}}"]
            else:
                arguments.append(item)
        return [_placed(item, places) for item in arguments]

    def _awaited(self, scenario: Scenario, name: str, places: dict[str, str]) -> list[str]:
        """TCP addresses that tell that a node is up: of -L, or named under ``await``."""
        given = scenario.nodes[name]
        if isinstance(given, dict):
            return [places[key] for key in given.get("await", ())]
        text = str(given)
        keys = [name, "a", "b", "c", "d", "entry", *(f"entry.{t}" for t in set(TARGET.values()))]
        found = [
            places[key]
            for key in keys
            if f"{{{key}}}" in text and not _is_datagram(text, key) and _listens(text, key)
        ]
        if any(entries in text for entries in _ENTRIES):
            found.append(places["entry.refused"])
        return found

    def _check(self, scenario: Scenario, cell: Cell, places: dict[str, str], secret: str) -> None:
        target = TARGET[cell.check]
        own = f"entry.{target}"
        address = places["entry"] if scenario.client != "tcp" else places[own]
        entry = Entry(scenario.client, address, places[target], USER, secret)
        started = time.monotonic()
        try:
            with gevent.Timeout(CHECK, TimeoutError("the check took too long")):
                TRAFFIC[cell.check](entry)
            cell.state = "green"
        except Exception as error:  # whatever went wrong is this cell's result
            cell.state = "red"
            cell.reason = f"{type(error).__name__}: {error}"
        cell.seconds = round(time.monotonic() - started, 3)


def _placed(text: str, places: dict[str, str]) -> str:
    for key, value in places.items():
        text = text.replace("{" + key + "}", value)
    return text


def _listens(text: str, key: str) -> bool:
    """Whether the placeholder stands where an address is listened on, not dialed."""
    at = text.find("{" + key + "}")
    before = text[:at]
    dialed = before.rfind("-F")
    return before.rfind("-L") >= dialed


def _is_datagram(text: str, key: str) -> bool:
    """Whether the placeholder belongs to a udp listener, which cannot be connected to."""
    at = text.find("{" + key + "}")
    start = max(text.rfind("'", 0, at), text.rfind('"', 0, at), 0)
    scheme = text[start + 1 : at].partition("://")[0]
    return scheme in ("udp", "ssu", "rudp", "redu") or scheme.endswith("+udp")
