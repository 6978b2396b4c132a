"""QUIC, the sending side of aioquic's connection: whose turn it is to put frames into packets.

aioquic looks at every open stream for every packet; here only at the *active* ones, which have
something to say: data, a limit to raise, an end, or nothing left, so that they can be forgotten.
Acknowledgements ride on data that leaves anyway.

Source   aioquic 1.7 (its private parts: the tests see when they change)
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from aioquic.buffer import size_uint_var
from aioquic.quic.connection import (
    CONNECTION_LIMIT_FRAME_CAPACITY,
    MAX_STREAM_DATA_FRAME_CAPACITY,
    QuicConnection,
)
from aioquic.quic.packet import QuicFrameType, QuicPacketType, QuicStreamFrame
from aioquic.quic.packet_builder import QuicDeliveryState
from aioquic.tls import Epoch

__all__ = ["CONNECTION_WINDOW", "ONE_RTT", "Writer"]

CONNECTION_WINDOW = 8 << 20

ONE_RTT = Epoch.ONE_RTT
_LOST = QuicDeliveryState.LOST
_ROOM = 48
"""A packet with less room than this is full: no frame without data is longer."""


class Flow:
    """What of a stream arrived (counting gaps), and how much of it was consumed."""

    __slots__ = ("credited", "total")

    def __init__(self) -> None:
        self.credited = self.total = 0


class Writer(QuicConnection):  # type: ignore[misc]
    """A connection that writes what its active streams have to say.

    Args:
        wake: called when there is something to send.

    Attributes:
        burst: bytes that may leave in one turn, 0 = whatever the network takes.
    """

    try_size = 0
    _handshake_done_pending: bool
    _probe_pending: bool

    def __init__(self, wake: Callable[[], None], **arguments: Any) -> None:
        super().__init__(**arguments)
        self.burst = 0
        self._wake = wake
        self._credited = 0
        self._active: dict[Any, None] = {}
        self._starved: dict[Any, None] = {}
        self._flows: dict[int, Flow] = {}

    def activate(self, stream: Any) -> None:
        """The stream has something to say."""
        self._active[stream] = None
        self._wake()

    def _probe_path(self, builder: Any, crypto: Any) -> None:
        """Find out whether larger datagrams arrive."""

    def _write_bulk(self, builder: Any, space: Any, crypto: Any, now: float) -> None:
        """Write packets that are full of one stream's data; others follow."""

    def _write_application(self, builder: Any, network_path: Any, now: float) -> None:
        crypto = self._cryptos[ONE_RTT]
        if not crypto.send.is_valid():
            return
        space = self._spaces[ONE_RTT]
        pacer = self._loss._pacer
        if self.try_size and self._handshake_confirmed and network_path.is_validated:
            self._probe_path(builder, crypto)
        while True:
            if self._active and self._handshake_confirmed and not self.burst:
                if builder._packet is not None:
                    builder._end_packet()
                self._write_bulk(builder, space, crypto, now)
            due = space.ack_at is not None and space.ack_at <= now
            if self.burst and builder._total_bytes >= self.burst:
                self._wake()
                break
            if not due:
                self._pacing_at = pacer.next_send_time(now=now)
                if self._pacing_at is not None:
                    break
            builder.start_packet(QuicPacketType.ONE_RTT, crypto)
            if due or (space.ack_at is not None and self._active and self._handshake_complete):
                self._write_ack_frame(builder=builder, space=space, now=now)
            if self._handshake_complete:
                self._write_control(builder, network_path, space, now)
            self._write_extras(builder, space)
            discarded = self._write_streams(builder, space)
            if not builder.packet_is_empty:
                pacer.update_after_send(now=now)
            elif not discarded:
                break

    def _write_control(self, builder: Any, network_path: Any, space: Any, now: float) -> None:
        """What belongs to the connection, in aioquic's order."""
        if not (network_path.is_validated or network_path.local_challenge_sent):
            self._write_path_challenge_frame(builder=builder, network_path=network_path)
            if network_path.validation_deadline is None:
                wait = max(self._loss.get_probe_timeout(), 2 * self._configuration.initial_rtt)
                network_path.validation_deadline = now + 3 * wait
        if self._handshake_done_pending:
            self._write_handshake_done_frame(builder=builder)
            self._handshake_done_pending = False
        while network_path.remote_challenges:
            self._write_path_response_frame(builder, network_path.remote_challenges[0])
            network_path.remote_challenges.popleft()
        for connection_id in self._host_cids:
            if not connection_id.was_sent:
                self._write_new_connection_id_frame(builder, connection_id)
        while self._retire_connection_ids:
            self._write_retire_connection_id_frame(builder, self._retire_connection_ids[0])
            self._retire_connection_ids.pop(0)
        if self._streams_blocked_pending:
            self._write_blocked(builder)
        self._write_connection_limits(builder=builder, space=space)

    def _write_blocked(self, builder: Any) -> None:
        for blocked, kind, limit in (
            (
                self._streams_blocked_bidi,
                QuicFrameType.STREAMS_BLOCKED_BIDI,
                self._remote_max_streams_bidi,
            ),
            (
                self._streams_blocked_uni,
                QuicFrameType.STREAMS_BLOCKED_UNI,
                self._remote_max_streams_uni,
            ),
        ):
            if blocked:
                self._write_streams_blocked_frame(builder=builder, frame_type=kind, limit=limit)
        self._streams_blocked_pending = False

    def _write_extras(self, builder: Any, space: Any) -> None:
        if self._ping_pending:
            self._write_ping_frame(builder, self._ping_pending)
            self._ping_pending.clear()
        if self._probe_pending:
            self._write_ping_frame(builder, comment="probe")
            self._probe_pending = False
        crypto_stream = self._crypto_streams[ONE_RTT]
        if not crypto_stream.sender.buffer_is_empty:
            self._write_crypto_frame(builder=builder, space=space, stream=crypto_stream)
        pending = self._datagrams_pending
        while pending:
            size = len(pending[0])
            if builder.remaining_flight_space < size + 1 + size_uint_var(size):
                break
            self._write_datagram_frame(builder, pending[0], QuicFrameType.DATAGRAM_WITH_LENGTH)
            pending.popleft()

    def _write_connection_limits(self, builder: Any, space: Any) -> None:
        data = self._local_max_data
        limit = self._credited + CONNECTION_WINDOW
        if limit - data.value >= CONNECTION_WINDOW // 4:
            data.value = limit
        if data.value != data.sent:
            self._write_limit(builder, data)
        for streams in (self._local_max_streams_bidi, self._local_max_streams_uni):
            left = streams.sent - streams.used
            if streams.value != streams.sent and left < streams.value - streams.sent:
                self._write_limit(builder, streams)

    def _write_limit(self, builder: Any, limit: Any) -> None:
        buf = builder.start_frame(
            limit.frame_type,
            capacity=CONNECTION_LIMIT_FRAME_CAPACITY,
            handler=self._on_connection_limit_delivery,
            handler_args=(limit,),
        )
        buf.push_uint_var(limit.value)
        limit.sent = limit.value

    def _write_streams(self, builder: Any, space: Any) -> bool:
        """Give each active stream its turn, until the packet is full. True: some were discarded,
        for which the peer may get new ones."""
        active = self._active
        discarded = False
        for stream in list(active):
            if builder.remaining_buffer_space < _ROOM:
                break
            if stream.is_finished:
                discarded = True
                self._discard(stream)
                continue
            if stream.max_stream_data_local_sent != stream.max_stream_data_local:
                self._write_stream_limits(builder, space, stream)
            if stream.receiver.stop_pending:
                self._write_stop_sending_frame(builder=builder, stream=stream)
            sender = stream.sender
            if sender.reset_pending:
                self._write_reset_stream_frame(builder=builder, stream=stream)
            elif stream.is_blocked:
                pass  # until the peer allows more streams
            elif not sender.buffer_is_empty:
                if self._write_data(builder, stream):
                    active.pop(stream)
                    active[stream] = None  # the others first
                    continue
                if builder.remaining_flight_space < _ROOM:
                    break
                if self._remote_max_data <= self._remote_max_data_used:
                    self._starved[stream] = None
            elif stream.announce:
                self._write_opening(builder, stream)
            active.pop(stream, None)
        return discarded

    def _discard(self, stream: Any) -> None:
        stream_id = stream.stream_id
        self._active.pop(stream, None)
        self._starved.pop(stream, None)
        self._streams.pop(stream_id, None)
        flow = self._flows.get(stream_id)
        if flow is not None and flow.credited >= flow.total:
            del self._flows[stream_id]
        if bool(stream.stream_id & 1) == self._is_client:  # the peer opened it
            self._stream_limit(stream.stream_id).value += 1

    def _write_data(self, builder: Any, stream: Any) -> bool:
        """One frame of data. False: none could be written, or none is left."""
        sender = stream.sender
        offset = sender.next_offset
        overhead = 3 + size_uint_var(stream.stream_id) + (size_uint_var(offset) if offset else 0)
        highest = sender.highest_offset
        frame = sender.get_frame(
            builder.remaining_flight_space - overhead,
            min(
                highest + self._remote_max_data - self._remote_max_data_used,
                stream.max_stream_data_remote,
            ),
        )
        if frame is None:
            return False
        self._put_frame(builder, stream, frame, overhead)
        self._remote_max_data_used += sender.highest_offset - highest
        if not len(sender._pending) and not sender._pending_eof:
            sender.buffer_is_empty = True
        return not sender.buffer_is_empty

    def _write_opening(self, builder: Any, stream: Any) -> None:
        overhead = 3 + size_uint_var(stream.stream_id)
        self._put_frame(builder, stream, QuicStreamFrame(b"", False, 0), overhead)

    def _put_frame(self, builder: Any, stream: Any, frame: Any, overhead: int) -> None:
        stream.announce = False
        offset, data = frame.offset, frame.data
        buf = builder.start_frame(
            QuicFrameType.STREAM_BASE | 2 | (4 if offset else 0) | (1 if frame.fin else 0),
            capacity=overhead,
            handler=self._on_stream_delivery,
            handler_args=(stream, offset, offset + len(data), frame.fin),
        )
        buf.push_uint_var(stream.stream_id)
        if offset:
            buf.push_uint_var(offset)
        buf.push_uint16(len(data) | 0x4000)
        buf.push_bytes(data)

    def _write_stream_limits(self, builder: Any, space: Any, stream: Any) -> None:
        buf = builder.start_frame(
            QuicFrameType.MAX_STREAM_DATA,
            capacity=MAX_STREAM_DATA_FRAME_CAPACITY,
            handler=self._on_limit_delivery,
            handler_args=(stream,),
        )
        buf.push_uint_var(stream.stream_id)
        buf.push_uint_var(stream.max_stream_data_local)
        stream.max_stream_data_local_sent = stream.max_stream_data_local

    # -- what became of it -------------------------------------------------------------------------

    def _on_stream_delivery(
        self, delivery: Any, stream: Any, start: int, stop: int, fin: bool
    ) -> None:
        sender = stream.sender
        sender.on_data_delivery(delivery, start, stop, fin)
        if delivery is _LOST:
            if start == stop and not fin and not sender.highest_offset:
                stream.announce = True
            self.activate(stream)
        elif stream.is_finished:
            self.activate(stream)

    def _on_limit_delivery(self, delivery: Any, stream: Any) -> None:
        if delivery is _LOST and stream.stream_id in self._streams:
            stream.max_stream_data_local_sent = 0
            self.activate(stream)

    def _write_reset_stream_frame(self, builder: Any, stream: Any) -> None:
        super()._write_reset_stream_frame(builder, stream)
        _follow(builder, lambda _: self.activate(stream))

    def _write_stop_sending_frame(self, builder: Any, stream: Any) -> None:
        super()._write_stop_sending_frame(builder, stream)
        _follow(builder, lambda _: self.activate(stream))


def _follow(builder: Any, handler: Callable[[Any], None]) -> None:
    """Call ``handler``, too, when the fate of the packet in the making is known."""
    builder._packet.delivery_handlers.append((handler, ()))
