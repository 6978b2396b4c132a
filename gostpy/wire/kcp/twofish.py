"""Twofish with a key of 32 bytes, in plain Python: many blocks of 16 bytes at a time.

Source    Schneier and others, Twofish: A 128-Bit Block Cipher (1998), sections 4.3 and 4.4

The key-dependent S-boxes and the MDS matrix are folded into four tables of 256 words, so that the
function g is four look-ups. For many blocks, look-ups are translations of bytes, and the rest is
arithmetic with large integers.
"""

from __future__ import annotations

import struct
from collections.abc import Callable

__all__ = ["BLOCK_SIZE", "Twofish"]

BLOCK_SIZE = 16

_MANY = 6
"""Blocks from which on it is faster to take all at once."""

_WORDS = struct.Struct("<IIII")
_KEY = struct.Struct("<8I")
_MASK = 0xFFFFFFFF
_RHO = 0x01010101

_MDS_POLYNOMIAL, _RS_POLYNOMIAL = 0x169, 0x14D
_MDS = (
    (0x01, 0xEF, 0x5B, 0x5B),
    (0x5B, 0xEF, 0xEF, 0x01),
    (0xEF, 0x5B, 0x01, 0xEF),
    (0xEF, 0x01, 0xEF, 0x5B),
)
_RS = (
    (0x01, 0xA4, 0x55, 0x87, 0x5A, 0x58, 0xDB, 0x9E),
    (0xA4, 0x56, 0x82, 0xF3, 0x1E, 0xC6, 0x68, 0xE5),
    (0x02, 0xA1, 0xFC, 0xC1, 0x47, 0xAE, 0x3D, 0x19),
    (0xA4, 0x55, 0x87, 0x5A, 0x58, 0xDB, 0x9E, 0x03),
)
# the four-bit permutations t0 to t3 of q0 and q1
_Q0 = ("817D6F320B59ECA4", "ECB81235F4A6709D", "BA5E6D90C8F32471", "D7F4126E9B3085CA")
_Q1 = ("28BDF76E31940AC5", "1E2B4C376DA5F908", "4C75169A0ED82B3F", "B951C3DE647F208A")


def _permutation(tables: tuple[str, ...]) -> list[int]:
    t0, t1, t2, t3 = ([int(digit, 16) for digit in table] for table in tables)
    made = []
    for value in range(256):
        high, low = value >> 4, value & 15
        a, b = high ^ low, high ^ (low >> 1 | (low & 1) << 3) ^ (high << 3 & 15)
        a, b = t0[a], t1[b]
        a, b = a ^ b, a ^ (b >> 1 | (b & 1) << 3) ^ (a << 3 & 15)
        made.append(t3[b] << 4 | t2[a])
    return made


def _times(left: int, right: int, polynomial: int) -> int:
    total = 0
    while right:
        if right & 1:
            total ^= left
        left <<= 1
        if left & 0x100:
            left ^= polynomial
        right >>= 1
    return total


_QS = (_permutation(_Q0), _permutation(_Q1))
# which permutation each byte goes through: before the first key word, after it, and so on
_ORDER = ((1, 1, 0, 0, 1), (0, 1, 1, 0, 0), (0, 0, 0, 1, 1), (1, 0, 1, 1, 0))
# what a byte in one place adds to the word that the MDS matrix makes
_COLUMNS = [
    [
        int.from_bytes(
            bytes(_times(_MDS[row][place], value, _MDS_POLYNOMIAL) for row in range(4)), "little"
        )
        for value in range(256)
    ]
    for place in range(4)
]


def _tables(words: list[int]) -> list[list[int]]:
    """The function h for four key words, as a table for each byte of its argument."""
    tables = []
    for place in range(4):
        keys = [word >> 8 * place & 255 for word in words]
        table = []
        for value in range(256):
            for stage, key in enumerate(reversed(keys)):
                value = _QS[_ORDER[place][stage]][value] ^ key
            table.append(_COLUMNS[place][_QS[_ORDER[place][4]][value]])
        tables.append(table)
    return tables


def _look_up(tables: list[list[int]], word: int) -> int:
    t0, t1, t2, t3 = tables
    return t0[word & 255] ^ t1[word >> 8 & 255] ^ t2[word >> 16 & 255] ^ t3[word >> 24]


def _rotate(word: int, by: int) -> int:
    return (word << by | word >> 32 - by) & _MASK


def _round_keys(words: tuple[int, ...]) -> list[int]:
    even, odd = _tables(list(words[0::2])), _tables(list(words[1::2]))
    keys = []
    for index in range(20):
        a = _look_up(even, 2 * index * _RHO)
        b = _rotate(_look_up(odd, (2 * index + 1) * _RHO), 8)
        keys.append(a + b & _MASK)
        keys.append(_rotate(a + 2 * b & _MASK, 9))
    return keys


