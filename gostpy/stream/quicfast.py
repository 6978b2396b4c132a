"""QUIC: the short way for the packets that a transfer is made of.

Nearly all packets of a busy connection are short ones with stream data, on the path that is in use.
They are taken apart and put together here in straight lines, some three times as fast as by
aioquic's general way, which still handles whatever is unusual: other packets, other paths, a change
of keys, the last piece of a stream.

Source   RFC 9000 section 17.3, RFC 9001 section 5; aioquic 1.7 for its private parts
"""

from __future__ import annotations

from typing import Any

from aioquic.quic.connection import (
    QuicConnectionError,
    QuicConnectionState,
    QuicReceiveContext,
)
from aioquic.quic.packet import QuicPacketType
from aioquic.quic.packet_builder import QuicDeliveryState, QuicSentPacket
from aioquic.quic.recovery import MAX_ACK_RANGES
from aioquic.quic.stream import StreamFinishedError
from cryptography.exceptions import InvalidTag

from gostpy.stream.quiccore import Core
from gostpy.stream.quicwrite import ONE_RTT

__all__ = ["FastCore"]

_ID_SIZE = 8
_SHORTEST = 1 + _ID_SIZE + 4 + 16
_TAG = 16
_MOST_AT_ONCE = 64
_LEAST_ROOM = 64
_MOST_TRIES = 3
_MOST_RANGES = 16

_ACK_AFTER = 8
"""Packets after which an acknowledgement does not wait for its time."""

_IDLE_STEP = 0.2
"""Seconds between two looks at how long the peer may be silent."""

_CONNECTED = QuicConnectionState.CONNECTED


