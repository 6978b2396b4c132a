"""TEA and XTEA: small ciphers with blocks of eight bytes, in plain Python, many blocks at a time.

Source    Wheeler and Needham, TEA (1994) and XTEA (1997); integers big-endian as in
          golang.org/x/crypto/tea, which counts two rounds per step: kcp-go's TEA has 16 rounds

Both add, shift and combine words of 32 bits only. So blocks lie side by side in two large integers,
all left halves and all right halves, each in 64 bits of its own, where nothing runs over: one
operation does for all of them, and 180 blocks cost hardly more than ten.
"""

from __future__ import annotations

import struct
from collections.abc import Callable

__all__ = ["BLOCK_SIZE", "tea", "xtea"]

BLOCK_SIZE = 8

_DELTA = 0x9E3779B9
_WORD = 0xFFFFFFFF
_KEY = struct.Struct(">IIII")
_TEA_STEPS = 8
_XTEA_STEPS = 32

Halves = tuple[int, int]


def _blocks(count: int, steps: Callable[[int, int], Halves]) -> Callable[[bytes], bytes]:
    """Bytes of up to ``count`` blocks to halves, and back."""
    size = count * BLOCK_SIZE
    words = _lanes(count) * _WORD

    def encrypt(data: bytes) -> bytes:
        both = int.from_bytes(data.ljust(size, b"\0"), "big")
        left, right = steps(both >> 32 & words, both & words)
        return (left << 32 | right).to_bytes(size, "big")

    return encrypt


def _lanes(count: int) -> int:
    """A one for each block."""
    return int.from_bytes(b"\0\0\0\0\0\0\0\1" * count, "big")


def tea(key: bytes, count: int) -> Callable[[bytes], bytes]:
    """Encrypts up to ``count`` blocks; what follows them in the answer means nothing."""
    ones = _lanes(count)
    words, shifted = ones * _WORD, ones * (_WORD >> 5)
    k0, k1, k2, k3 = (ones * word for word in _KEY.unpack(key))
    sums = [ones * (_DELTA * step & _WORD) for step in range(1, _TEA_STEPS + 1)]

    def steps(left: int, right: int) -> Halves:
        for total in sums:
            mixed = (right << 4) + k0 ^ right + total ^ (right >> 5 & shifted) + k1
            left = left + mixed & words
            mixed = (left << 4) + k2 ^ left + total ^ (left >> 5 & shifted) + k3
            right = right + mixed & words
        return left, right

    return _blocks(count, steps)


def xtea(key: bytes, count: int) -> Callable[[bytes], bytes]:
    """Encrypts up to ``count`` blocks; what follows them in the answer means nothing."""
    ones = _lanes(count)
    words, shifted = ones * _WORD, ones * (_WORD >> 5)
    given = _KEY.unpack(key)
    rounds = []
    total = 0
    for _ in range(_XTEA_STEPS):
        first = total + given[total & 3] & _WORD
        total = total + _DELTA & _WORD
        rounds.append((ones * first, ones * (total + given[total >> 11 & 3] & _WORD)))

    def steps(left: int, right: int) -> Halves:
        for first, second in rounds:
            left = left + ((right << 4 ^ right >> 5 & shifted) + right ^ first) & words
            right = right + ((left << 4 ^ left >> 5 & shifted) + left ^ second) & words
        return left, right

    return _blocks(count, steps)