def _box_words(key: bytes) -> list[int]:
    """The words that the S-boxes depend on: the key through the code RS, last word first."""
    made = []
    for at in range(0, 32, 8):
        word = 0
        for row in range(4):
            total = 0
            for factor, value in zip(_RS[row], key[at : at + 8], strict=True):
                total ^= _times(factor, value, _RS_POLYNOMIAL)
            word |= total << 8 * row
        made.append(word)
    return made[::-1]


class Twofish:
    """A key, with what is computed from it once."""

    __slots__ = ("_keys", "_planes", "_tables")

    def __init__(self, key: bytes) -> None:
        self._keys = _round_keys(_KEY.unpack(key))
        self._tables = _tables(_box_words(key))
        self._planes = [
            [bytes(word >> 8 * row & 255 for word in table) for row in range(4)]
            for table in self._tables
        ]

    def encrypting(self, count: int) -> Callable[[bytes], bytes]:
        """What encrypts up to ``count`` blocks at a time."""
        return self._many(count) if count >= _MANY else self._few()

    def _few(self) -> Callable[[bytes], bytes]:
        """One block after the other."""
        keys = self._keys
        t0, t1, t2, t3 = self._tables
        k0, k1, k2, k3, k4, k5, k6, k7 = keys[:8]
        steps = [tuple(keys[at : at + 4]) for at in range(8, 40, 4)]

        def encrypt(data: bytes) -> bytes:
            made = []
            for a, b, c, d in _WORDS.iter_unpack(data):
                a, b, c, d = a ^ k0, b ^ k1, c ^ k2, d ^ k3
                for f0, f1, f2, f3 in steps:
                    x = t0[a & 255] ^ t1[a >> 8 & 255] ^ t2[a >> 16 & 255] ^ t3[a >> 24]
                    y = t1[b & 255] ^ t2[b >> 8 & 255] ^ t3[b >> 16 & 255] ^ t0[b >> 24]
                    c ^= x + y + f0 & _MASK
                    c = c >> 1 | (c & 1) << 31
                    d = ((d << 1 | d >> 31) & _MASK) ^ (x + 2 * y + f1 & _MASK)
                    x = t0[c & 255] ^ t1[c >> 8 & 255] ^ t2[c >> 16 & 255] ^ t3[c >> 24]
                    y = t1[d & 255] ^ t2[d >> 8 & 255] ^ t3[d >> 16 & 255] ^ t0[d >> 24]
                    a ^= x + y + f2 & _MASK
                    a = a >> 1 | (a & 1) << 31
                    b = ((b << 1 | b >> 31) & _MASK) ^ (x + 2 * y + f3 & _MASK)
                made.append(_WORDS.pack(c ^ k4, d ^ k5, a ^ k6, b ^ k7))
            return b"".join(made)

        return encrypt

    def _many(self, count: int) -> Callable[[bytes], bytes]:
        """All at once: each word of all blocks lies in one integer, 64 bits apart."""
        size = count * BLOCK_SIZE
        words, wide = struct.Struct(f"<{4 * count}I"), struct.Struct(f"<{count}Q")
        ones = int.from_bytes(wide.pack(*[1] * count), "little")
        mask, low = ones * _MASK, ones * (_MASK >> 1)
        keys = [ones * key for key in self._keys]
        mix = self._mixing(count)

        def half(a: int, b: int, c: int, d: int, at: int) -> tuple[int, int]:
            x, y = mix(a, b)
            c ^= x + y + keys[at] & mask
            d = (d << 1 & mask | d >> 31 & ones) ^ (x + 2 * y + keys[at + 1] & mask)
            return c >> 1 & low | (c & ones) << 31, d

        def encrypt(data: bytes) -> bytes:
            found = words.unpack(data.ljust(size, b"\0"))
            a, b, c, d = (
                int.from_bytes(wide.pack(*found[at::4]), "little") ^ keys[at] for at in range(4)
            )
            for at in range(8, 40, 4):
                c, d = half(a, b, c, d, at)
                a, b = half(c, d, a, b, at + 2)
            made = [0] * (4 * count)
            for at, word in enumerate((c, d, a, b)):
                made[at::4] = wide.unpack((word ^ keys[at + 4]).to_bytes(wide.size, "little"))
            return words.pack(*made)

        return encrypt

    def _mixing(self, count: int) -> Callable[[int, int], tuple[int, int]]:
        """The function g of a word, and of one rotated by eight: byte by byte, as translations."""
        width, planes = 8 * count, self._planes
        first = (1 << 8 * width) - 1

        def mix(left: int, right: int) -> tuple[int, int]:
            one, other = left.to_bytes(width, "little"), right.to_bytes(width, "little")
            total = 0
            for place, rows in enumerate(planes):
                part = one[place::8] + other[place - 1 & 3 :: 8]
                total ^= int.from_bytes(b"".join([part.translate(row) for row in rows]), "little")
            mixed, both = total.to_bytes(width, "little"), bytearray(2 * width)
            for row in range(4):
                both[row::8] = mixed[2 * count * row : 2 * count * (row + 1)]
            made = int.from_bytes(both, "little")
            return made & first, made >> 8 * width

        return mix
