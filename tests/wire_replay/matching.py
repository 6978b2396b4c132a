"""Compares streams: what was recorded with what comes, whatever pieces it comes in.

Of smux, streams are compared: that they were opened and closed, and their data; how data is cut
into frames, and when window updates (command 4) are sent, is free.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass, field

__all__ = ["Mismatch", "Streams", "compare", "holes", "read_smux"]

_HEAD = struct.Struct("<BBHI")
_SYN, _FIN, _PSH, _NOP, _UPD = range(5)


class Mismatch(AssertionError):
    """Other bytes than recorded."""


@dataclass
class Streams:
    """What a side sent on an smux session: (version, stream id) -> [opened, data, closed]."""

    found: dict[tuple[int, int], list[object]] = field(default_factory=dict)
    rest: bytes = b""

    def covers(self, other: Streams) -> bool:
        """Whether everything of the other is here."""
        for key, (opened, data, closed) in other.found.items():
            mine = self.found.get(key, [False, b"", False])
            assert isinstance(data, bytes)
            assert isinstance(mine[1], bytes)
            if len(mine[1]) < len(data) or mine[0] < opened or mine[2] < closed:  # type: ignore[operator]
                return False
        return True


def read_smux(data: bytes) -> Streams:
    """Frames as streams. Raises Mismatch: no smux."""
    streams = Streams()
    while len(data) >= _HEAD.size:
        version, command, size, number = _HEAD.unpack_from(data)
        if version not in (1, 2) or command > _UPD:
            raise Mismatch(f"no smux frame: {data[:8].hex()}")
        if len(data) < _HEAD.size + size:
            break
        payload, data = data[_HEAD.size : _HEAD.size + size], data[_HEAD.size + size :]
        if command in (_NOP, _UPD):
            if command == _UPD and (size != 8 or version != 2):
                raise Mismatch("a window update of a wrong form")
            continue
        state = streams.found.setdefault((version, number), [False, b"", False])
        if command == _SYN:
            state[0] = True
        elif command == _FIN:
            state[2] = True
        else:
            assert isinstance(state[1], bytes)
            state[1] += payload
    streams.rest = data
    return streams


def compare(expected: Sequence[int | None], got: bytes, mux: int | None) -> bool:
    """Whether all that was expected came. Raises Mismatch: something else did.

    Args:
        expected: None stands for any byte.
        mux: from which byte on it is smux; None: nowhere.
    """
    plain = expected if mux is None else expected[:mux]
    head = got if mux is None else got[:mux]
    _compare_bytes(plain, head)
    if mux is None or len(head) < mux:
        return len(head) >= len(plain) and (mux is None or len(expected) <= len(head))
    if len(expected) <= mux:
        return True
    wanted = read_smux(bytes(byte or 0 for byte in expected[mux:]))
    came = read_smux(got[mux:])
    for key, (_, data, _) in came.found.items():
        if key not in wanted.found:
            continue
        mine = wanted.found[key][1]
        assert isinstance(data, bytes)
        assert isinstance(mine, bytes)
        size = min(len(mine), len(data))
        _compare_bytes(list(mine[:size]), data[:size])
    return came.covers(wanted)


def _compare_bytes(expected: Sequence[int | None], got: bytes) -> None:
    for at, (wanted, byte) in enumerate(zip(expected, got, strict=False)):
        if wanted is not None and wanted != byte:
            shown = bytes(number or 0 for number in expected[max(at - 8, 0) : at + 24])
            raise Mismatch(
                f"at byte {at}: got ...{got[max(at - 8, 0) : at + 24]!r}, recorded ...{shown!r}"
            )


def holes(expected: Sequence[int | None], got: bytes) -> int | None:
    """The port that came where any byte was expected."""
    for at, wanted in enumerate(expected):
        if wanted is None and len(got) >= at + 2:
            return int.from_bytes(got[at : at + 2], "big")
    return None
