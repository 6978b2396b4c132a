"""The format of testdata/wire/NAME.yml: what one conn or datagram association carried.

A step is ``client: BYTES`` or ``server: BYTES``, with ``datagram`` after the side for datagrams,
and with ``end`` for the bytes when the side closed. BYTES are words: hex digits, "text" as in JSON,
and ports that differ each time, ``{echo}`` for two bytes, ``{echo text}`` for its five digits.

TLS, the masks and keys of WebSocket and the encryption of Shadowsocks are taken off before, see
layers.py and shadow.py; ``mux`` tells after how many bytes of a side smux frames begin.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

__all__ = ["FOLDER", "Exchange", "Pattern", "Step", "read_exchanges", "write_exchange"]

FOLDER = Path(__file__).resolve().parents[2] / "testdata" / "wire"

_WORD = re.compile(r'"(?:\\.|[^"\\])*"|\{[a-z0-9]+(?: text)?\}|[0-9a-f]+|\S')
_PRINTABLE = re.compile(rb"[\x20-\x7e\r\n]{4,}")
# 127.0.0.1, 0.0.0.0, the end of localhost, or the command of SOCKS4
_BEFORE_PORT = rb"(?:(?<=\x7f\x00\x00\x01|\x00\x00\x00\x00|host)|(?<=\x04[\x01\x02]))"


@dataclass(frozen=True)
class Pattern:
    """Bytes with holes: literals and (name, whether decimal digits)."""

    parts: tuple[bytes | tuple[str, bool], ...]

    @classmethod
    def parse(cls, text: str) -> Pattern:
        parts: list[bytes | tuple[str, bool]] = []
        for word in _WORD.findall(text):
            if word[0] == '"':
                parts.append(json.loads(word).encode("latin-1"))
            elif word[0] == "{":
                name, _, form = word[1:-1].partition(" ")
                parts.append((name, bool(form)))
            else:
                parts.append(bytes.fromhex(word))
        return cls(tuple(parts))

    @classmethod
    def of(cls, data: bytes, ports: Collection[tuple[str, int]]) -> Pattern:
        """Bytes as recorded, the ports in them given their names."""
        found: list[tuple[int, int, tuple[str, bool]]] = []
        for name, port in ports:
            binary = port.to_bytes(2, "big")
            for match in re.finditer(_BEFORE_PORT + re.escape(binary), data):
                found.append((match.start(), match.end(), (name, False)))
            for match in re.finditer(rb"(?<!\d)%d(?!\d)" % port, data):
                found.append((match.start(), match.end(), (name, True)))
        for _, end, _ in list(found):  # a second port right after a first
            for name, port in ports:
                if data[end : end + 2] == port.to_bytes(2, "big"):
                    found.append((end, end + 2, (name, False)))
        parts: list[bytes | tuple[str, bool]] = []
        at = 0
        for start, end, hole in sorted(found):
            if start < at:
                continue
            parts += [data[at:start], hole]
            at = end
        return cls(tuple(part for part in [*parts, data[at:]] if part))

    def __str__(self) -> str:
        return " ".join(_words(part) for part in self.parts)

    def fill(self, ports: dict[str, int]) -> bytes:
        """The bytes, with these ports. Raises KeyError: one is not known."""
        return bytes(number for number in self.expect(ports, strict=True) if number is not None)

    def expect(self, ports: dict[str, int], *, strict: bool = False) -> list[int | None]:
        """The bytes, None where a port is not known."""
        found: list[int | None] = []
        for part in self.parts:
            if isinstance(part, bytes):
                found += part
                continue
            name, decimal = part
            if name not in ports and not strict:
                found += [None] * (5 if decimal else 2)
            else:
                port = ports[name]
                found += str(port).encode() if decimal else port.to_bytes(2, "big")
        return found


def _words(part: bytes | tuple[str, bool]) -> str:
    if not isinstance(part, bytes):
        return f"{{{part[0]}{' text' if part[1] else ''}}}"
    words, at = [], 0
    for match in _PRINTABLE.finditer(part):
        words += [part[at : match.start()].hex(), json.dumps(match.group().decode())]
        at = match.end()
    return " ".join(word for word in [*words, part[at:].hex()] if word)


@dataclass(frozen=True)
class Step:
    """What one side sent.

    Attributes:
        side: client or server.
        kind: bytes, datagram, or end.
    """

    side: str
    kind: str
    pattern: Pattern = field(default_factory=lambda: Pattern(()))


@dataclass(frozen=True)
class Exchange:
    """One recorded exchange.

    Attributes:
        server: command line or ``{config: TEXT}`` of the recorded server node; empty: a target.
        client: the same of the client node; empty: the recorder itself spoke.
        drive: which traffic of drives.py made the exchange happen, if any.
        drives: the role that it drives: client (at the entry) or server (at what it bound).
        layers: what was taken off, from the wire up; ss and ssu with METHOD:PASSWORD.
        mux: where smux begins, by side.
        roles: those gostpy is played in.
        target: what a client without a server node is connected to.
        note: why a role is missing, or what to know.
    """

    name: str
    steps: tuple[Step, ...]
    server: Any = ()
    client: Any = ()
    drive: str = ""
    drives: str = "client"
    layers: tuple[str, ...] = ()
    mux: dict[str, int] = field(default_factory=dict)
    roles: tuple[str, ...] = ("server", "client")
    target: str = "echo"
    note: str = ""

    @property
    def datagrams(self) -> bool:
        """Whether there is no stream at all."""
        return all(step.kind == "datagram" for step in self.steps)


def file_of(name: str) -> Path:
    return FOLDER / (re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-") + ".yml")


def write_exchange(exchange: Exchange, recorded: str) -> None:
    """Write the file of an exchange. ``recorded`` names the program and the command."""
    yaml = YAML()
    yaml.width = 4096
    document: dict[str, Any] = {"name": exchange.name, "recorded": recorded}
    for key in ("note", "server", "client", "drive", "drives", "layers", "mux", "roles", "target"):
        value = getattr(exchange, key)
        if value != getattr(Exchange("", ()), key):
            document[key] = list(value) if isinstance(value, tuple) else value
    document["steps"] = [_as_data(step) for step in exchange.steps]
    with file_of(exchange.name).open("w", encoding="utf-8") as file:
        yaml.dump(document, file)


def _as_data(step: Step) -> dict[str, str]:
    if step.kind == "end":
        return {step.side: "end"}
    key = f"{step.side} datagram" if step.kind == "datagram" else step.side
    return {key: str(step.pattern)}


def read_exchanges() -> list[Exchange]:
    """All of testdata/wire, by name."""
    found = []
    for path in sorted(FOLDER.glob("*.yml")):
        document = YAML(typ="safe").load(path.read_text(encoding="utf-8"))
        document.pop("recorded")
        steps = tuple(_step(*item) for data in document.pop("steps") for item in data.items())
        for key in ("layers", "roles"):
            if key in document:
                document[key] = tuple(document[key])
        found.append(Exchange(steps=steps, **document))
    return found


def _step(key: str, text: str) -> Step:
    side, _, kind = key.partition(" ")
    if text == "end":
        return Step(side, "end")
    return Step(side, kind or "bytes", Pattern.parse(text))
