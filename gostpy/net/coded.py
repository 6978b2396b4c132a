"""A packet conn on the hub whose datagrams go through a codec."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from gostpy.errors import ProtocolError
from gostpy.net.packet import PacketConn, PacketSink
from gostpy.net.udpburst import send_all

__all__ = ["CodedPackets", "DatagramCodec"]


class DatagramCodec(Protocol):
    """Changes whole datagrams."""

    def encode(self, data: bytes) -> bytes: ...
    def decode(self, data: bytes) -> bytes:
        """Raises ProtocolError: the datagram is lost."""
        ...


class CodedPackets(PacketConn):
    """Sealed, framed or scrambled datagrams; what the codec refuses is lost."""

    on_hub = True

    __slots__ = ("_codec", "inner")

    def __init__(self, inner: PacketConn, codec: DatagramCodec) -> None:
        super().__init__(inner.info)
        self.inner = inner
        self._codec = codec

    @property
    def refused(self) -> int:
        return int(getattr(self.inner, "refused", 0))

    def start(self, sink: PacketSink) -> None:
        self.sink = sink
        self.inner.start(self)

    def pause(self) -> None:
        self.inner.pause()

    def resume(self) -> None:
        self.inner.resume()

    def read_now(self) -> None:
        read_now = getattr(self.inner, "read_now", None)
        if read_now is not None:
            read_now()

    def datagram(self, data: bytes, address: str) -> None:
        try:
            data = self._codec.decode(data)
        except ProtocolError:
            return
        if self.sink is not None:
            self.sink.datagram(data, address)

    def ended(self, error: BaseException | None) -> None:
        sink, self.sink = self.sink, None
        self.close()
        if sink is not None:
            sink.ended(error)

    def send_now(self, data: bytes, address: str = "") -> float:
        return self.inner.send_now(self._codec.encode(data), address)

    def send_batch(self, datagrams: Sequence[bytes], address: str) -> None:
        encode = self._codec.encode
        send_all(self.inner, [encode(datagram) for datagram in datagrams], address)

    def _close(self) -> None:
        self.inner.close()