class FastCore(Core):
    """See the module's description.

    Attributes:
        try_size: larger datagrams are tried once the handshake is confirmed, 0 = not.
        quiet: nothing but stream data came since the last packets were made: there is nothing to
            send unless somebody called ``wake``, and an acknowledgement when its time has come.
    """

    _spin_highest_pn: int

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._idle_for = 0.0
        self._idle_known = 0.0
        self._used_id = self.host_cid
        self._owed = 0  # packets that wait to be acknowledged
        self.quiet = False
        self.try_size = 0
        self._tries = 0

    # -- in --------------------------------------------------------------------------------------

    def receive_datagram(self, data: bytes, addr: str, now: float) -> None:
        first = data[0]
        if (
            first & 0xC0 != 0x40
            or not self._handshake_confirmed
            or len(data) < _SHORTEST
            or self._state is not _CONNECTED
            or self._close_pending
        ):
            self.quiet = False
            super().receive_datagram(data, addr, now)
            return
        path = self._network_paths[0]
        if path.addr != addr or not path.is_validated or data[1:9] != self._used_id:
            self.quiet = False
            super().receive_datagram(data, addr, now)
            self._look_at_id(data[1:9])
            return
        receiving = self._cryptos[ONE_RTT].recv
        mask = receiving.hp._mask(data[13:29])
        first ^= mask[0] & 0x1F
        if (first >> 2) & 1 != receiving.key_phase or first & 0x18:
            self.quiet = False
            super().receive_datagram(data, addr, now)
            return
        self._short(data, first, mask, receiving.aead, path, now)

    def _look_at_id(self, used: bytes) -> None:
        """The peer may have gone over to another id of ours."""
        if self._is_client:
            if any(known.cid == used for known in self._host_cids):
                self._used_id = used
        else:
            self._used_id = self.host_cid

    def _short(
        self, data: bytes, first: int, mask: bytes, aead: Any, path: Any, now: float
    ) -> None:
        """A packet with a short header whose protection was removed from its first byte."""
        size = (first & 3) + 1
        masked = int.from_bytes(data[9 : 9 + size], "big")
        number = truncated = masked ^ int.from_bytes(mask[1 : 1 + size], "big")
        space = self._spaces[ONE_RTT]
        expected = space.expected_packet_number
        window = 1 << (size * 8)
        number |= expected & ~(window - 1)
        if number <= expected - window // 2:
            number += window
        elif number > expected + window // 2 and number >= window:
            number -= window
        header = bytes((first,)) + data[1:9] + truncated.to_bytes(size, "big")
        try:
            plain = aead._aead.decrypt(
                (aead._iv ^ number).to_bytes(12, "big"), data[9 + size :], header
            )
        except InvalidTag:
            return
        if number in space.received_packets:
            return
        if number > expected:
            space.expected_packet_number = number + 1
        if number > self._spin_highest_pn:
            spin = bool(first & 0x20)
            self._spin_bit = not spin if self._is_client else spin
            self._spin_highest_pn = number
        try:
            elicits = self._frames(plain, path, now)
        except QuicConnectionError as error:
            self.close(error.error_code, error.frame_type, error.reason_phrase)
            return
        if self._state is not _CONNECTED or self._close_pending:
            return
        if now - self._idle_known > _IDLE_STEP:
            self._idle_known = now
            self._idle_for = self._idle_timeout()
        self._close_at = now + self._idle_for
        self._ack_eliciting_sent_since_receipt = False
        self._record(space, number, elicits, now)

    def _record(self, space: Any, number: int, elicits: bool, now: float) -> None:
        """Remember a packet, to acknowledge it."""
        if number > space.largest_received_packet:
            space.largest_received_packet = number
            space.largest_received_time = now
        ranges = space.ack_queue._RangeSet__ranges
        if ranges and ranges[-1].stop == number:
            ranges[-1] = range(ranges[-1].start, number + 1)
        else:
            space.ack_queue.add(number)
            if len(ranges) > MAX_ACK_RANGES:
                space.ack_queue.shift()
        space.received_packets.add(number)
        if elicits:
            self._owed += 1
            if space.ack_at is None:
                self._owed = 1
                space.ack_at = now + self._ack_delay
            elif self._owed == _ACK_AFTER:
                space.ack_at = now

    def _frames(self, plain: bytes, path: Any, now: float) -> bool:
        """Handle the frames of a packet; whether it wants to be acknowledged.

        Raises QuicConnectionError.
        """
        at, end = 0, len(plain)
        elicits = False
        while at < end:
            kind = plain[at]
            if not kind:  # PADDING
                at += 1
                continue
            if kind & 0xF8 != 8 or end - at < 27:
                # not STREAM, or so short that its header may be cut
                self.quiet = False
                context = QuicReceiveContext(ONE_RTT, self.host_cid, path, None, now, None)
                rest, _probing = self._payload_received(context, plain[at:])
                return elicits or bool(rest)
            elicits = True
            at = self._stream_frame(plain, kind, at + 1, end)
        return elicits

    def _stream_frame(self, plain: bytes, kind: int, at: int, end: int) -> int:
        """One STREAM frame, from behind its type; where the next frame is."""
        size = 1 << (plain[at] >> 6)
        stream_id = int.from_bytes(plain[at : at + size], "big") & _VALUE[size]
        at += size
        offset = 0
        if kind & 4:
            size = 1 << (plain[at] >> 6)
            offset = int.from_bytes(plain[at : at + size], "big") & _VALUE[size]
            at += size
        stop = end
        if kind & 2:
            size = 1 << (plain[at] >> 6)
            stop = at + size + (int.from_bytes(plain[at : at + size], "big") & _VALUE[size])
            at += size
        if stop > end:
            raise QuicConnectionError(7, kind, "Failed to parse frame")
        stream = self._streams.get(stream_id)
        if stream is None or stream_id & 2:
            self._assert_stream_can_receive(kind, stream_id)
            try:
                stream = self._get_or_create_stream(kind, stream_id)
            except StreamFinishedError:
                return stop
        self._stream_data(stream, kind, offset, plain[at:stop])
        return stop

    # -- out -------------------------------------------------------------------------------------

    @property
    def ack_at(self) -> float | None:
        """When what arrived must be acknowledged."""
        space = self._spaces.get(ONE_RTT)
        return space.ack_at if space is not None else None

    def _probe_path(self, builder: Any, crypto: Any) -> None:
        """Send a datagram of the size that is hoped for: PING and PADDING."""
        size, self.try_size = self.try_size, 0
        self._tries += 1
        overhead = 3 + len(self._peer_cid.cid) + _TAG
        self._put(builder, crypto, b"\x01" + bytes(size - overhead - 1), [(self._on_size, (size,))])

    def _on_size(self, delivery: Any, size: int) -> None:
        """What became of a large datagram: one that arrived sets the size of all others."""
        if delivery is QuicDeliveryState.ACKED:
            self._max_datagram_size = size
            self._loss._pacer._max_datagram_size = size
            self._loss._cc._max_datagram_size = size
        elif self._tries < _MOST_TRIES:
            self.try_size = size

    def _write_bulk(self, builder: Any, space: Any, crypto: Any, now: float) -> None:
        while self._active:
            path = self._network_paths[0]
            if (
                crypto._update_key_requested
                or self._ping_pending
                or self._probe_pending
                or self._datagrams_pending
                or not path.is_validated
                or path.remote_challenges
            ):
                return
            if space.ack_at is None:
                stream = next(iter(self._active))
                if self._fill(builder, space, crypto, stream, now):
                    continue
            if not self._collect(builder, space, crypto, now):
                return

    def _collect(self, builder: Any, space: Any, crypto: Any, now: float) -> bool:
        """One packet with what several streams have to say. False: not by this way."""
        left = self._max_datagram_size
        if (
            builder.max_flight_bytes - builder._flight_bytes < left
            or not self._paced(now)
            or len(self._active) > _MOST_AT_ONCE
        ):
            return False
        left -= 3 + len(self._peer_cid.cid) + _TAG
        frames: list[bytes] = []
        handlers: list[tuple[Any, Any]] = []
        if space.ack_at is not None:
            ack = self._ack(space, now)
            if not ack:
                return False
            frames.append(ack)
            left -= len(ack)
            handlers.append((self._on_ack_delivery, (space, space.largest_received_packet)))
        bare = len(frames)
        for stream in list(self._active):
            if left < _LEAST_ROOM:
                break
            frame = self._small_frame(stream, left, handlers)
            if frame is None:
                break
            frames.append(frame)
            left -= len(frame)
        if len(frames) == bare:
            return False
        if bare:
            space.ack_at = None
        self._put(builder, crypto, b"".join(frames), handlers)
        self._spend(1)
        return True

    def _small_frame(self, stream: Any, left: int, handlers: list[tuple[Any, Any]]) -> bytes | None:
        """All that a stream has to say, if it is data that fits. The stream is done then."""
        sender = stream.sender
        ranges = sender._pending._RangeSet__ranges
        if (
            len(ranges) != 1
            or stream.is_blocked
            or sender._reset_error_code is not None
            or stream.receiver.stop_pending
            or stream.max_stream_data_local_sent != stream.max_stream_data_local
        ):
            return None
        start, stop = ranges[0].start, ranges[0].stop
        size = stop - start
        head = _varint(stream.stream_id)
        if size + len(head) + 11 > left or stop > stream.max_stream_data_remote:
            return None
        fresh = stop - sender.highest_offset
        if fresh > 0:
            if self._remote_max_data_used + fresh > self._remote_max_data:
                return None
            self._remote_max_data_used += fresh
            sender.highest_offset = stop
        base = sender._buffer_start
        data = sender._buffer[start - base : stop - base]
        fin = sender._buffer_fin == stop
        sender._pending_eof = sender._pending_eof and not fin
        ranges.clear()
        sender.buffer_is_empty = not sender._pending_eof
        if sender.buffer_is_empty:
            del self._active[stream]
        stream.announce = False
        handlers.append((self._on_stream_delivery, (stream, start, stop, fin)))
        kind = 0x0A | (4 if start else 0) | (1 if fin else 0)
        offset = _varint(start) if start else b""
        return b"%c%b%b%b%b" % (kind, head, offset, (size | 0x4000).to_bytes(2, "big"), data)

    def _ack(self, space: Any, now: float) -> bytes:
        """An ACK frame; empty when there are too many ranges for the short way."""
        ranges = space.ack_queue._RangeSet__ranges
        if len(ranges) > _MOST_RANGES:
            return b""
        delay = int((now - space.largest_received_time) * 1_000_000)
        last = ranges[-1]
        parts = [
            b"\x02",
            _varint(last.stop - 1),
            _varint(max(delay, 0) >> self._local_ack_delay_exponent),
            _varint(len(ranges) - 1),
            _varint(last.stop - 1 - last.start),
        ]
        below = last.start
        for found in reversed(ranges[:-1]):
            parts.append(_varint(below - found.stop - 1))
            parts.append(_varint(found.stop - found.start - 1))
            below = found.start
        return b"".join(parts)

    def _put(
        self, builder: Any, crypto: Any, plain: bytes, handlers: list[tuple[Any, Any]]
    ) -> None:
        """Make one packet and give it to the builder."""
        sending = crypto.send
        number = builder._packet_number
        peer_id = self._peer_cid.cid
        first = 0x40 | (self._spin_bit << 5) | (crypto.key_phase << 2) | 1
        short = number & 0xFFFF
        sealed = sending.aead._aead.encrypt(
            (sending.aead._iv ^ number).to_bytes(12, "big"),
            plain,
            b"%c%b%b" % (first, peer_id, short.to_bytes(2, "big")),
        )
        mask = sending.hp._mask(sealed[2:18])
        datagram = b"%c%b%b%b" % (
            first ^ (mask[0] & 0x1F),
            peer_id,
            (short ^ (mask[1] << 8 | mask[2])).to_bytes(2, "big"),
            sealed,
        )
        builder._datagrams.append(datagram)
        size = len(datagram)
        builder._packets.append(
            QuicSentPacket(
                ONE_RTT,
                True,
                True,
                False,
                number,
                QuicPacketType.ONE_RTT,
                None,
                size,
                handlers,
                _NO_FRAMES,
            )
        )
        builder._packet_number = number + 1
        builder._flight_bytes += size
        builder._total_bytes += size

    def _fill(self, builder: Any, space: Any, crypto: Any, stream: Any, now: float) -> bool:
        """Packets full of a stream's data, as many as may leave. False: none."""
        sender = stream.sender
        if sender.buffer_is_empty or stream.is_blocked or sender._reset_error_code is not None:
            return False
        pending = sender._pending._RangeSet__ranges
        if not pending:
            return False
        start, stop = pending[0].start, pending[0].stop
        peer_id = self._peer_cid.cid
        head = _varint(stream.stream_id)
        offset_size = 4 if stop < 1 << 30 else 8
        header_size = 3 + len(peer_id)
        room = self._max_datagram_size - header_size - _TAG - 3 - len(head) - offset_size
        highest = sender.highest_offset
        limit = min(
            stream.max_stream_data_remote,
            highest + self._remote_max_data - self._remote_max_data_used,
        )
        count = min(
            (min(stop, limit) - start) // room,
            (builder.max_flight_bytes - builder._flight_bytes) // self._max_datagram_size,
            self._paced(now),
            _MOST_AT_ONCE,
        )
        if count <= 0:
            return False
        done = start + count * room
        base = sender._buffer_start
        block = bytes(sender._buffer[start - base : done - base])
        sender._pending.subtract(start, done)
        if done > highest:
            self._remote_max_data_used += done - highest
            sender.highest_offset = done
        kind = bytes((0x08 | 4 | 2,)) + head
        length = (room | 0x4000).to_bytes(2, "big")
        mark = 0x80000000 if offset_size == 4 else 0xC000000000000000
        self._seal(builder, crypto, stream, kind, length, (mark, offset_size), block, start, room)
        self._spend(count)
        if not pending and not sender._pending_eof:
            sender.buffer_is_empty = True
        return True

    def _seal(
        self,
        builder: Any,
        crypto: Any,
        stream: Any,
        kind: bytes,
        length: bytes,
        offsets: tuple[int, int],
        block: bytes,
        start: int,
        room: int,
    ) -> None:
        """Make the packets and give them to the builder."""
        mark, offset_size = offsets
        sending = crypto.send
        encrypt, iv, mask_of = sending.aead._aead.encrypt, sending.aead._iv, sending.hp._mask
        peer_id = self._peer_cid.cid
        first = 0x40 | (self._spin_bit << 5) | (crypto.key_phase << 2) | 1
        lead = bytes((first,)) + peer_id
        number = builder._packet_number
        delivered = self._on_stream_delivery
        datagrams, packets = builder._datagrams, builder._packets
        total = 0
        for at in range(0, len(block), room):
            offset = start + at
            short = number & 0xFFFF
            sealed = encrypt(
                (iv ^ number).to_bytes(12, "big"),
                kind
                + (mark | offset).to_bytes(offset_size, "big")
                + length
                + block[at : at + room],
                lead + short.to_bytes(2, "big"),
            )
            mask = mask_of(sealed[2:18])
            datagram = b"%c%b%b%b" % (
                first ^ (mask[0] & 0x1F),
                peer_id,
                (short ^ (mask[1] << 8 | mask[2])).to_bytes(2, "big"),
                sealed,
            )
            datagrams.append(datagram)
            size = len(datagram)
            total += size
            packets.append(
                QuicSentPacket(
                    ONE_RTT,
                    True,
                    True,
                    False,
                    number,
                    QuicPacketType.ONE_RTT,
                    None,
                    size,
                    [(delivered, (stream, offset, offset + room, False))],
                    _NO_FRAMES,
                )
            )
            number += 1
        builder._packet_number = number
        builder._flight_bytes += total
        builder._total_bytes += total

    def _paced(self, now: float) -> int:
        """Packets that may leave now."""
        pacer = self._loss._pacer
        each = pacer.packet_time
        if each is None:
            return _MOST_AT_ONCE
        pacer.update_bucket(now=now)
        return 0 if pacer.bucket_time <= 0 else int(pacer.bucket_time / each) + 1

    def _spend(self, count: int) -> None:
        """Packets have left."""
        pacer = self._loss._pacer
        if pacer.packet_time is not None:
            pacer.bucket_time = max(pacer.bucket_time - count * pacer.packet_time, 0.0)


def _varint(value: int) -> bytes:
    if value < 0x40:
        return bytes((value,))
    if value < 0x4000:
        return (value | 0x4000).to_bytes(2, "big")
    if value < 0x40000000:
        return (value | 0x80000000).to_bytes(4, "big")
    return (value | 0xC000000000000000).to_bytes(8, "big")


_VALUE = {1: 0x3F, 2: 0x3FFF, 4: 0x3FFFFFFF, 8: 0x3FFFFFFFFFFFFFFF}
_NO_FRAMES: list[Any] = []
