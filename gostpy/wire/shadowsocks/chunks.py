"""The chunks of a Shadowsocks stream, common to all its editions.

Wire      HEADER | { AEAD(length, 2, big-endian) | AEAD(payload) }*, each way on its own
          nonce = little-endian counter from 0, one up after every AEAD, headers included
Source    SIP004, SIP022
Differs   nothing known.

What the header is, subclasses say: they get units of the size that they ask for.
"""

from __future__ import annotations

from typing import Any

from gostpy.errors import ProtocolError
from gostpy.wire.codec import Buffer, Codec, decode_buffer
from gostpy.wire.shadowsocks.methods import AEAD, InvalidTag, Secret

__all__ = ["ChunkCodec"]

HEADER, LENGTH, PAYLOAD = range(3)

_rooms: dict[int, memoryview] = {}


def _room(level: int, size: int) -> memoryview:
    """A shared buffer of at least ``size`` bytes, by the rules of ``decode_buffer``."""
    room = decode_buffer(level)
    if len(room) >= size:
        return room
    larger = _rooms.get(level)
    if larger is None or len(larger) < size:
        larger = _rooms[level] = memoryview(bytearray(size + 65536))
    return larger


class ChunkCodec(Codec):
    """Base of the stream codecs.

    Subclasses define ``_header(unit) -> payload``, which gets ``_want`` bytes at a time until it
    sets ``_stage`` to LENGTH, and ``_first(data) -> wire``, which calls ``_start_sending``.
    """

    __slots__ = (
        "_back",
        "_largest",
        "_nonce_size",
        "_open",
        "_partial",
        "_received",
        "_seal",
        "_secret",
        "_sent",
        "_stage",
        "_tag",
        "_want",
        "held",
    )

    def __init__(self, secret: Secret, largest: int, want: int) -> None:
        super().__init__()
        self._secret = secret
        self._largest = largest
        self._nonce_size = secret.method.nonce_size
        self._tag = secret.method.tag_size
        self._open: AEAD | None = None
        self._seal: AEAD | None = None
        self._received = self._sent = 0
        self._stage = HEADER
        self._want = want
        self._back = 0  # bytes at the end of a header unit that belong to what follows
        self._partial = b""
        self.held = False

    # -- receiving -----------------------------------------------------------------------------

    def decode(self, data: Buffer) -> Buffer:
        partial = self._partial
        room = _room(self.level, len(partial) + len(data))
        filled = 0
        view = memoryview(data)
        try:
            while partial:  # only this unit is copied, not all that came with its end
                missing = self._want - len(partial)
                if len(view) < missing:
                    self._partial = partial + view
                    return room[:filled]
                unit = partial + view[:missing]
                view = view[missing:]
                self._partial = b""
                filled = self._units(memoryview(unit), room, filled)
                partial = self._partial
            return room[: self._units(view, room, filled)]
        except InvalidTag:
            raise ProtocolError("data does not authenticate: wrong key or method") from None

    def _units(self, view: memoryview, room: memoryview, filled: int) -> int:
        """Decode all complete units and keep the rest; the payload is put into ``room``."""
        position, size, want, tag = 0, len(view), self._want, self._tag
        open_, received, digits = self._open, self._received, self._nonce_size
        stage = self._stage
        while position + want <= size:
            unit = view[position : position + want]
            position += want
            if stage == PAYLOAD:
                end = filled + want - tag
                open_.decrypt_into(  # type: ignore[union-attr]
                    received.to_bytes(digits, "little"), unit, None, room[filled:end]
                )
                received += 1
                filled = end
                stage, want = LENGTH, 2 + tag
            elif stage == LENGTH:
                plain = open_.decrypt(  # type: ignore[union-attr]
                    received.to_bytes(digits, "little"), unit, None
                )
                received += 1
                want = ((plain[0] << 8 | plain[1]) & self._largest) + tag
                stage = PAYLOAD
            else:
                payload = self._header(unit)
                if payload:
                    room[filled : filled + len(payload)] = payload
                    filled += len(payload)
                position -= self._back
                self._back = 0
                open_, received = self._open, self._received
                stage, want = self._stage, self._want
        self._stage, self._want, self._received = stage, want, received
        if position < size:
            self._partial = bytes(view[position:])
        return filled

    def _header(self, unit: memoryview) -> bytes:
        """Take ``_want`` bytes of header; returns payload that it held."""
        raise NotImplementedError

    def _opened(self, data: Any) -> bytes:
        """The plain text of one AEAD unit of a header."""
        assert self._open is not None
        plain = self._open.decrypt(self._received.to_bytes(self._nonce_size, "little"), data, None)
        self._received += 1
        return plain

    def _expect_chunks(self) -> None:
        self._stage, self._want = LENGTH, 2 + self._tag

    # -- sending -------------------------------------------------------------------------------

    def encode(self, data: Buffer) -> Buffer:
        seal = self._seal
        if seal is None:
            return self._first(data) if len(data) or self.held else b""
        size = len(data)
        if size > self._largest:
            return self._chunks(data)
        if not size:
            return b""
        sent, digits = self._sent, self._nonce_size
        self._sent = sent + 2
        encrypt = seal.encrypt
        return encrypt(sent.to_bytes(digits, "little"), size.to_bytes(2, "big"), None) + encrypt(
            (sent + 1).to_bytes(digits, "little"), data, None
        )

    def _chunks(self, data: Buffer) -> bytes:
        view, largest = memoryview(data), self._largest
        return b"".join(
            [self.encode(view[start : start + largest]) for start in range(0, len(view), largest)]
        )

    def _first(self, data: Buffer) -> bytes:
        """The header, and the first data behind it if there is any."""
        raise NotImplementedError

    def _sealed(self, plain: Buffer) -> bytes:
        """One AEAD unit of a header."""
        assert self._seal is not None
        unit = self._seal.encrypt(self._sent.to_bytes(self._nonce_size, "little"), plain, None)
        self._sent += 1
        return unit

    def take(self) -> bytes:
        return bytes(self.encode(b""))
