"""KCP over a packet conn: a byte stream, and smux sessions on it.

Datagrams are taken in bursts: what they bring is handed over, and what there is to send (new data,
acknowledgements) leaves, once per turn of the loop. A timer runs only while something waits for an
answer of the peer. KCP knows neither a handshake nor an end: a peer that is gone is found out by
the keep-alive of smux, or by the system when nobody listens there.

Wire      see gostpy/wire/kcp
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass

from gevent import get_hub

from gostpy.errors import ConnectionClosed
from gostpy.net import timers
from gostpy.net.endpoint import LINGER
from gostpy.net.metered import rounded
from gostpy.net.packet import PacketConn
from gostpy.net.sessions import Session as PacketSession
from gostpy.net.stream import PIECE, StreamEndpoint
from gostpy.net.udpburst import send_all
from gostpy.net.wrapped import WrappedPackets
from gostpy.stream import smux
from gostpy.wire.codec import Buffer
from gostpy.wire.kcp.ciphers import PacketCipher
from gostpy.wire.kcp.fec import DATA, FEC_OVERHEAD, PARITY, Decoder, Encoder, kind_of
from gostpy.wire.kcp.segment import HEADER, OVERHEAD, PUSH, Core, Settings

__all__ = ["KCPEndpoint", "SealedPackets", "Session", "Shards", "may_begin", "random_conv"]

_MOST_UNSENT = 65536
_FEW_UNSENT = 32768
_ACK_DELAY = 0.001
"""Seconds that a few acknowledgements may wait for data to ride with."""

_REFUSED = 4
"""Answers in a row that nobody listens there, until it is believed."""


@dataclass(frozen=True, slots=True)
class Shards:
    """Forward error correction: so many data and parity packets per group; 0 for none."""

    data: int = 0
    parity: int = 0

    def __bool__(self) -> bool:
        return self.data > 0 and self.parity > 0


def random_conv() -> int:
    """Any number, for a new conversation."""
    return int.from_bytes(os.urandom(4), "little")


def may_begin(packet: bytes) -> bool:
    """Whether a conversation can begin with this packet: it has the first segment of one."""
    kind = kind_of(packet)
    at = FEC_OVERHEAD if kind == DATA else 0
    if kind == PARITY or len(packet) < at + OVERHEAD:
        return False
    _, command, _, _, _, number, _, _ = HEADER.unpack_from(packet, at)
    return bool(command == PUSH and not number)


class SealedPackets(WrappedPackets):
    """A packet conn on the hub whose datagrams are encrypted; who lacks the key is not heard."""

    __slots__ = ("_open", "_seal")

    def __init__(self, inner: PacketConn, cipher: PacketCipher) -> None:
        super().__init__(inner, inner.info)
        self._open = cipher.open
        self._seal = cipher.seal

    def opened(self, data: bytes, address: str) -> tuple[bytes, str] | None:
        packet = self._open(data)
        return None if packet is None else (packet, address)

    def sealed(self, data: bytes, address: str) -> tuple[bytes, str]:
        return self._seal([data])[0], address

    def send_batch(self, datagrams: Sequence[bytes], address: str) -> None:
        send_all(self.inner, self._seal(list(datagrams)), address)


class KCPEndpoint(StreamEndpoint):
    """A byte stream over a packet conn with one peer; the sink of its packets.

    Args:
        conv: of a dialing side; None: the peer's first packet says it.
    """

    __slots__ = (
        "_acking",
        "_clock",
        "_core",
        "_decoder",
        "_encoder",
        "_ending",
        "_resting",
        "_settings",
        "_shards",
        "_soon",
        "_timer",
        "packets",
    )

    def __init__(
        self, packets: PacketConn, settings: Settings, shards: Shards, conv: int | None = None
    ) -> None:
        super().__init__()
        self.packets = packets
        self._settings = settings
        self._shards = shards
        self._clock = random_conv()
        self._core = Core(conv, settings) if conv is not None else None
        self._encoder = Encoder(shards.data, shards.parity) if shards else None
        self._decoder: Decoder | None = None
        self._timer: timers.Entry | None = None
        self._acking: timers.Entry | None = None
        self._ending: timers.Entry | None = None
        self._soon = False
        self._resting = False

    def begin(self) -> None:
        """Take packets from now on; the conn was made."""
        self.packets.start(self)

    @property
    def proved(self) -> bool:
        """The peer has got something that was sent to it."""
        return self._core is not None and self._core.proved

    @property
    def unsent(self) -> int:
        return self._core.unsent if self._core is not None else 0

    def _now(self) -> int:
        """Milliseconds. Each conn's clock begins anywhere, so that nobody else can tell what the
        peer repeats of it."""
        return (int(time.monotonic() * 1000.0) + self._clock) & 0xFFFFFFFF

    # -- sink of the packets -----------------------------------------------------------------------

    def datagram(self, data: bytes, address: str) -> None:
        kind = kind_of(data)
        core = self._core
        if core is None:
            if not may_begin(data):
                return
            conv = HEADER.unpack_from(data, FEC_OVERHEAD if kind else 0)[0]
            core = self._core = Core(conv, self._settings)
        if not kind:
            taken = core.input(data, self._now())
        elif kind == DATA:
            taken = core.input(data[FEC_OVERHEAD:], self._now())
        else:
            taken = True
        if not taken and self._replaced(data, kind):
            return
        if kind:
            if self._decoder is None:
                shards = self._shards or Shards(1, 1)
                self._decoder = Decoder(shards.data, shards.parity)
            for packet in self._decoder.decode(data):
                core.input(packet, self._now(), False)
        if not self._soon:
            self._soon = True
            get_hub().loop.run_callback(self._after_burst)

    def _replaced(self, data: bytes, kind: int) -> bool:
        """The peer has begun another conversation; this one ends."""
        packets, core = self.packets, self._core
        assert core is not None
        if not isinstance(packets, PacketSession) or not may_begin(data):
            return False
        if HEADER.unpack_from(data, FEC_OVERHEAD if kind else 0)[0] == core.conv:
            return False
        packets.begin_anew(data)
        return True

    def ended(self, error: BaseException | None) -> None:
        self._stop()
        self.abort(error or ConnectionClosed("the datagrams ended"))

    def _after_burst(self) -> None:
        self._soon = False
        core = self._core
        if core is None or self.packets.closed:
            return
        if core.received:
            data = b"".join(core.received)
            core.received = []
            for at in range(0, len(data), PIECE):
                self.deliver(data[at : at + PIECE])
        core.keep(self.waiting)
        if core.received:  # there was room for what had come early
            self._later()
        if core.urgent or self._ending is not None:
            self._work()
        elif core.owes and self._acking is None:
            self._acking = timers.after(_ACK_DELAY, self._work_now)

    def _work_now(self) -> None:
        self._acking = None
        if not self.packets.closed:
            self._work()

    def _later(self) -> None:
        if not self._soon and not self.packets.closed:
            self._soon = True
            get_hub().loop.run_callback(self._after_burst)

    def kept(self, size: int) -> None:
        if size < 0:
            self._later()

    # -- out -------------------------------------------------------------------------------------

    def _send(self, data: Buffer) -> bool:
        core = self._core
        if core is None:
            raise ConnectionClosed("there is no conversation yet")
        core.send(data)
        self._work()
        return core.unsent < _MOST_UNSENT

    def _work(self) -> None:
        """Send what can leave now."""
        core = self._core
        assert core is not None
        if self._acking is not None:
            self._acking.cancel()
            self._acking = None
        if not self._resting:
            self._transmit(core.flush(self._now()))

    def _rest(self, delay: float) -> None:
        """Send nothing for so many seconds: a rate limit."""
        if delay > 0.0:
            self._resting = True
            timers.after(rounded(delay), self._rested)

    def _rested(self) -> None:
        self._resting = False
        if not self.packets.closed:
            self._work()

    def _tick(self) -> None:
        self._timer = None
        core = self._core
        if core is None or self.packets.closed:
            return
        if getattr(self.packets, "refused", 0) >= _REFUSED:
            self.ended(ConnectionClosed("nobody listens there"))
            return
        if self._resting:
            self._timer = timers.after(self._settings.interval / 1000, self._tick)
            return
        self._transmit(core.tick(self._now()))

    def _transmit(self, packets: list[bytes]) -> None:
        core = self._core
        assert core is not None
        if packets:
            encoder = self._encoder
            if encoder is not None:
                coded: list[bytes] = []
                for packet in packets:
                    encoder.encode(packet, coded)
                packets = coded
            try:
                if self.packets.meter is None:
                    send_all(self.packets, packets, "")
                else:
                    self._rest(max(self.packets.send_now(packet) for packet in packets))
            except OSError as error:
                self.ended(error)
                return
        if core.idle:
            if self._ending is not None:
                self._end()
        elif self._timer is None:
            self._timer = timers.after(self._settings.interval / 1000, self._tick)
        if self.full and core.unsent <= _FEW_UNSENT:
            self.drained()

    # -- end -------------------------------------------------------------------------------------

    def _finish_sending(self) -> None:
        """KCP has no end of stream."""

    def _closed(self, now: bool) -> None:
        if now or self._core is None or self._core.idle:
            self._end()
        elif self._ending is None:
            self._ending = timers.after(LINGER, self._end)

    def _end(self) -> None:
        self._stop()
        self.packets.close()

    def _stop(self) -> None:
        for entry in (self._timer, self._acking, self._ending):
            if entry is not None:
                entry.cancel()
        self._timer = self._acking = self._ending = None


class Session(smux.Session):
    """smux, fed with pieces: what was compressed may be much at once."""

    name = "kcp"

    def data(self, data: Buffer) -> None:
        view = memoryview(data)
        for at in range(0, len(view), PIECE):
            super().data(view[at : at + PIECE])
