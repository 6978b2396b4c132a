"""Plays scenarios: starts the nodes of an assignment, sends the traffic, notes the results."""

from __future__ import annotations

import contextlib
import itertools
import json
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

from tests.conformance.clients import Entry
from tests.conformance.scenario import Cell, Scenario, assignments
from tests.conformance.targets import Targets
from tests.conformance.traffic import TARGET, TARGETS, TRAFFIC

__all__ = ["IMPLEMENTATIONS", "Player", "gostpy_command", "implementations"]

ROOT = Path(__file__).resolve().parents[2]
START = 20.0
CHECK = 30.0
PORT_TRIES = 3
USER, PASSWORD, WRONG_PASSWORD = "user", "pass-word", "wrong-word"
_ENTRIES = {"{entries}": "tcp", "{remote entries}": "rtcp"}
_ENTRY_TARGETS = ("echo", "bulk", "half", "banner", "refused")

IMPLEMENTATIONS = ("gost", "gostpy", "gost33")


def gostpy_command() -> list[str]:
    """The command line of this checkout's gostpy."""
    return [sys.executable, "-m", "gostpy"]


def implementations() -> dict[str, list[str]]:
    """Name -> command of every implementation at hand."""
    found = {"gostpy": gostpy_command()}
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
        """The last complaints of its log, in short."""
        lines = self.log.read_text("utf-8", "replace").splitlines()
        said = [text for text in map(_complaint, lines[-200:]) if text]
        return " / ".join(said[-2:])[-200:]

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

    def end(self) -> None:
        """Ask it to stop."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGTERM)

    def stop(self) -> None:
        self.end()
        try:
            self.process.wait(3)
        except subprocess.TimeoutExpired:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()


def _complaint(line: str) -> str:
    """What a log line complains of; empty for lines of information."""
    try:
        entry = json.loads(line)
    except ValueError:
        return line[-150:]
    if not isinstance(entry, dict) or entry.get("level") not in (
        "warn",
        "warning",
        "error",
        "fatal",
    ):
        return ""
    return f"{entry['level']}: {entry.get('msg', '')}"[:150]


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
        for _ in range(PORT_TRIES):
            cells = [Cell(scenario.name, check, assignment) for check in scenario.checks]
            taken = self._play(scenario, assignment, cells)
            if not taken:
                break
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

    def _play(self, scenario: Scenario, assignment: dict[str, str], cells: list[Cell]) -> bool:
        """Start the nodes and run the checks; those with a wrong password come last.

        Returns: whether another program took a port before a node could.
        """
        places = self._places(scenario)
        running: dict[str, _Node] = {}
        rightful = [cell for cell in cells if not cell.check.startswith("password")]
        intruding = [cell for cell in cells if cell.check.startswith("password")]
        tails = ""
        try:
            for name in scenario.nodes:
                self._start(scenario, name, assignment, running, {**places, "password": PASSWORD})
            for cell in rightful:
                self._check(scenario, cell, places, PASSWORD)
            tails = _tails(running)
            if intruding and scenario.client == "tcp":  # the entry node is who knows the password
                places.update(self._entries(scenario))
                name = list(scenario.nodes)[-1]
                running.pop(name).stop()
                self._start(
                    scenario, name, assignment, running, {**places, "password": WRONG_PASSWORD}
                )
            for cell in intruding:
                self._check(scenario, cell, places, WRONG_PASSWORD)
        except (NodeFailed, OSError) as error:
            if "already in use" in str(error):
                return True
            for cell in cells:
                if not cell.state:
                    cell.state, cell.reason = "red", str(error)
        finally:
            tails = tails or _tails(running)
            for node in running.values():
                node.end()
            for node in running.values():
                node.stop()
        for cell in cells:
            if cell.state == "red":
                cell.reason = f"{cell.reason[:200]} | {tails}"
        return False

    def _start(
        self,
        scenario: Scenario,
        name: str,
        assignment: dict[str, str],
        running: dict[str, _Node],
        places: dict[str, str],
    ) -> None:
        arguments = self._arguments(scenario.nodes[name], places)
        node = _Node(name, self.commands[assignment[name]] + arguments, self.folder)
        running[name] = node
        node.wait_for(self._awaited(scenario, name, places))

    def _places(self, scenario: Scenario) -> dict[str, str]:
        """An address for each placeholder, and the addresses of the targets."""
        places = {**self.targets.addresses, "user": USER, "folder": str(self.folder)}
        for name in [*scenario.nodes, "a", "b", "c", "d"]:
            places[name] = f"127.0.0.1:{free_port()}"
        places.update(self._entries(scenario))
        for name in list(places):
            places[f"{name}.port"] = places[name].rpartition(":")[2]
        return places

    def _entries(self, scenario: Scenario) -> dict[str, str]:
        """Addresses for the entry node, which is the last."""
        names = ["entry", list(scenario.nodes)[-1], *(f"entry.{target}" for target in TARGETS)]
        return {name: f"127.0.0.1:{free_port()}" for name in names}

    def _arguments(self, given: Any, places: dict[str, str]) -> list[str]:
        if isinstance(given, dict):
            text = _placed(given["config"], places)
            path = self.folder / f"config-{time.monotonic_ns()}.yml"
            path.write_text(text, encoding="utf-8")
            return ["-C", str(path)]
        arguments: list[str] = []
        for item in given:
            if item in _ENTRIES:
                for target in _ENTRY_TARGETS:
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
        keys = [name, "a", "b", "c", "d", "entry", *(f"entry.{target}" for target in TARGETS)]
        found = [
            places[key]
            for key in keys
            if f"{{{key}}}" in text and not _is_datagram(text, key) and _listens(text, key)
        ]
        if any(entries in text for entries in _ENTRIES):
            # remote listeners come up one by one, in any order
            found += [places[f"entry.{target}"] for target in _ENTRY_TARGETS]
        return found

    def _check(self, scenario: Scenario, cell: Cell, places: dict[str, str], secret: str) -> None:
        target = TARGET[cell.check]
        own = f"entry.{target}"
        listed = f"{{{own}}}" in str(scenario.nodes)
        if target in _ENTRY_TARGETS:
            listed = listed or any(entries in str(scenario.nodes) for entries in _ENTRIES)
        address = places[own if listed else "entry"]
        options = {key: _placed(str(v), places) for key, v in scenario.client_options.items()}
        entry = Entry(scenario.client, address, places[target], USER, secret, options)
        started = time.monotonic()
        try:
            with gevent.Timeout(CHECK, TimeoutError("the check took too long")):
                TRAFFIC[cell.check](entry)
            cell.state = "green"
        except Exception as error:  # whatever went wrong is this cell's result
            cell.state = "red"
            cell.reason = f"{type(error).__name__}: {error}"
        cell.seconds = round(time.monotonic() - started, 3)


def _tails(running: dict[str, _Node]) -> str:
    return " | ".join(f"{name}: {node.tail()}" for name, node in running.items() if node.tail())


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
