"""QUIC: aioquic's connection, with the parts of its own that a relay needs to be different.

aioquic is the state machine of RFC 9000 to 9002 and 9369: it takes datagrams and a clock, gives
datagrams and a time to be called again. What is overridden here:

Windows   aioquic grants credit for what has arrived; here it is granted for what was consumed, so
          a reader that stops stops its sender. A stream begins with a small window that grows with
          what it has consumed, up to MOST_WINDOW; all streams together have CONNECTION_WINDOW.
Streams   what arrives is gathered per stream until the end of the burst
Pacing    a burst may fill two milliseconds, which is what a timer of the loop can hold apart.
Opening   a stream is announced with an empty frame when nothing is written to it at once.

Source    aioquic 1.7 (its private parts: the tests of this module see when they change)
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from aioquic.quic.connection import QuicConnectionError, QuicConnectionState
from aioquic.quic.packet import QuicErrorCode, QuicStreamFrame
from aioquic.quic.stream import FinalSizeError

from gostpy.errors import ConnectionClosed
from gostpy.stream.quicrecovery import CONGESTION_CONTROL, Recovery
from gostpy.stream.quicwrite import CONNECTION_WINDOW, Flow, Writer

__all__ = ["CONNECTION_WINDOW", "FIRST_WINDOW", "MOST_WINDOW", "Core"]

FIRST_WINDOW = 512 << 10
MOST_WINDOW = 2 << 20


class _Silent:
    """aioquic's logger: what goes wrong is told by events."""

    def debug(self, *_: Any) -> None: ...

    info = warning = debug


class Core(Writer):
    """One connection's state machine.

    Args:
        configuration: see gostpy.stream.quictls.
        max_streams: streams of each kind that the peer may have open.
        wake: called when there is something to send.
        prepare: gets the TLS context before it is used.

    Attributes:
        arrived: stream id -> chunks that nobody took yet, in order.
        ended: ids of streams whose end arrived after their last chunk.
    """

    def __init__(
        self,
        configuration: Any,
        max_streams: int,
        wake: Callable[[], None],
        prepare: Callable[[Any], None],
        **ids: Any,
    ) -> None:
        super().__init__(wake, configuration=configuration, **ids)
        self._logger = _Silent()
        self._loss = Recovery(
            congestion_control_algorithm=CONGESTION_CONTROL,
            initial_rtt=configuration.initial_rtt,
            max_datagram_size=self._max_datagram_size,
            peer_completed_address_validation=not self._is_client,
            send_probe=self._send_probe,
        )
        for limit in (self._local_max_streams_bidi, self._local_max_streams_uni):
            limit.value = limit.sent = max_streams
        self._prepare = prepare
        self.arrived: dict[int, list[bytes]] = {}
        self.ended: set[int] = set()

    # -- for the driver ----------------------------------------------------------------------------

    @property
    def begun(self) -> bool:
        """A packet of the peer could be opened."""
        return self._state is not QuicConnectionState.FIRSTFLIGHT

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
                self._flows[stream_id] = Flow()
        return stream

    def _get_or_create_stream(self, frame_type: int, stream_id: int) -> Any:
        stream = self._streams.get(stream_id)
        if stream is None:
            stream = super()._get_or_create_stream(frame_type, stream_id)
            for made in self._streams_queue:
                made.announce = False
                self._flows[made.stream_id] = Flow()
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
        stream_id = stream.stream_id
        flow = self._flows.get(stream_id)
        if (
            receiver._buffer_start == offset
            and not frame_type & 1
            and not receiver._buffer
            and not receiver.is_finished
            and receiver._final_size is None
            and fresh == len(data)
        ):
            receiver._buffer_start = receiver.highest_offset = end  # the next piece, as expected
            chunk, ended = data, False
        else:
            try:
                event = receiver.handle_frame(QuicStreamFrame(data, bool(frame_type & 1), offset))
            except FinalSizeError as error:
                raise _violation(QuicErrorCode.FINAL_SIZE_ERROR, frame_type, str(error)) from error
            chunk, ended = (event.data, event.end_stream) if event is not None else (b"", False)
        if fresh > 0:
            limit.used += fresh
            if flow is not None:
                flow.total += fresh
            else:
                self._credit(fresh)
        if flow is not None and (chunk or ended):
            chunks = self.arrived.get(stream_id)
            if chunks is None:
                chunks = self.arrived[stream_id] = []
            if chunk:
                chunks.append(chunk)
            if ended:
                self.ended.add(stream_id)
        if receiver.is_finished and stream.sender.is_finished:
            self.activate(stream)


def _violation(code: int, frame_type: int, reason: str) -> QuicConnectionError:
    return QuicConnectionError(error_code=code, frame_type=frame_type, reason_phrase=reason)
