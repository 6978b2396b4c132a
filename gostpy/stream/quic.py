"""QUIC on the hub: one connection driven by its datagrams and a timer.

A connection is handed to the guards and to a *protocol*, which gets what arrives on its streams:
gostpy.stream.quicmux makes conns of them, HTTP/3 and WebTransport have protocols of their own.

Turn     datagrams that came together are taken one after another; at the end of the loop's turn
         the protocol gets the data of each stream in one piece, then everything that is to be sent
         leaves, in as few calls as the system allows
Source   RFC 9000, 9001, 9002, 9369 (QUIC 2), by aioquic
"""

from __future__ import annotations

import os
import sys
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from aioquic.quic import events
from gevent import get_hub
from gevent.event import Event

from gostpy.errors import ConnectionClosed, GostError, HandshakeFailed, ProtocolError
from gostpy.net import lasting, timers
from gostpy.net.conn import ConnInfo
from gostpy.net.keepalive import KeepAlive
from gostpy.net.metered import rounded
from gostpy.net.packet import PacketConn
from gostpy.net.udpburst import send_all
from gostpy.stream.quicfast import FastCore
from gostpy.stream.quictls import QuicTLS

__all__ = ["Quic", "QuicProtocol", "QuicSettings", "dial_quic"]

LINGER = 5.0
"""Seconds that a closed connection may spend on sending what is left."""

_LATE = 0.002
"""Seconds after which a timer is late."""

_METERED_BURST = 32 << 10
"""Bytes sent between two looks at a rate limit."""

_MOST_HELD = 256
"""Datagrams that wait for a rate limit; further ones are lost."""

_CRYPTO_ERROR = 0x100
_BAD_CERTIFICATE = 42
_APPLICATION = None  # a close without a frame type is the application's

clock = time.monotonic


@dataclass(frozen=True, slots=True)
class QuicSettings:
    """How connections live.

    Attributes:
        keepalive: seconds without a datagram of the peer after which it is asked, 0 = never.
        handshake_timeout: seconds for the handshake.
        idle_timeout: seconds without a word of the peer that end the connection.
        max_streams: streams of each kind that the peer may have open.
    """

    keepalive: float = 0.0
    handshake_timeout: float = 5.0
    idle_timeout: float = 30.0
    max_streams: int = 100


class QuicProtocol(Protocol):
    """Gets what arrives on a connection. Runs on the hub; may not block.

    A GostError or OSError that comes out of a call ends the connection.
    """

    def stream_data(self, stream_id: int, data: bytes, ended: bool) -> None:
        """The next bytes of a stream, perhaps none; the first call for an id of the peer means
        that it was opened. ``quic.core.consume`` grants credit for what was used up."""
        ...

    def stream_reset(self, stream_id: int, code: int) -> None:
        """The peer gave the stream up; no more data comes."""
        ...

    def stop_sending(self, stream_id: int, code: int) -> None:
        """The peer reads no more of the stream."""
        ...

    def datagram(self, data: bytes) -> None:
        """A DATAGRAM frame."""
        ...

    def writable(self) -> None:
        """Acknowledgements may have made room."""
        ...

    def ended(self, error: BaseException) -> None:
        """The connection is gone, once."""
        ...


