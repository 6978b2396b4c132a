"""Plays scenarios: starts the nodes of an assignment, sends the traffic, notes the results."""

from __future__ import annotations

import os
import shutil
import socket
import sys
import tempfile
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import gevent

from tests.conformance.clients import Entry
from tests.conformance.node import Node, NodeFailed, free_port
from tests.conformance.scenario import Cell, Scenario, assignments
from tests.conformance.targets import Targets
from tests.conformance.traffic import TARGET, TARGETS, TRAFFIC

__all__ = ["IMPLEMENTATIONS", "Player", "gostpy_command", "implementations"]

CHECK = 30.0
PORT_TRIES = 3
USER, PASSWORD, WRONG_PASSWORD = "user", "pass-word", "wrong-word"
_ENTRIES = {"{entries}": "tcp", "{remote entries}": "rtcp"}
_DATAGRAM_CHANNELS = ("dtls", "h3", "h3-masque", "http3", "kcp", "quic", "wt")
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
        commands = {name: self.commands[made] for name, made in assignment.items()}
        for _ in range(PORT_TRIES):
            cells = [Cell(scenario.name, check, assignment) for check in scenario.checks]
            game = _Game(scenario, commands, self.targets.addresses, self.folder)
            try:
                game.play(cells)
            finally:
                game.close()
            if not any("already in use" in cell.reason for cell in cells):
                break
        for cell in cells:
            _excuse(scenario, cell)
        return cells


def _excuse(scenario: Scenario, cell: Cell) -> None:
    if cell.state != "red":
        return
    for excuse in scenario.excuses:
        if excuse.covers(cell.check, cell.assignment):
            cell.state = "excused"
            cell.reason = f"{excuse.why} ({excuse.see}): {cell.reason}"
            return


