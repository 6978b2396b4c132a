"""QUIC: aioquic's connection, with the parts of its own that a relay needs to be different.

aioquic is the state machine of RFC 9000 to 9002 and 9369: it takes datagrams and a clock, gives
datagrams and a time to be called again. What is overridden here:

Windows   aioquic grants credit for what has arrived; here it is granted for what was consumed, so
          a reader that stops stops its sender. A stream begins with a small window that grows with
          what it has consumed, up to MOST_WINDOW; all streams together have CONNECTION_WINDOW.
Streams   aioquic looks at every open stream for every packet; here only at those that have
          something to say. What arrives is gathered per stream until the end of the burst.
Acks      ride on data that leaves anyway.
Pacing    a burst may fill two milliseconds, which is what a timer of the loop can hold apart.
Opening   a stream is announced with an empty frame when nothing is written to it at once.

Source    aioquic 1.7 (its private parts: the tests of this module see when they change)
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from aioquic.buffer import size_uint_var
from aioquic.quic.connection import (
    CONNECTION_LIMIT_FRAME_CAPACITY,
    MAX_STREAM_DATA_FRAME_CAPACITY,
    QuicConnection,
    QuicConnectionError,
)
from aioquic.quic.packet import QuicErrorCode, QuicFrameType, QuicPacketType, QuicStreamFrame
from aioquic.quic.packet_builder import QuicDeliveryState
from aioquic.quic.recovery import QuicPacketPacer
from aioquic.quic.stream import FinalSizeError
from aioquic.tls import Epoch

from gostpy.errors import ConnectionClosed

__all__ = ["CONNECTION_WINDOW", "FIRST_WINDOW", "MOST_WINDOW", "Core"]

FIRST_WINDOW = 512 << 10
MOST_WINDOW = 2 << 20
CONNECTION_WINDOW = 8 << 20

_ONE_RTT = Epoch.ONE_RTT
_LOST = QuicDeliveryState.LOST
_ROOM = 48
"""A packet with less room than this is full: no frame without data is longer."""

_BURST_TIME = 0.002


class _Silent:
    """aioquic's logger: what goes wrong is told by events."""

    def debug(self, *_: Any) -> None: ...

    info = warning = debug


class _Flow:
    """What of a stream arrived (counting gaps), and how much of it was consumed."""

    __slots__ = ("credited", "total")

    def __init__(self) -> None:
        self.credited = self.total = 0


class _Pacer(QuicPacketPacer):  # type: ignore[misc]
    """aioquic's, with bursts that a timer can hold apart."""

    bucket_max: float

    def update_rate(self, congestion_window: int, smoothed_rtt: float) -> None:
        super().update_rate(congestion_window, smoothed_rtt)
        self.bucket_max = max(self.bucket_max, min(_BURST_TIME, smoothed_rtt / 2))


