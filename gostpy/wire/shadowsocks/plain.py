"""Shadowsocks methods without encryption: none, plain and gost's dummy.

Standard  ATYP | ADDR | PORT(2) | data; the answer is bare data
gost 3.3  as SIP004 with a salt of 16 bytes that means nothing and tags of no bytes; the target is a
          chunk of its own
Source    shadowsocks-rust; go-gost/x internal/util/ss/none
Differs   a server tells the two apart by their first bytes and answers in kind.
"""

from __future__ import annotations

from gostpy.errors import Truncated
from gostpy.wire.address import IPV4, IPV6, NAME, decode_address
from gostpy.wire.codec import Buffer, Codec, Lead
from gostpy.wire.shadowsocks.methods import Secret
from gostpy.wire.shadowsocks.stream import LARGEST, StreamCodec

__all__ = ["PlainClient", "PlainServer", "framed"]

_SALT = 16
_KINDS = (IPV4, NAME, IPV6)
_DECIDES = _SALT + 2 + 2

PlainClient = Lead
"""The client's end in the standard form: the target leads the first data."""


def framed(data: bytes) -> bool | None:
    """Whether a stream begins in gost's form; None when there is too little to tell.

    In gost's form the first chunk is the target alone, so its length must be that of the target.
    Of its salts, one in 256 that arrives alone passes for a target.
    """
    if data[0] not in _KINDS:
        return True
    if len(data) < _DECIDES:
        try:
            decode_address(data)
        except Truncated:
            return None
        return False
    length = int.from_bytes(data[_SALT : _SALT + 2], "big") & LARGEST
    kind = data[_SALT + 2]
    sizes = {IPV4: 7, IPV6: 19, NAME: 4 + data[_SALT + 3]}
    return sizes.get(kind) == length


class PlainServer(Codec):
    """The server's end of either form. What it decodes begins with the encoded target."""

    __slots__ = ("_begin", "_decided", "_inner", "_secret")

    def __init__(self, secret: Secret) -> None:
        super().__init__()
        self._secret = secret
        self._begin = b""
        self._decided = False
        self._inner: Codec | None = None

    def decode(self, data: Buffer) -> Buffer:
        if self._decided:
            return data if self._inner is None else self._inner.decode(data)
        data = self._begin + bytes(data)
        form = framed(data) if data else None
        if form is None:
            self._begin = data
            return b""
        self._decided, self._begin = True, b""
        if not form:
            return data
        self._inner = StreamCodec(self._secret)
        self._inner.level = self.level
        return self._inner.decode(data)

    def encode(self, data: Buffer) -> Buffer:
        return data if self._inner is None else self._inner.encode(data)