class _Game:
    """The nodes of one scenario, running.

    Args:
        commands: the program of each node.
        targets: addresses by name.
        folder: for logs, configs and sockets.
    """

    def __init__(
        self,
        scenario: Scenario,
        commands: dict[str, list[str]],
        targets: dict[str, str],
        folder: Path,
    ) -> None:
        self.scenario = scenario
        self._commands = commands
        self._folder = folder
        self._last = list(scenario.nodes)[-1]  # the entry node
        self._running: dict[str, Node] = {}
        self._ended: list[Node] = []
        self._places = {**targets, "user": USER, "folder": str(folder)}
        for name in [*scenario.nodes, "a", "b", "c", "d"]:
            self._places[name] = _free_address()
        self._take_entries()

    def play(self, cells: list[Cell]) -> None:
        """Start the nodes and run the checks; those with a wrong password come last."""
        try:
            for name in self.scenario.nodes:
                if self.scenario.client != "stdio" or name != self._last:
                    self._start(name, PASSWORD)
            for cell in cells:
                if not cell.check.startswith("password"):
                    self._check(cell, PASSWORD)
            intruding = [cell for cell in cells if not cell.state]
            if intruding and self.scenario.client == "tcp":  # the entry node has the password
                self._replace_entry_node()
            for cell in intruding:
                self._check(cell, WRONG_PASSWORD)
        except (NodeFailed, OSError) as error:
            for cell in cells:
                if not cell.state:
                    cell.state, cell.reason = "red", str(error)
        self.close()
        said = "".join(f" | {node.name}: {node.tail()}" for node in self._ended if node.tail())
        for cell in cells:
            if cell.state == "red":
                cell.reason = (cell.reason[:200] + said).replace(str(self._folder), "FOLDER")

    def close(self) -> None:
        """Stop all nodes."""
        stopped = list(self._running.values())
        self._running.clear()
        for node in stopped:
            node.end()
        for node in stopped:
            node.stop()
        self._ended += stopped

    def _start(self, name: str, password: str) -> None:
        node = Node(name, self._command(name, self._with(password)), self._folder)
        self._running[name] = node
        node.wait_for(self._awaited(name))

    def _replace_entry_node(self) -> None:
        """By one that has a wrong password."""
        self._running.pop(self._last).stop()
        self._take_entries()
        self._start(self._last, WRONG_PASSWORD)

    def _start_piped(self, target: str, pipe: socket.socket) -> None:
        """The entry node once more, with a socket as its standard input and output."""
        places = {**self._with(PASSWORD), "target": self._places[target]}
        node = Node(self._last, self._command(self._last, places), self._folder, pipe)
        self._running[f"{self._last} {len(self._running)}"] = node

    # -- addresses -------------------------------------------------------------------------------

    def _take_entries(self) -> None:
        """New addresses for the entry node."""
        for name in ["entry", self._last, *(f"entry.{target}" for target in TARGETS)]:
            self._places[name] = _free_address()

    def _with(self, password: str) -> dict[str, str]:
        ports = {f"{name}.port": at.rpartition(":")[2] for name, at in self._places.items()}
        return {**self._places, **ports, "password": password}

    def _command(self, name: str, places: dict[str, str]) -> list[str]:
        given, command = self.scenario.nodes[name], self._commands[name]
        if isinstance(given, dict):
            path = self._folder / f"config-{time.monotonic_ns()}.yml"
            path.write_text(_placed(given["config"], places), encoding="utf-8")
            return [*command, "-C", str(path)]
        arguments: list[str] = []
        for item in given:
            if item in _ENTRIES:
                for target in _ENTRY_TARGETS:
                    arguments += ["-L", f"{_ENTRIES[item]}://{{entry.{target}}}/{{{target}}}"]
            else:
                arguments.append(item)
        return command + [_placed(item, places) for item in arguments]

    def _awaited(self, name: str) -> list[str]:
        """Addresses that tell that a node is up: of -L, or named under ``await``; those of channels
        on datagrams have ``udp!`` in front."""
        given = self.scenario.nodes[name]
        if isinstance(given, dict):
            return [self._places[key] for key in given.get("await", ())]
        text = str(given)
        keys = [name, "a", "b", "c", "d", "entry", *(f"entry.{target}" for target in TARGETS)]
        found = [key for key in dict.fromkeys(keys) if _is_listener(text, key)]
        datagrams = [key for key in found if _on_datagrams(text, key)]
        found = [key for key in found if key not in datagrams and not _is_udp(text, key)]
        if any(entries in text for entries in _ENTRIES):
            # remote listeners come up one by one, in any order
            found += [f"entry.{target}" for target in _ENTRY_TARGETS]
        return [self._places[key] for key in found] + [
            f"udp!{self._places[key]}" for key in datagrams
        ]

    # -- checks ----------------------------------------------------------------------------------

    def _check(self, cell: Cell, password: str) -> None:
        started = time.monotonic()
        try:
            with gevent.Timeout(CHECK, TimeoutError("the check took too long")):
                TRAFFIC[cell.check](self._entry(cell.check, password))
            cell.state = "green"
        except Exception as error:  # whatever went wrong is this cell's result
            cell.state = "red"
            cell.reason = f"{type(error).__name__}: {error}"
        cell.seconds = round(time.monotonic() - started, 3)

    def _entry(self, check: str, password: str) -> Entry:
        target = TARGET[check]
        own = f"entry.{target}"
        listed = f"{{{own}}}" in str(self.scenario.nodes)
        if target in _ENTRY_TARGETS:
            listed = listed or any(entries in str(self.scenario.nodes) for entries in _ENTRIES)
        given = self.scenario.client_options
        return Entry(
            self.scenario.client,
            self._places[own if listed else "entry"],
            self._places[target],
            USER,
            password,
            {key: _placed(str(value), self._places) for key, value in given.items()},
            partial(self._start_piped, target) if self.scenario.client == "stdio" else None,
        )


def _free_address() -> str:
    return f"127.0.0.1:{free_port()}"


def _placed(text: str, places: dict[str, str]) -> str:
    for key, value in places.items():
        text = text.replace("{" + key + "}", value)
    return text


def _is_listener(text: str, key: str) -> bool:
    """Whether a placeholder of a command line is an address that is listened on."""
    at = text.find("{" + key + "}")
    before = text[: max(at, 0)]
    return at >= 0 and before.rfind("-L") >= before.rfind("-F")


def _scheme(text: str, key: str) -> str:
    before = text[: text.find("{" + key + "}")]
    start = max(before.rfind("'"), before.rfind('"'), 0)
    return before[start + 1 :].partition("://")[0]


def _is_udp(text: str, key: str) -> bool:
    """A udp listener, which may come up when it likes."""
    scheme = _scheme(text, key)
    return scheme in ("udp", "ssu", "rudp", "redu") or scheme.endswith("+udp")


def _on_datagrams(text: str, key: str) -> bool:
    """A listener of streams that are carried by UDP."""
    return _scheme(text, key).rpartition("+")[2] in _DATAGRAM_CHANNELS
