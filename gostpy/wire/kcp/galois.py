"""Bytes as the field GF(2^8) with the polynomial 0x11D, and Reed-Solomon over it.

Source    klauspost/reedsolomon (what its default matrix is): the Vandermonde matrix, multiplied by
          the inverse of its square top, so that the first rows give the data back
"""

from __future__ import annotations

from functools import lru_cache

__all__ = ["MOST_SHARDS", "combine", "lost_rows", "parity_rows"]

MOST_SHARDS = 256
"""Data and parity shards of a group together."""

_POLYNOMIAL = 0x11D

Row = bytes
"""Factors; a whole row is multiplied and added at once, as shards are."""


def _tables() -> tuple[list[int], list[int]]:
    powers, logs = [1] * 255, [0] * 256
    value = 1
    for exponent in range(255):
        powers[exponent] = value
        logs[value] = exponent
        value <<= 1
        if value > 255:
            value ^= _POLYNOMIAL
    return powers, logs


_POWERS, _LOGS = _tables()


def _times(left: int, right: int) -> int:
    if not left or not right:
        return 0
    return _POWERS[(_LOGS[left] + _LOGS[right]) % 255]


def _power(base: int, exponent: int) -> int:
    if not exponent:
        return 1
    return _POWERS[_LOGS[base] * exponent % 255] if base else 0


@lru_cache(maxsize=256)
def _multiples(factor: int) -> bytes:
    """Table of ``factor`` times each byte, for ``bytes.translate``."""
    return bytes(_times(factor, value) for value in range(256))


def _inverse(matrix: list[Row]) -> list[Row]:
    """Gauss-Jordan; all matrices met here can be inverted."""
    size = len(matrix)
    rows = [row + bytes(int(at == index) for index in range(size)) for at, row in enumerate(matrix)]
    for column in range(size):
        pivot = next(at for at in range(column, size) if rows[at][column])
        rows[column], rows[pivot] = rows[pivot], rows[column]
        scaled = rows[column].translate(_multiples(_power(rows[column][column], 254)))
        rows[column] = scaled
        for at in range(size):
            factor = rows[at][column]
            if at != column and factor:
                rows[at] = combine(bytes((1, factor)), [rows[at], scaled], 2 * size)
    return [row[size:] for row in rows]


@lru_cache(maxsize=32)
def parity_rows(data: int, parity: int) -> list[Row]:
    """Factors of the data shards in each parity shard."""
    vandermonde = [
        bytes(_power(row, column) for column in range(data)) for row in range(data + parity)
    ]
    top = _inverse(vandermonde[:data])
    return [combine(row, top, data) for row in vandermonde[data:]]


@lru_cache(maxsize=256)
def lost_rows(data: int, parity: int, present: tuple[int, ...]) -> list[Row]:
    """Factors of the shards ``present`` in each data shard that is missing.

    Args:
        present: as many as there are data shards, in order.

    Only the equations of the parity shards are solved, for what is missing: with few losses that
    is next to nothing, and hundreds of shards take milliseconds.
    """
    known = set(present)
    lost = [index for index in range(data) if index not in known]
    checks = [index for index in present if index >= data]
    rows = parity_rows(data, parity)
    equations = [rows[check - data] for check in checks]
    solved = _inverse([bytes(row[index] for index in lost) for row in equations])
    terms = [
        bytes(row[index] if index < data else int(index == check) for index in present)
        for check, row in zip(checks, equations, strict=True)
    ]
    return [combine(row, terms, data) for row in solved]


def combine(row: Row, shards: list[bytes], size: int) -> bytes:
    """The sum of ``shards``, each times its factor; shorter ones end in zeros up to ``size``."""
    total = 0
    for factor, shard in zip(row, shards, strict=True):
        if factor:
            # little-endian, so that the zeros at the end need not be there
            total ^= int.from_bytes(shard.translate(_multiples(factor)), "little")
    return total.to_bytes(size, "little")