class Core(QuicConnection):  # type: ignore[misc]
    """One connection's state machine.

    Args:
        configuration: see gostpy.stream.quictls.
        max_streams: streams of each kind that the peer may have open.
        wake: called when there is something to send.
        prepare: gets the TLS context before it is used.

    Attributes:
        burst: bytes that may leave in one turn, 0 = whatever the network takes.
        arrived: stream id -> chunks that nobody took yet, in order.
        ended: ids of streams whose end arrived after their last chunk.
    """

    _handshake_done_pending: bool
    _probe_pending: bool

    def __init__(
        self,
        configuration: Any,
        max_streams: int,
        wake: Callable[[], None],
        prepare: Callable[[Any], None],
        **ids: Any,
    ) -> None:
        super().__init__(configuration=configuration, **ids)
        self._logger = _Silent()
        self._loss._logger = None
        self._loss._pacer = _Pacer(max_datagram_size=self._max_datagram_size)
        for limit in (self._local_max_streams_bidi, self._local_max_streams_uni):
            limit.value = limit.sent = max_streams
        self._wake = wake
        self._prepare = prepare
        self._credited = 0
        self.burst = 0
        self._active: dict[Any, None] = {}
        self._starved: dict[Any, None] = {}
        self._flows: dict[int, _Flow] = {}
        self.arrived: dict[int, list[bytes]] = {}
        self.ended: set[int] = set()

    # -- for the driver ----------------------------------------------------------------------------

    @property
    def silence(self) -> int:
        """Probes in a row that were not answered."""
        return int(self._loss._pto_count)

    @property
    def unread(self) -> int:
        """Bytes that arrived and were not consumed."""
        return int(self._local_max_data.used - self._credited)

    @property
    def room(self) -> int:
        """Streams that may be opened now."""
        opened = self._local_next_stream_id_bidi // 4
        return int(self._remote_max_streams_bidi - opened)

    def open_stream(self, unidirectional: bool = False) -> int:
        """The id of a new stream; the peer hears of it even when nothing is written."""
        stream_id = self.get_next_available_stream_id(unidirectional)
        stream = self._get_or_create_stream_for_send(stream_id)
        stream.announce = True
        self.activate(stream)
        return int(stream_id)

    def can_send(self, stream_id: int) -> bool:
        """Whether the peer still reads a stream that was not ended here."""
        stream = self._streams.get(stream_id)
        return stream is not None and stream.sender._reset_error_code is None

    def backlog(self, stream_id: int) -> int:
        """Bytes written to a stream that were not acknowledged."""
        stream = self._streams.get(stream_id)
        return len(stream.sender._buffer) if stream is not None else 0

    @property
    def window(self) -> int:
        """Bytes that the network takes at a time, as far as is known."""
        return int(self._loss.congestion_window)

    def consume(self, stream_id: int, size: int) -> None:
        """The reader has taken ``size`` bytes of a stream."""
        flow = self._flows.get(stream_id)
        if flow is None:
            return
        flow.credited += size
        self._credit(size)
        stream = self._streams.get(stream_id)
        if stream is None:
            if flow.credited >= flow.total:
                del self._flows[stream_id]
            return
        if stream.receiver.is_finished:
            return
        window = min(max(FIRST_WINDOW, flow.credited), MOST_WINDOW)
        limit = flow.credited + window
        if limit - stream.max_stream_data_local >= window // 4:
            stream.max_stream_data_local = limit
            self.activate(stream)

    def ignore(self, stream_id: int) -> None:
        """Nobody reads this stream any more."""
        self.arrived.pop(stream_id, None)
        self.ended.discard(stream_id)
        self._settle(stream_id)
        stream = self._streams.get(stream_id)
        if stream is not None:
            if not stream.receiver.is_finished:
                stream.receiver.stop(0)
            self.activate(stream)

    def _credit(self, size: int) -> None:
        self._credited += size
        limit = self._local_max_data
        if self._credited + CONNECTION_WINDOW - limit.value >= CONNECTION_WINDOW // 4:
            self._wake()

    def _settle(self, stream_id: int) -> None:
        """Give credit for all that arrived on a stream, read or not, and will arrive."""
        flow = self._flows.pop(stream_id, None)
        if flow is not None:
            self._credit(flow.total - flow.credited)

    def activate(self, stream: Any) -> None:
        """The stream has something to say."""
        self._active[stream] = None
        self._wake()

    # -- aioquic's interface, kept in step ---------------------------------------------------------

    def send_stream_data(self, stream_id: int, data: Any, end_stream: bool = False) -> None:
        """Write to a stream. Raises ConnectionClosed: the peer reads no more of it."""
        stream = self._get_or_create_stream_for_send(stream_id)
        if stream.sender._reset_error_code is not None:
            raise ConnectionClosed("quic: the peer reads no more of the stream")
        stream.sender.write(data, end_stream=end_stream)
        self.activate(stream)

    def reset_stream(self, stream_id: int, error_code: int) -> None:
        super().reset_stream(stream_id, error_code)
        stream = self._streams.get(stream_id)
        if stream is not None:
            self.activate(stream)

    def stop_stream(self, stream_id: int, error_code: int) -> None:
        super().stop_stream(stream_id, error_code)
        self.activate(self._streams[stream_id])

    def send_ping(self, uid: int) -> None:
        super().send_ping(uid)
        self._wake()

    def send_datagram_frame(self, data: bytes) -> None:
        super().send_datagram_frame(data)
        self._wake()

    def close(
        self,
        error_code: int = QuicErrorCode.NO_ERROR,
        frame_type: int | None = None,
        reason_phrase: str = "",
    ) -> None:
        super().close(error_code, frame_type, reason_phrase)
        self._wake()

    def _initialize(self, peer_cid: bytes) -> None:
        super()._initialize(peer_cid)
        self._prepare(self.tls)

    # -- streams -----------------------------------------------------------------------------------

    def _get_or_create_stream_for_send(self, stream_id: int) -> Any:
        stream = self._streams.get(stream_id)
        if stream is None:
            stream = super()._get_or_create_stream_for_send(stream_id)
            self._streams_queue.clear()
            stream.announce = False
            if not stream_id & 2:
                self._flows[stream_id] = _Flow()
        return stream

    def _get_or_create_stream(self, frame_type: int, stream_id: int) -> Any:
        stream = self._streams.get(stream_id)
        if stream is None:
            stream = super()._get_or_create_stream(frame_type, stream_id)
            for made in self._streams_queue:
                made.announce = False
                self._flows[made.stream_id] = _Flow()
                self.arrived.setdefault(made.stream_id, [])
            self._streams_queue.clear()
        return stream

    def _unblock_streams(self, is_unidirectional: bool) -> None:
        blocked = self._streams_blocked_uni if is_unidirectional else self._streams_blocked_bidi
        waiting = blocked[:]
        super()._unblock_streams(is_unidirectional)
        for stream in waiting:
            if not stream.is_blocked:
                self.activate(stream)

    def _handle_max_stream_data_frame(self, context: Any, frame_type: int, buf: Any) -> None:
        at = buf.tell()
        stream_id = buf.pull_uint_var()
        buf.seek(at)
        super()._handle_max_stream_data_frame(context, frame_type, buf)
        stream = self._streams.get(stream_id)
        if stream is not None:
            self.activate(stream)

    def _handle_stop_sending_frame(self, context: Any, frame_type: int, buf: Any) -> None:
        at = buf.tell()
        stream_id = buf.pull_uint_var()
        buf.seek(at)
        super()._handle_stop_sending_frame(context, frame_type, buf)
        stream = self._streams.get(stream_id)
        if stream is not None:
            self.activate(stream)

    def _handle_reset_stream_frame(self, context: Any, frame_type: int, buf: Any) -> None:
        at = buf.tell()
        stream_id = buf.pull_uint_var()
        buf.seek(at)
        super()._handle_reset_stream_frame(context, frame_type, buf)
        stream = self._streams.get(stream_id)
        if stream is not None:
            self._settle(stream_id)
            self.arrived.pop(stream_id, None)
            self.activate(stream)

    def _handle_max_data_frame(self, context: Any, frame_type: int, buf: Any) -> None:
        super()._handle_max_data_frame(context, frame_type, buf)
        if self._starved:
            self._active.update(self._starved)
            self._starved.clear()
            self._wake()

    def _handle_stream_frame(self, context: Any, frame_type: int, buf: Any) -> None:
        stream_id = buf.pull_uint_var()
        offset = buf.pull_uint_var() if frame_type & 4 else 0
        length = buf.pull_uint_var() if frame_type & 2 else buf.capacity - buf.tell()
        data = buf.pull_bytes(length)
        stream = self._streams.get(stream_id)
        if stream is None:
            self._assert_stream_can_receive(frame_type, stream_id)
            stream = self._get_or_create_stream(frame_type, stream_id)
        self._assert_stream_can_receive(frame_type, stream_id)
        self._stream_data(stream, frame_type, offset, data)

    def _stream_data(self, stream: Any, frame_type: int, offset: int, data: bytes) -> None:
        """Data of the peer, within its limits. Raises QuicConnectionError."""
        receiver = stream.receiver
        end = offset + len(data)
        limit = self._local_max_data
        fresh = end - receiver.highest_offset
        if fresh > 0:
            if end > stream.max_stream_data_local:
                raise _violation(QuicErrorCode.FLOW_CONTROL_ERROR, frame_type, "stream limit")
            if limit.used + fresh > limit.value:
                raise _violation(QuicErrorCode.FLOW_CONTROL_ERROR, frame_type, "data limit")
        try:
            event = receiver.handle_frame(QuicStreamFrame(data, bool(frame_type & 1), offset))
        except FinalSizeError as error:
            raise _violation(QuicErrorCode.FINAL_SIZE_ERROR, frame_type, str(error)) from error
        stream_id = stream.stream_id
        flow = self._flows.get(stream_id)
        if fresh > 0:
            limit.used += fresh
            if flow is not None:
                flow.total += fresh
            else:
                self._credit(fresh)
        if event is not None and flow is not None:
            chunks = self.arrived.get(stream_id)
            if chunks is None:
                chunks = self.arrived[stream_id] = []
            if event.data:
                chunks.append(event.data)
            if event.end_stream:
                self.ended.add(stream_id)
        if stream.is_finished:
            self.activate(stream)

    # -- out ---------------------------------------------------------------------------------------

    def _write_application(self, builder: Any, network_path: Any, now: float) -> None:
        crypto = self._cryptos[_ONE_RTT]
        if not crypto.send.is_valid():
            return
        space = self._spaces[_ONE_RTT]
        pacer = self._loss._pacer
        while True:
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
        crypto_stream = self._crypto_streams[_ONE_RTT]
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


def _violation(code: int, frame_type: int, reason: str) -> QuicConnectionError:
    return QuicConnectionError(error_code=code, frame_type=frame_type, reason_phrase=reason)
