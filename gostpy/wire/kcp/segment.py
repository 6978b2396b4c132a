"""KCP proper: numbered segments, acknowledgements, retransmission and windows. No clock, no socket.

Wire      CONV(4) | CMD(1) | FRG(1) | WND(2) | TS(4) | SN(4) | UNA(4) | LEN(4) | DATA(LEN)
          81 push, 82 acknowledge SN, 83 ask for WND, 84 tell WND; every segment says UNA: all
          before it has arrived. A packet holds one segment or more.
Source    skywind3000/kcp protocol.txt; xtaci/kcp-go 5.6.5 for when things are sent
Differs   Acknowledgements need not wait for the next tick: see ``urgent``.
          A side slows down once for what was lost of one window, not for each segment again, and
          not for what one or two others have overtaken.
          Several of them in one packet are looked at together, so that one packet costs one pass.
          An UNA beyond what was sent is ignored.

Time is in milliseconds and given by the caller, as 32 bits that wrap like the sequence numbers.
Nothing needs to be done while ``idle``; else ``tick`` wants to be called every ``interval``.
"""

from __future__ import annotations

import struct
from bisect import bisect_right
from dataclasses import dataclass

from gostpy.wire.codec import Buffer
from gostpy.wire.kcp.pace import Pace

__all__ = ["ACK", "ASK", "HEADER", "OVERHEAD", "PUSH", "TELL", "Core", "Settings"]

PUSH, ACK, ASK, TELL = 81, 82, 83, 84
HEADER = struct.Struct("<IBBHIIII")
OVERHEAD = HEADER.size

_MASK = 0xFFFFFFFF
_HALF = 0x80000000
_MOST_WINDOW = 0xFFFF

_SKIPS = 3
_MANY_ACKS = 4
_ASK_FIRST, _ASK_MOST = 7000, 120000
_MOST_TIMES = 64


@dataclass(frozen=True, slots=True)
class Settings:
    """How a side sends.

    Attributes:
        size: bytes of a packet at most, without what FEC and encryption add.
        send_window, receive_window: segments.
        nodelay: shorter timeouts, which grow more slowly.
        interval: milliseconds between ticks, 10 to 5000.
        resend: later segments acknowledged until one is sent again; 0 = only when nothing new is
            sent.
        congestion: slow down when segments are lost.
    """

    size: int = 1372
    send_window: int = 32
    receive_window: int = 32
    nodelay: bool = False
    interval: int = 10
    resend: int = 0
    congestion: bool = True


class _Segment:
    """Data that was sent and not acknowledged."""

    __slots__ = ("data", "due", "number", "rto", "sent", "skipped")

    def __init__(self, number: int, data: bytes, now: int, rto: int) -> None:
        self.number = number
        self.data = data
        self.sent = now
        self.rto = rto
        self.due = (now + rto) & _MASK
        self.skipped = 0  # acknowledgements of later segments

    def send_again(self, now: int) -> None:
        self.sent = now
        self.due = (now + self.rto) & _MASK
        self.skipped = 0


def _since(later: int, earlier: int) -> int:
    """How much ``later`` is after ``earlier``; negative when it is before."""
    return ((later - earlier + _HALF) & _MASK) - _HALF