class Quic:
    """One connection. Guards treat it like a conn.

    Args:
        tls: makes the configuration.
        send: (datagrams, address), without waiting.
        info: facts; ``info.tls`` is filled in by the handshake.
        server_name: what a client asks for and checks.
        reading: takes what has arrived at the packet conn already.
        ids: connection ids of a server side.

    Attributes:
        core: the state machine. Its methods send at the end of the turn.
        alive: streams can be opened, and those that are open work.
        error: why it is not alive any more.
        established: the handshake is complete and the peer was checked.
        on_established, on_close: called on the hub, with the connection.
        on_gone: as on_close, for whoever sorts the datagrams.
        on_id: called with (connection, id, whether it is valid from now on).
    """

    network = "udp"

    def __init__(
        self,
        tls: QuicTLS,
        settings: QuicSettings,
        send: Callable[[Sequence[bytes], str], None],
        info: ConnInfo,
        server_name: str = "",
        reading: Callable[[], None] | None = None,
        **ids: Any,
    ) -> None:
        configuration = tls.current() if tls.server else tls.for_name(server_name)
        self.core = FastCore(configuration, settings.max_streams, self._wake, tls.prepare, **ids)
        self.core.try_size = tls.datagram_size
        self.info = info
        self.meter: Any = None
        self.alive = True
        self.closed = False
        self.established = False
        self.error: BaseException | None = None
        self.protocol: QuicProtocol | None = None
        self.on_established: Callable[[Quic], None] | None = None
        self.on_close: Callable[[Any], None] | None = None
        self.on_id: Callable[[Quic, bytes, bool], None] | None = None
        self.on_gone: Callable[[Quic], None] | None = None
        self.packets: PacketConn | None = None
        self._tls = tls
        self._settings = settings
        self._server_name = server_name
        self._send = send
        self._reading = reading
        self._loop = get_hub().loop
        self._scheduled = False
        self._timer: Any = None
        self._armed_at = 0.0
        self._heard = False
        self._held: deque[tuple[bytes, str]] | None = None  # waiting for a rate limit
        self._muted = False  # by a rate limit
        self._leaving = 0.0  # when closing ends at the latest
        self._changed = Event()
        self._deadline = timers.after(settings.handshake_timeout, self._late)
        self._keeping: KeepAlive | None = None

    @staticmethod
    def new_id() -> bytes:
        """A connection id."""
        return os.urandom(8)

    # -- for users -------------------------------------------------------------------------------

    @property
    def suspect(self) -> bool:
        """The peer does not answer: new streams had better go elsewhere."""
        return self.core.silence > 2

    def attach(self, protocol: QuicProtocol) -> None:
        """Hand over what arrives from now on, beginning with what is there already."""
        self.protocol = protocol
        if not self.alive:
            self._loop.run_callback(self._bury)
        self._wake()

    def connect(self, address: str) -> None:
        """Begin a client's handshake."""
        self.core.connect(address, clock())
        self._wake()

    def wait(self) -> None:
        """Wait for the end of the handshake, in a green thread.

        Raises HandshakeFailed, ConnectionClosed.
        """
        while not self.established:
            if self.error is not None:
                raise self.error
            self._changed.wait()
            self._changed.clear()

    def close(self, now: bool = False) -> None:
        """End the connection; what was written still leaves unless ``now``."""
        if not self.alive:
            return
        if now or not self.established or not self._unsent():
            self._shut(0, "closed", ConnectionClosed("connection was closed"))
            return
        self.alive = False
        self.error = ConnectionClosed("connection was closed")
        self._leaving = clock() + LINGER
        timers.after(LINGER, self._wake)
        lasting.outlast(self)
        self._wake()

    port = 0
    """None that somebody else may want; see gostpy.net.lasting."""

    def end_all(self) -> None:
        """The process ends: no time is left for what was written."""
        if self._leaving:
            self._leave()

    def fail(self, error: BaseException, code: int = 1) -> None:
        """End the connection because of an error; the peer hears of ``code``."""
        self._shut(code, "", error)

    # -- datagrams -------------------------------------------------------------------------------

    def datagram(self, data: bytes, address: str) -> None:
        """A datagram of the peer, or one that says so."""
        if self._held is not None:
            if len(self._held) < _MOST_HELD:
                self._held.append((data, address))
            return
        self._heard = True
        self.core.receive_datagram(data, address, clock())
        if not self._scheduled:
            self._scheduled = True
            self._loop.run_callback(self._turn)
        if self.meter is not None:
            delay = self.meter.received(len(data))
            if delay > 0.0:
                self._held = deque()
                timers.after(rounded(delay), self._release)

    def ended(self, error: BaseException | None) -> None:
        """The packet conn is gone."""
        self._end(error or ConnectionClosed("packet conn is closed"))

    def _release(self) -> None:
        held, self._held = self._held, None
        while held:
            self.datagram(*held.popleft())

    def _unmute(self) -> None:
        self._muted = False
        self._wake()

    # -- turns -----------------------------------------------------------------------------------

    def _wake(self) -> None:
        """There is something to send."""
        self.core.quiet = False
        if not self._scheduled:
            self._scheduled = True
            self._loop.run_callback(self._turn)

    def _turn(self) -> None:
        try:
            self._dispatch()
            self._scheduled = False
            self._flush()
        except (GostError, OSError) as error:
            self._scheduled = False
            self.fail(error)
        except Exception as error:  # on the hub: it ends this connection, not the loop
            self._scheduled = False
            get_hub().handle_error(self, *sys.exc_info())
            self._end(error)

    def _dispatch(self) -> None:
        core = self.core
        resets = []
        while (event := core.next_event()) is not None:
            if isinstance(event, events.StreamReset | events.StopSendingReceived):
                resets.append(event)
            else:
                self._event(event)
        protocol = self.protocol
        if protocol is None or self.closed:
            return
        if core.arrived:
            arrived, core.arrived = core.arrived, {}
            ends, core.ended = core.ended, set()
            for stream_id, chunks in arrived.items():
                data = chunks[0] if len(chunks) == 1 else b"".join(chunks)
                protocol.stream_data(stream_id, data, stream_id in ends)
        for event in resets:
            if isinstance(event, events.StreamReset):
                protocol.stream_reset(event.stream_id, event.error_code)
            else:
                protocol.stop_sending(event.stream_id, event.error_code)
        protocol.writable()

    def _event(self, event: Any) -> None:
        if isinstance(event, events.HandshakeCompleted):
            self._complete()
        elif isinstance(event, events.ConnectionTerminated):
            self._terminated(event)
        elif isinstance(event, events.DatagramFrameReceived):
            if self.protocol is not None:
                self.protocol.datagram(event.data)
        elif self.on_id is not None:
            if isinstance(event, events.ConnectionIdIssued):
                self.on_id(self, event.connection_id, True)
            elif isinstance(event, events.ConnectionIdRetired):
                self.on_id(self, event.connection_id, False)

    def _flush(self) -> None:
        if self.closed or self._muted:
            return
        core = self.core
        if self._leaving and (clock() >= self._leaving or not self._unsent()):
            self._leave()
            return
        now = clock()
        if core.quiet:
            due = core.ack_at
            if due is None or due > now:
                self._arm(due, now)
                return
        if self.meter is not None:
            core.burst = _METERED_BURST
        made = core.datagrams_to_send(now)
        core.quiet = True
        if made:
            self._transmit(made)
        if self.on_id is not None and core._events:
            self._wake()  # connection ids that were issued just now
        self._arm(core.get_timer(), now)

    def _leave(self) -> None:
        """Nothing is left to send, or no time for it."""
        self._leaving = 0.0
        self.alive = True  # for the last words
        self._shut(0, "closed", self.error or ConnectionClosed("connection was closed"))

    def _transmit(self, made: list[tuple[bytes, str]]) -> None:
        address = made[0][1]
        if made[-1][1] == address:
            datagrams = [datagram for datagram, _ in made]
            self._send(datagrams, address)
        else:
            for datagram, address in made:
                self._send([datagram], address)
        if self.meter is not None:
            delay = self.meter.sent(sum(len(datagram) for datagram, _ in made))
            if delay > 0.0:
                self._muted = True
                timers.after(rounded(delay), self._unmute)

    def _unsent(self) -> bool:
        return any(
            not stream.sender.is_finished and stream.sender._buffer_stop
            for stream in self.core._streams.values()
        )

    # -- time ------------------------------------------------------------------------------------

    def _arm(self, due: float | None, now: float) -> None:
        """Have ``_fire`` called in time; a timer that fires too early looks again."""
        if due is None:
            return
        timer = self._timer
        if timer is None:
            timer = self._timer = self._loop.timer(0.001, ref=False)
        elif timer.active and self._armed_at <= due:
            return
        else:
            timer.stop()
        self._armed_at = due
        timer.close()
        timer = self._timer = self._loop.timer(max(due - now, 0.0), ref=False)
        timer.start(self._fire)

    def _fire(self) -> None:
        core = self.core
        now = clock()
        try:
            due = core.get_timer()
            if due is not None and due < now - _LATE and self._reading is not None:
                # this process had to wait: what arrived meanwhile may be the awaited answer
                self._reading()
                due = core.get_timer()
            if due is not None and due <= now + 0.0005:
                core.handle_timer(max(now, due))
                self._lost_peer()
            core.quiet = False  # so that the timer is set again
            self._turn()
        except Exception as error:  # as in _turn
            get_hub().handle_error(self, *sys.exc_info())
            self._end(error)

    def _lost_peer(self) -> None:
        """The system tells that nobody listens at the other end any more."""
        refused = getattr(self.packets, "refused", 0)
        if refused and (not self.established or (refused > 2 and self.core.silence > 2)):
            self._end(ConnectionClosed("nobody listens there"))

    def _late(self) -> None:
        self._shut(1, "", HandshakeFailed("quic: handshake timed out"))

    def _keep_alive(self) -> None:
        settings = self._settings
        interval = min(settings.keepalive, settings.idle_timeout / 2)
        self._heard = False
        self._keeping = KeepAlive(
            interval, self._was_heard, lambda: self.core.send_ping(0), lazy=True
        )

    def _was_heard(self) -> bool:
        heard, self._heard = self._heard, False
        return heard

    # -- beginning and end -----------------------------------------------------------------------

    def _complete(self) -> None:
        self._deadline.cancel()
        try:
            self.info.tls = self._tls.check(self.core.tls, self._server_name)
        except HandshakeFailed as error:
            self._shut(_CRYPTO_ERROR + _BAD_CERTIFICATE, "bad certificate", error, frame_type=6)
            return
        self.established = True
        if self._settings.keepalive > 0.0:
            self._keep_alive()
        self._changed.set()
        if self.on_established is not None:
            self.on_established(self)

    def _terminated(self, event: Any) -> None:
        reason = event.reason_phrase or "no reason given"
        code = event.error_code
        if not self.established:
            self._end(HandshakeFailed(f"quic: {reason} ({code:#x})"))
        elif event.frame_type is not None and code and reason != "Idle timeout":
            self._end(ProtocolError(f"quic: {reason} ({code:#x})"))
        elif reason == "Idle timeout":
            self._end(ConnectionClosed("quic: the peer was silent for too long"))
        else:
            self._end(ConnectionClosed(f"quic: closed by the peer: {reason}"))

    def _shut(
        self, code: int, reason: str, error: BaseException, frame_type: int | None = _APPLICATION
    ) -> None:
        """Tell the peer and end."""
        if not self.alive:
            self._end(error)
            return
        core = self.core
        try:
            core.close(error_code=code, frame_type=frame_type, reason_phrase=reason)
            if core._network_paths:
                made = core.datagrams_to_send(clock())
                if made:
                    self._transmit(made)
        except (GostError, OSError):
            pass  # the peer cannot be told; it will find out
        self._end(error)

    def _end(self, error: BaseException) -> None:
        if self.closed:
            return
        self.closed = True
        self.alive = False
        self.error = error
        lasting.forget(self)
        self._deadline.cancel()
        if self._keeping is not None:
            self._keeping.cancel()
        if self._timer is not None:
            self._timer.stop()
            self._timer.close()
            self._timer = None
        self._loop.run_callback(self._bury)

    def _bury(self) -> None:
        error = self.error
        assert error is not None
        self._changed.set()
        protocol, self.protocol = self.protocol, None
        if protocol is not None:
            protocol.ended(error)
        callback, self.on_close = self.on_close, None
        if callback is not None:
            callback(self)
        if self.on_gone is not None:
            self.on_gone(self)
        if self.packets is not None:
            self.packets.close()


class _OnePeer:
    """Sink of a client's packet conn: all datagrams are the server's, whatever the address that a
    socket or a node in between reports."""

    __slots__ = ("_address", "_quic")

    def __init__(self, quic: Quic, address: str) -> None:
        self._quic = quic
        self._address = address

    def datagram(self, data: bytes, _: str) -> None:
        self._quic.datagram(data, self._address)

    def ended(self, error: BaseException | None) -> None:
        self._quic.ended(error)


def dial_quic(
    packets: PacketConn, address: str, tls: QuicTLS, settings: QuicSettings, server_name: str
) -> Quic:
    """A connection over a packet conn on the hub, which it takes over. In a green thread.

    Raises HandshakeFailed, ConnectionClosed.
    """

    def send(datagrams: Sequence[bytes], _: str) -> None:
        send_all(packets, datagrams, address)

    info = ConnInfo(peer=packets.info.peer, local=packets.info.local)
    reading = getattr(packets, "read_now", None)
    quic = Quic(tls, settings, send, info, server_name, reading)
    quic.packets = packets
    packets.start(_OnePeer(quic, address))
    quic.connect(address)
    try:
        quic.wait()
    except BaseException:
        quic.close(True)
        raise
    return quic
