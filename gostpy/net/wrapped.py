"""Packet conns over another packet conn: each datagram is opened on its way in, sealed on its way
out. Subclasses say how; either may drop a datagram.
"""

from __future__ import annotations

from gostpy.net.conn import ConnInfo
from gostpy.net.packet import PacketConn, PacketSink

__all__ = ["WrappedPackets"]


class WrappedPackets(PacketConn):
    """Base; owns ``inner`` and works on the hub where that does."""

    def __init__(self, inner: PacketConn, info: ConnInfo) -> None:
        super().__init__(info)
        self.inner = inner
        self.on_hub = inner.on_hub

    def opened(self, data: bytes, address: str) -> tuple[bytes, str] | None:
        """What a datagram from ``inner`` holds, and whom it is from; None drops it."""
        return data, address

    def sealed(self, data: bytes, address: str) -> tuple[bytes, str] | None:
        """The datagram for ``inner``, and where to; None drops it. Raises ProtocolError."""
        return data, address

    # -- in a green thread ---------------------------------------------------------------------

    def settimeout(self, seconds: float | None) -> None:
        super().settimeout(seconds)
        self.inner.settimeout(seconds)

    def recv_from(self) -> tuple[bytes, str]:
        while True:
            datagram = self.opened(*self.inner.recv_from())
            if datagram is not None:
                return datagram

    def send_to(self, data: bytes, address: str = "") -> None:
        datagram = self.sealed(data, address)
        if datagram is not None:
            self.inner.send_to(*datagram)

    # -- on the hub ------------------------------------------------------------------------------

    def start(self, sink: PacketSink) -> None:
        self.sink = sink
        self.inner.start(self)

    @property
    def refused(self) -> int:
        return int(getattr(self.inner, "refused", 0))

    @property
    def congested(self) -> bool:
        return self.inner.congested

    def pause(self) -> None:
        self.inner.pause()

    def resume(self) -> None:
        self.inner.resume()

    def send_now(self, data: bytes, address: str = "") -> float:
        datagram = self.sealed(data, address)
        return self.inner.send_now(*datagram) if datagram is not None else 0.0

    def datagram(self, data: bytes, address: str) -> None:
        """From ``inner``, whose sink this is."""
        datagram = self.opened(data, address)
        if datagram is not None and self.sink is not None:
            self.sink.datagram(*datagram)

    def ended(self, error: BaseException | None) -> None:
        """``inner`` is at its end."""
        sink, self.sink = self.sink, None
        self.close()
        if sink is not None:
            sink.ended(error)

    def _close(self) -> None:
        self.inner.close()
