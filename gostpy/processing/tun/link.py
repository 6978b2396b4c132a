"""What the handlers of devices share: waiting for the end of either side, on the hub otherwise."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gevent import get_hub
from gevent.event import Event

from gostpy.errors import GostError
from gostpy.net import timers
from gostpy.net.conn import Conn
from gostpy.net.device import DeviceConn
from gostpy.net.metered import rounded
from gostpy.net.packet import PacketConn, StreamPackets, UDPSocket
from gostpy.net.udpburst import BurstSocket
from gostpy.processing.udprelay import hubbed
from gostpy.wire.offload import Coalescer, split

__all__ = ["DELAY", "DeviceLost", "Link", "Peers", "Sink", "packets_of", "rest"]

DELAY = 1.0
"""Seconds between two attempts."""


_BURST = 8
"""Large packets, each of which becomes many, that are taken before others get their turn."""
_MOST_VERDICTS = 4096
_VERDICT_AGE = 1.0


class DeviceLost(Exception):
    """The device is at its end, and with it the handler."""


class Sink:
    """A sink made of two functions; a source that sends faster than it may is held."""

    __slots__ = ("_ended", "_take", "source")

    def __init__(
        self,
        source: PacketConn,
        take: Callable[[Any, str], float],
        ended: Callable[[BaseException | None], Any],
    ) -> None:
        self.source = source
        self._take = take
        self._ended = ended

    def datagram(self, data: bytes, address: str) -> None:
        try:
            delay = self._take(data, address)
        except (GostError, OSError):
            return  # this packet is lost; a side that is gone tells its own sink
        if delay > 0.0:
            self.source.pause()
            timers.after(rounded(delay), self._due)

    def _due(self) -> None:
        if not self.source.closed:
            self.source.resume()

    def ended(self, error: BaseException | None) -> None:
        self._ended(error)


class FrameSink(Sink):
    """The sink of a device, whose packets may be large."""

    __slots__ = ()

    def frame(self, frame: memoryview) -> None:
        found: Any = split(frame)
        if found:
            self.datagram(found, "")


class Peers:
    """Admission of the peers of a datagram socket; a verdict holds for a second."""

    __slots__ = ("_admits", "_clearing", "_verdicts")

    def __init__(self, device: DeviceConn) -> None:
        self._admits = device.admits
        self._verdicts: dict[str, bool] = {}
        self._clearing = False

    def admitted(self, peer: str) -> bool:
        found = self._verdicts.get(peer)
        if found is not None:
            return found
        if self._admits is None:
            return True
        if len(self._verdicts) >= _MOST_VERDICTS:
            self._verdicts.clear()
        found = self._verdicts[peer] = self._admits(peer)
        if not self._clearing:
            self._clearing = True
            timers.after(_VERDICT_AGE, self._clear)
        return found

    def _clear(self) -> None:
        self._clearing = False
        self._verdicts.clear()


class Link:
    """A device and what its packets travel over, until one of them ends.

    Args:
        inward: packets of the device: one, or several of one connection, equally long but the last
            (TUN); a frame (TAP).
        outward: a datagram of the other side, with its sender.
    """

    def __init__(
        self,
        device: DeviceConn,
        packets: PacketConn,
        inward: Callable[[Any], float],
        outward: Callable[[bytes, str], float],
    ) -> None:
        self.device = device
        self.packets = packets
        self._over = Event()
        self._error: BaseException | None = None
        self._device_lost = False
        self._inner = FrameSink(device, lambda found, _: inward(found), self._device_ended)
        self._outer = Sink(packets, outward, self.end)
        self._coalescer = Coalescer()
        self._flushing = False
        self._together = not device.settings.tap and device.meter is None

    def run(self) -> None:
        """Returns when the packets have ended, or raises their error.

        Raises DeviceLost: the device has ended.
        """
        device, packets = self.device, self.packets
        try:
            packets.start(self._outer)
            if device.settings.tap:
                device.start(self._inner)
            else:
                device.start_frames(self._inner, _BURST)
            device.resume()
            if not (device.closed or packets.closed):
                self._over.wait()
        finally:
            device.pause()
            packets.close()
        if self._device_lost or device.closed:
            raise DeviceLost from self._error
        if self._error is not None:
            raise self._error

    def send(self, packets: list[bytes], address: str = "") -> float:
        """To the other side."""
        conn = self.packets
        if isinstance(conn, BurstSocket):
            conn.send_batch(packets, address)
            return 0.0
        delay = 0.0
        for packet in packets:
            delay = max(delay, conn.send_now(packet, address))
        return delay

    def deliver(self, packet: bytes) -> float:
        """To the device, together with what follows in this turn of the loop and fits it."""
        if not self._together:
            return self.device.send_now(packet)
        if self._coalescer.add(packet):
            if not self._flushing:
                self._flushing = True
                get_hub().loop.run_callback(self._flush)
            return 0.0
        if self._flushing:
            self._write()
            if self._coalescer.add(packet):
                return 0.0
        return self.device.send_now(packet)

    def _write(self) -> None:
        frame = self._coalescer.take()
        if frame:
            self.device.write(frame)

    def _flush(self) -> None:
        self._flushing = False
        if not self.device.closed:
            self._write()

    def end(self, error: BaseException | None) -> None:
        """On the hub."""
        if self._error is None:
            self._error = error
        self._over.set()

    def _device_ended(self, error: BaseException | None) -> None:
        self._device_lost = True
        self.end(error)


def packets_of(conn: Conn | PacketConn) -> PacketConn:
    """What was dialed or bound, as datagrams that work on the hub, several at a time if it can."""
    if type(conn) is UDPSocket:
        return BurstSocket(conn)
    return hubbed(StreamPackets(conn) if isinstance(conn, Conn) else conn)


def rest(device: DeviceConn, seconds: float) -> None:
    """Wait before the next attempt, or until the device ends."""
    over = Event()
    sink = device.sink
    device.pause()
    device.sink = _Resting(over)
    try:
        if not device.closed:
            over.wait(seconds)
    finally:
        if not device.closed:
            device.sink = sink


class _Resting:
    """The sink of a device that nobody reads at the moment."""

    def __init__(self, over: Event) -> None:
        self._over = over

    def datagram(self, data: bytes, address: str) -> None:
        """Nothing arrives while it is paused."""

    def ended(self, error: BaseException | None) -> None:
        self._over.set()
