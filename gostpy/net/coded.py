"""A packet conn on the hub whose datagrams go through a codec."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from gostpy.errors import ProtocolError
from gostpy.net.packet import PacketConn
from gostpy.net.udpburst import send_all
from gostpy.net.wrapped import WrappedPackets

__all__ = ["CodedPackets", "DatagramCodec"]


class DatagramCodec(Protocol):
    """Changes whole datagrams."""

    def encode(self, data: bytes) -> bytes: ...
    def decode(self, data: bytes) -> bytes:
        """Raises ProtocolError: the datagram is lost."""
        ...


class CodedPackets(WrappedPackets):
    """Sealed, framed or scrambled datagrams; what the codec refuses is lost."""

    __slots__ = ("_codec",)

    def __init__(self, inner: PacketConn, codec: DatagramCodec) -> None:
        super().__init__(inner, inner.info)
        self._codec = codec

    def opened(self, data: bytes, address: str) -> tuple[bytes, str] | None:
        try:
            return self._codec.decode(data), address
        except ProtocolError:
            return None

    def sealed(self, data: bytes, address: str) -> tuple[bytes, str]:
        return self._codec.encode(data), address

    def read_now(self) -> None:
        """Hand over what has arrived already, if ``inner`` can tell."""
        read_now = getattr(self.inner, "read_now", None)
        if read_now is not None:
            read_now()

    def send_batch(self, datagrams: Sequence[bytes], address: str) -> None:
        """Send several without waiting. Raises OSError."""
        encode = self._codec.encode
        send_all(self.inner, [encode(datagram) for datagram in datagrams], address)
