"""TEA and XTEA: small ciphers with blocks of eight bytes, in plain Python.

Source    Wheeler and Needham, TEA (1994) and XTEA (1997); integers big-endian as in
          golang.org/x/crypto/tea, which counts two rounds per step: kcp-go's TEA has 16 rounds
"""

from __future__ import annotations

import struct
from collections.abc import Callable

__all__ = ["tea", "xtea"]

_DELTA = 0x9E3779B9
_MASK = 0xFFFFFFFF
_BLOCK = struct.Struct(">II")
_KEY = struct.Struct(">IIII")
_TEA_STEPS = 8
_XTEA_STEPS = 32


def tea(key: bytes) -> Callable[[int, int], tuple[int, int]]:
    """Encrypts one block, given and returned as two halves."""
    k0, k1, k2, k3 = _KEY.unpack(key)
    sums = [_DELTA * step & _MASK for step in range(1, _TEA_STEPS + 1)]

    def encrypt(left: int, right: int) -> tuple[int, int]:
        for total in sums:
            left = left + ((right << 4) + k0 ^ right + total ^ (right >> 5) + k1) & _MASK
            right = right + ((left << 4) + k2 ^ left + total ^ (left >> 5) + k3) & _MASK
        return left, right

    return encrypt


def xtea(key: bytes) -> Callable[[int, int], tuple[int, int]]:
    """Encrypts one block, given and returned as two halves."""
    words = _KEY.unpack(key)
    rounds = []
    total = 0
    for _ in range(_XTEA_STEPS):
        first = total + words[total & 3] & _MASK
        total = total + _DELTA & _MASK
        rounds.append((first, total + words[total >> 11 & 3] & _MASK))

    def encrypt(left: int, right: int) -> tuple[int, int]:
        for first, second in rounds:
            left = left + (((right << 4 ^ right >> 5) + right) ^ first) & _MASK
            right = right + (((left << 4 ^ left >> 5) + left) ^ second) & _MASK
        return left, right

    return encrypt
