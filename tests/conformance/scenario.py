"""Scenarios: nodes with their gost command lines or configs, and the traffic to send.

A file of testdata/scenarios is a list under ``scenarios``. Fields of one::

    name: relay+{channel}            # expanded once for each value in ``matrix``
    matrix: {channel: [tcp, tls]}
    nodes:                           # in order of start; the last one is the entry
      server: ["-L", "relay+{channel}://{user}:{password}@{server}"]
      client: ["-L", "tcp://{entry}/{target}", "-F", "relay+{channel}://{user}:{password}@{server}"]
    client: tcp                      # how the suite talks to the entry, see traffic.py
    checks: [byte, bulk, ...]
    client_options: {host: a.test}   # of that client, see clients.py
    only: [gostpy]                   # implementations that can play it; all when absent
    excuses:                         # red cells that are known, and why
      - {check: banner, nodes: {client: gost}, why: "...", see: "control cell red"}

Placeholders ``{server}``, ``{entry}`` ... become ``127.0.0.1:PORT`` with a free port each;
``{target}`` is the target of the check. ``config:`` instead of a list is a YAML text, verbatim but
for the placeholders; ``await:`` beside it names those that accept when the node is up.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

__all__ = ["CHECKS", "Cell", "Excuse", "Scenario", "assignments", "read_scenarios"]

CHECKS = ("byte", "bulk", "half", "banner", "crowd", "refused", "password", "udp")
"""Those of a scenario that names none."""

FOLDER = Path(__file__).resolve().parents[2] / "testdata" / "scenarios"


@dataclass(frozen=True)
class Excuse:
    """Why a check is red for some assignments.

    Attributes:
        check: name of the check.
        why: one sentence.
        see: an entry of the page on differences, or how gost's bug was reproduced.
        nodes: node name -> implementation; the excuse holds where all agree.
    """

    check: str
    why: str
    see: str
    nodes: dict[str, str]

    def covers(self, check: str, assignment: dict[str, str]) -> bool:
        return self.check in (check, "*") and all(
            assignment.get(node) == made for node, made in self.nodes.items()
        )


@dataclass(frozen=True)
class Scenario:
    """One scenario, expanded; see the module's description."""

    name: str
    nodes: dict[str, Any]
    client: str
    checks: tuple[str, ...]
    excuses: tuple[Excuse, ...] = ()
    client_options: dict[str, Any] = field(default_factory=dict)
    only: tuple[str, ...] = ()


@dataclass
class Cell:
    """One check of one scenario with one assignment, and how it went."""

    scenario: str
    check: str
    assignment: dict[str, str]
    state: str = ""
    reason: str = ""
    seconds: float = 0.0


def read_scenarios(only: str = "") -> list[Scenario]:
    """All scenarios whose name contains ``only``, in the order of their files."""
    found: list[Scenario] = []
    for path in sorted(FOLDER.glob("*.yml")):
        document = YAML(typ="safe").load(path.read_text(encoding="utf-8"))
        for item in document["scenarios"]:
            found += _expand(item)
    names = [scenario.name for scenario in found]
    assert len(names) == len(set(names)), "two scenarios have one name"
    return [scenario for scenario in found if only in scenario.name]


def _expand(item: dict[str, Any]) -> list[Scenario]:
    matrix = item.get("matrix") or {}
    keys = list(matrix)
    made = []
    for values in itertools.product(*(matrix[key] for key in keys)):
        chosen = dict(zip(keys, values, strict=True))
        made.append(
            Scenario(
                name=_fill(item["name"], chosen),
                nodes=_fill(item["nodes"], chosen),
                client=_fill(item.get("client", "tcp"), chosen),
                checks=tuple(item.get("checks", CHECKS)),
                excuses=tuple(_excuses(item, chosen)),
                client_options=_fill(item.get("client_options", {}), chosen),
                only=tuple(item.get("only", ())),
            )
        )
    return made


def _excuses(item: dict[str, Any], chosen: dict[str, Any]) -> list[Excuse]:
    made = []
    for excuse in item.get("excuses", ()):
        wanted = excuse.get("where", {})
        if any(chosen.get(key) not in values for key, values in wanted.items()):
            continue
        checks = excuse["check"] if isinstance(excuse["check"], list) else [excuse["check"]]
        for check in checks:
            made.append(Excuse(check, excuse["why"], excuse["see"], excuse.get("nodes", {})))
    return made


def _fill(value: Any, chosen: dict[str, Any]) -> Any:
    """Put matrix values into texts, leaving other placeholders alone."""
    if isinstance(value, str):
        for key, text in chosen.items():
            value = value.replace("{" + key + "}", str(text))
        return value
    if isinstance(value, list):
        return [_fill(item, chosen) for item in value]
    if isinstance(value, dict):
        return {key: _fill(item, chosen) for key, item in value.items()}
    return value


def assignments(scenario: Scenario, implementations: list[str]) -> list[dict[str, str]]:
    """Every way to give the nodes to the implementations."""
    names = list(scenario.nodes)
    able = [name for name in implementations if not scenario.only or name in scenario.only]
    return [
        dict(zip(names, made, strict=True)) for made in itertools.product(able, repeat=len(names))
    ]
