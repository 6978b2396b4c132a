"""Bytes as the field GF(2^8) with the polynomial 0x11D, and Reed-Solomon over it.

Source    klauspost/reedsolomon (what its default matrix is): the Vandermonde matrix, multiplied by
          the inverse of its square top, so that the first rows give the data back
"""

from __future__ import annotations

from functools import lru_cache

__all__ = ["MOST_SHARDS", "combine", "decoding_rows", "parity_rows"]

MOST_SHARDS = 256
"""Data and parity shards of a group together."""

_POLYNOMIAL = 0x11D

Row = tuple[int, ...]


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


def _product(left: list[Row], right: list[Row]) -> list[Row]:
    columns = list(zip(*right, strict=True))
    return [tuple(_sum_of_products(row, column) for column in columns) for row in left]


def _sum_of_products(left: Row, right: Row) -> int:
    total = 0
    for one, other in zip(left, right, strict=True):
        total ^= _times(one, other)
    return total


def _inverse(matrix: list[Row]) -> list[Row]:
    """Gauss-Jordan; all matrices met here can be inverted."""
    size = len(matrix)
    rows = [[*row, *(int(at == index) for index in range(size))] for at, row in enumerate(matrix)]
    for column in range(size):
        pivot = next(at for at in range(column, size) if rows[at][column])
        rows[column], rows[pivot] = rows[pivot], rows[column]
        scale = _multiples(_power(rows[column][column], 254))
        rows[column] = [scale[value] for value in rows[column]]
        for at in range(size):
            factor = rows[at][column]
            if at != column and factor:
                table = _multiples(factor)
                rows[at] = [
                    value ^ table[other]
                    for value, other in zip(rows[at], rows[column], strict=True)
                ]
    return [tuple(row[size:]) for row in rows]


@lru_cache(maxsize=32)
def _matrix(data: int, parity: int) -> list[Row]:
    vandermonde = [
        tuple(_power(row, column) for column in range(data)) for row in range(data + parity)
    ]
    return _product(vandermonde, _inverse(vandermonde[:data]))


def parity_rows(data: int, parity: int) -> list[Row]:
    """Factors of the data shards in each parity shard."""
    return _matrix(data, parity)[data:]


@lru_cache(maxsize=256)
def decoding_rows(data: int, parity: int, present: Row) -> list[Row]:
    """Factors of the shards ``present`` (as many as there are data shards) in each data shard."""
    matrix = _matrix(data, parity)
    return _inverse([matrix[index] for index in present])


def combine(row: Row, shards: list[bytes], size: int) -> bytes:
    """The sum of ``shards``, each times its factor; shorter ones end in zeros up to ``size``."""
    total = 0
    for factor, shard in zip(row, shards, strict=True):
        if factor:
            # little-endian, so that the zeros at the end need not be there
            total ^= int.from_bytes(shard.translate(_multiples(factor)), "little")
    return total.to_bytes(size, "little")