class Core:
    """One side of a conversation.

    Attributes:
        conv: the number that both sides agree on.
        received: pieces of the stream, in order; taken by the caller, who reports what it keeps in
            ``unread``.
        unread: bytes that the caller keeps: they narrow the window.
        proved: the peer gets what is sent to it: it has repeated a time that was in there, which
            cannot be guessed if the caller's clock begins anywhere.
    """

    __slots__ = (
        "_acks",
        "_ask",
        "_ask_at",
        "_ask_wait",
        "_early",
        "_flight",
        "_out",
        "_pace",
        "_skipped",
        "_slowed_at",
        "_tell",
        "_times",
        "conv",
        "proved",
        "receive_next",
        "received",
        "remote_window",
        "send_next",
        "send_una",
        "settings",
        "slice",
        "unread",
    )

    def __init__(self, conv: int, settings: Settings) -> None:
        self.conv = conv
        self.settings = settings
        self.slice = settings.size - OVERHEAD
        self.received: list[bytes] = []
        self.unread = 0
        self.proved = False
        self._times: set[int] = set()  # when data was sent to a peer that is not proved
        self.send_una = self.send_next = self.receive_next = 0
        self.remote_window = 32
        self._out = bytearray()
        self._flight: dict[int, _Segment] = {}
        self._early: dict[int, bytes] = {}  # arrived before what precedes it
        self._acks: list[tuple[int, int]] = []
        self._skipped: dict[int, _Segment] = {}
        self._pace = Pace(self.slice, settings.interval, settings.nodelay)
        self._slowed_at = 0  # what is sent from here on has not been slowed down for
        self._ask = self._tell = False
        self._ask_at = self._ask_wait = 0

    # -- for the user ------------------------------------------------------------------------------

    @property
    def unsent(self) -> int:
        """Bytes that wait for the window."""
        return len(self._out)

    @property
    def idle(self) -> bool:
        """There is nothing to send, to send again or to ask for."""
        return not (self._flight or self._out or self._acks or self._tell)

    @property
    def owes(self) -> bool:
        """There are acknowledgements to send."""
        return bool(self._acks)

    @property
    def urgent(self) -> bool:
        """``flush`` should not wait: not only a few acknowledgements are to be sent."""
        return bool(
            self._out or self._skipped or self._early or self._tell or len(self._acks) >= _MANY_ACKS
        )

    def send(self, data: Buffer) -> None:
        """Queue bytes of the stream; they leave by ``flush``."""
        self._out += data

    def keep(self, size: int) -> None:
        """The caller took what was received, of which ``size`` bytes in all are unread."""
        closed = self._room() <= 0
        self.unread = size
        if closed and self._room() > 0:
            self._tell = True
            if self._early:
                self._take_early()

    # -- in --------------------------------------------------------------------------------------

    def input(self, packet: bytes, now: int, regular: bool = True) -> bool:
        """Take a packet in; False: it is not one of this conversation, or broken.

        Args:
            regular: it came as a datagram; else FEC made it from later ones, and it is old.
        """
        size = len(packet)
        if size < OVERHEAD:
            return False
        at = 0
        una_before = self.send_una
        acked: list[int] = []
        latest = 0
        while size - at >= OVERHEAD:
            conv, command, _, window, sent, number, una, length = HEADER.unpack_from(packet, at)
            at += OVERHEAD
            if conv != self.conv or length > size - at or not PUSH <= command <= TELL:
                return False
            if regular:
                self.remote_window = window
            if una != self.send_una:
                self._confirm_all(una)
            if command == PUSH:
                self._arrived(number, sent, packet[at : at + length])
                at += length
                continue
            at += length
            if command == ACK:
                latest = sent
                if self._confirm(number):
                    acked.append(number)
            elif command == ASK:
                self._tell = True
        if acked:
            self._skip(acked, latest)
        if latest and regular and (trip := _since(now, latest)) >= 0:
            self._pace.measure(trip)
        if not self.proved and latest in self._times:
            self.proved = True
            self._times.clear()
        if self.send_una != una_before and self.settings.congestion:
            self._pace.grow(self.remote_window)
        return True

    def _confirm_all(self, una: int) -> None:
        """Everything before ``una`` has arrived."""
        if _since(una, self.send_una) <= 0 or _since(una, self.send_next) > 0:
            return
        flight, skipped = self._flight, self._skipped
        number = self.send_una
        while number != una:
            flight.pop(number, None)
            if skipped:
                skipped.pop(number, None)
            number = (number + 1) & _MASK
        while number != self.send_next and number not in flight:
            number = (number + 1) & _MASK
        self.send_una = number

    def _confirm(self, number: int) -> bool:
        """One segment has arrived; whether it was one that was sent."""
        if _since(number, self.send_una) < 0 or _since(number, self.send_next) >= 0:
            return False
        flight = self._flight
        flight.pop(number, None)
        self._skipped.pop(number, None)
        if number == self.send_una:
            while number != self.send_next and number not in flight:
                number = (number + 1) & _MASK
            self.send_una = number
        return True

    def _skip(self, acked: list[int], latest: int) -> None:
        """Segments before acknowledged ones, sent no later, are suspected to be lost."""
        una = self.send_una
        order = sorted(_since(number, una) for number in acked)
        flight = self._flight
        for offset in range(order[-1]):
            segment = flight.get((una + offset) & _MASK)
            if segment is not None and _since(segment.sent, latest) <= 0:
                segment.skipped += len(order) - bisect_right(order, offset)
                self._skipped[segment.number] = segment

    def _room(self) -> int:
        """Segments that the caller could keep besides those that it has not read."""
        return self.settings.receive_window - self.unread // self.slice

    def _arrived(self, number: int, sent: int, data: bytes) -> None:
        ahead = _since(number, self.receive_next)
        if ahead >= self.settings.receive_window:
            return
        self._acks.append((number, sent))
        if ahead < 0:
            return
        if ahead == 0 and self._room() > 0:
            self.receive_next = (number + 1) & _MASK
            self.received.append(data)
            self.unread += len(data)
            if self._early:
                self._take_early()
        elif number not in self._early:
            self._early[number] = data

    def _take_early(self) -> None:
        early = self._early
        while self._room() > 0:
            data = early.pop(self.receive_next, None)
            if data is None:
                return
            self.receive_next = (self.receive_next + 1) & _MASK
            self.received.append(data)
            self.unread += len(data)

    # -- out -------------------------------------------------------------------------------------

    def tick(self, now: int) -> list[bytes]:
        """Time has passed: also what was not acknowledged in time is sent again."""
        lost: list[_Segment] = []
        if self._flight:
            lost = [segment for segment in self._flight.values() if _since(now, segment.due) >= 0]
        if self.remote_window:
            self._ask_wait = 0
        elif self._out or self._flight:
            self._wait_for_window(now)
        return self._send_all(now, lost, True)

    def flush(self, now: int) -> list[bytes]:
        """Packets to send now: acknowledgements, what the window allows, what was skipped."""
        return self._send_all(now, [], False)

    def _wait_for_window(self, now: int) -> None:
        """The peer's window is closed; it may have opened without our knowing."""
        if not self._ask_wait:
            self._ask_wait = _ASK_FIRST
            self._ask_at = (now + self._ask_wait) & _MASK
        elif _since(now, self._ask_at) >= 0:
            self._ask_wait = min(self._ask_wait + self._ask_wait // 2, _ASK_MOST)
            self._ask_at = (now + self._ask_wait) & _MASK
            self._ask = True

    def _send_all(self, now: int, lost: list[_Segment], ticking: bool) -> list[bytes]:
        conv, una, limit = self.conv, self.receive_next, self.settings.size
        window = min(max(self._room(), 0), _MOST_WINDOW)
        packets: list[bytes] = []
        packet = b"".join(self._control(window))
        if len(packet) > limit:
            packets, packet = _cut(packet, limit)
        fresh = self._launch(now) if self._out else []
        again = self._suspected(ticking and not fresh) if self._skipped else []
        if not self.proved and (lost or again or fresh) and len(self._times) < _MOST_TIMES:
            self._times.add(now)
        rto = self._pace.rto
        for segment in lost:
            self._skipped.pop(segment.number, None)
            segment.rto += rto // 2 if self.settings.nodelay else rto
            segment.send_again(now)
        for segment in again:
            segment.rto = rto
            segment.send_again(now)
        for segments in (lost, again, fresh):
            for segment in segments:
                data = segment.data
                size = len(data)
                head = HEADER.pack(conv, PUSH, 0, window, segment.sent, segment.number, una, size)
                if packet and len(packet) + OVERHEAD + size > limit:
                    packets.append(packet)
                    packet = b""
                packet = packet + head + data if packet else head + data
        if packet:
            packets.append(packet)
        if (lost or again) and self.settings.congestion:
            self._slow_down(bool(lost), bool(again))
        return packets

    def _control(self, window: int) -> list[bytes]:
        """Segments without data that are due."""
        conv, una = self.conv, self.receive_next
        made: list[bytes] = []
        if self._acks:
            # one that UNA covers says nothing but its time: the last one is enough for that
            last = self._acks[-1]
            made = [
                HEADER.pack(conv, ACK, 0, window, sent, number, una, 0)
                for number, sent in self._acks
                if _since(number, una) >= 0
            ]
            if _since(last[0], una) < 0:
                made.append(HEADER.pack(conv, ACK, 0, window, last[1], last[0], una, 0))
            self._acks = []
        if self._ask:
            made.append(HEADER.pack(conv, ASK, 0, window, 0, 0, una, 0))
        if self._tell:
            made.append(HEADER.pack(conv, TELL, 0, window, 0, 0, una, 0))
        self._ask = self._tell = False
        return made

    def _launch(self, now: int) -> list[_Segment]:
        """Cut segments off what is queued, as far as the windows allow."""
        settings = self.settings
        window = min(settings.send_window, self.remote_window)
        if settings.congestion:
            window = min(window, self._pace.window)
        number = self.send_next
        free = window - ((number - self.send_una) & _MASK)
        if free <= 0:
            return []
        out, size, rto, flight = self._out, self.slice, self._pace.rto, self._flight
        total = min(len(out), free * size)
        fresh: list[_Segment] = []
        with memoryview(out) as view:
            for at in range(0, total, size):
                segment = _Segment(number, bytes(view[at : min(at + size, total)]), now, rto)
                flight[number] = segment
                fresh.append(segment)
                number = (number + 1) & _MASK
        del out[:total]
        self.send_next = number
        return fresh

    def _suspected(self, early: bool) -> list[_Segment]:
        """Skipped segments to send again: skipped often enough, or earlier if nothing new is."""
        settings = self.settings
        enough = settings.resend or _MOST_WINDOW
        if early:
            enough = min(enough, _SKIPS if settings.congestion else 1)
        chosen = [segment for segment in self._skipped.values() if segment.skipped >= enough]
        for segment in chosen:
            del self._skipped[segment.number]
        return chosen

    def _slow_down(self, lost: bool, again: bool) -> None:
        """Once per window."""
        if _since(self.send_una, self._slowed_at) < 0:
            return
        self._slowed_at = self.send_next
        if again:
            self._pace.ease((self.send_next - self.send_una) & _MASK, self.settings.resend)
        if lost:
            self._pace.collapse()


def _cut(segments: bytes, limit: int) -> tuple[list[bytes], bytes]:
    """Segments without data in packets of ``limit`` bytes at most; the last one has room."""
    size = limit // OVERHEAD * OVERHEAD
    packets = [segments[at : at + size] for at in range(0, len(segments), size)]
    return packets[:-1], packets[-1]
