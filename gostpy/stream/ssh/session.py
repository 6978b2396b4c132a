"""SSH sessions: many channels, and requests that belong to none.

Wire      see gostpy/wire/ssh/messages.py
Source    RFC 4254; golang.org/x/crypto/ssh is the peer in gost
Differs   a peer may have 1536 channels at a time; all together may keep 16 MiB that was not read,
          above which the whole session is not read. A key exchange has to be over in 30 s.
          gost has no limits.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from gevent import get_hub
from gevent.event import Event

from gostpy.errors import ConnectionClosed, GostError, LimitExceeded, ProtocolError, Rejected
from gostpy.net import timers
from gostpy.net.conn import Conn
from gostpy.net.keepalive import KeepAlive
from gostpy.net.stream import StreamEndpoint
from gostpy.net.timers import timeout
from gostpy.stream.session import Delivered, MuxSession
from gostpy.stream.ssh.channel import FIRST_WINDOW, PACKET, Channel
from gostpy.stream.ssh.link import Link
from gostpy.stream.ssh.requests import Reply
from gostpy.wire.codec import Buffer
from gostpy.wire.ssh.fields import Fields, uint32
from gostpy.wire.ssh.messages import (
    DATA_HEAD,
    Message,
    Open,
    OpenReason,
    global_request,
    open_confirmation,
    open_failure,
)
from gostpy.wire.ssh.transport import BY_APPLICATION, PROTOCOL_ERROR, Disconnected, disconnect

__all__ = ["MOST_CHANNELS", "OpenRefused", "Session"]

MOST_CHANNELS = 1536
"""A channel costs 8 to 10 KiB with the green thread that serves it: 16 MiB in all."""

_HELD_LIMIT = 16 << 20
_OPEN_TIMEOUT = 30.0
_UNREAD_LIMIT = 1 << 20  # answers that wait for a peer that does not read
_EXCHANGE_TIMEOUT = 30.0
_MOST_UNANSWERED = 256  # requests of the peer that wait for their handler

_DATA = int(Message.DATA)
_PACK_DATA, _UNPACK_DATA = DATA_HEAD.pack, DATA_HEAD.unpack_from
_CHANNEL_MESSAGES = range(Message.OPEN_CONFIRMATION, Message.CHANNEL_FAILURE + 1)


class OpenRefused(ConnectionClosed):
    """The peer does not open a channel. Attribute: ``reason``, an :class:`OpenReason`."""

    def __init__(self, reason: int, text: str) -> None:
        self.reason = reason
        super().__init__(f"SSH peer refused the channel: {text or 'no reason given'} ({reason})")


class Session(MuxSession):
    """Base of the sessions of ssh and sshd; see :class:`MuxSession` for what it inherits.

    Args:
        link: after login; the session takes it over with ``start``.
        deliver: called on the hub with a conn for each channel that the peer opens.
    """

    name = "ssh"

    def __init__(self, link: Link, client: bool, deliver: Delivered) -> None:
        super().__init__(link.conn, client, deliver, _HELD_LIMIT)
        self.transport = link.transport
        self._link = link
        self._next = 0
        self._opening: dict[int, _Opening] = {}
        self._replies: deque[Reply] = deque()  # owed to the peer
        self._asked: deque[Callable[[bytes | None], None]] = deque()  # owed by the peer
        self._exchanging: timers.Entry | None = None

    # -- to be defined by the kind of session ------------------------------------------------------

    def channel_asked(self, asked: Open, channel: Channel) -> None:
        """The peer wants a channel: ``accept_open`` and ``admit`` it, or have somebody do so.

        Raises Rejected: it does not get one, because of ``channel.refusal``.
        """
        channel.refusal = OpenReason.UNKNOWN_TYPE
        raise Rejected(f"unsupported channel type: {asked.kind[:40]}")

    def request_asked(self, name: str, fields: Fields, reply: Reply | None) -> None:
        """A request that belongs to no channel; ``reply`` is None if none is wanted."""
        if reply is not None:
            reply.give(False)

    # -- life --------------------------------------------------------------------------------------

    def start(self) -> None:
        transport = self.transport
        transport.emit = self._emit
        transport.receive = self._receive
        transport.resumed = self._resumed
        for part in self._link.take_output():  # what had to be answered there
            self._emit(part, b"")
        try:
            for payload in self._link.take():  # said right after the login
                self._receive(memoryview(payload))
        except GostError as error:
            self.fail(error)
        if self.alive:
            super().start()

    def feed(self, data: Buffer) -> None:
        self.transport.feed(data)
        self._look_after()

    def fail(self, error: BaseException) -> None:
        if self.alive and isinstance(error, ProtocolError) and not isinstance(error, Disconnected):
            self._say_goodbye(PROTOCOL_ERROR, str(error))
            self._end(error, False)
        elif isinstance(error, Disconnected) and error.reason == BY_APPLICATION:
            super().fail(ConnectionClosed(str(error)))  # a regular end
        else:
            super().fail(error)

    def close(self) -> None:
        if self.alive:
            self._say_goodbye(BY_APPLICATION, "closed")
        super().close()

    def _say_goodbye(self, reason: int, text: str) -> None:
        if self.transport.session_id is not None:
            self._emit(*self.transport.seal(disconnect(reason, text)))
            self.flush()

    def _end(self, error: BaseException, now: bool) -> None:
        if self.alive:
            self.transport.stopped = True
            self._stop_waiting()
        super()._end(error, now)

    def _bury(self) -> None:
        opening, self._opening = self._opening, {}
        for each in opening.values():
            each.failed(ConnectionClosed(str(self.error)))
        asked, self._asked = self._asked, deque()
        for answered in asked:
            answered(None)
        super()._bury()

    @property
    def busy(self) -> bool:
        return super().busy or self.stream_count >= MOST_CHANNELS

    @property
    def stream_count(self) -> int:
        return len(self._streams) + len(self._opening)

    # -- out ---------------------------------------------------------------------------------------

    def send(self, payload: bytes) -> None:
        """Send a message at the end of the loop turn."""
        if not self.alive:
            return
        self.transport.send(payload)
        self._look_after()

    def _emit(self, head: Buffer, body: Buffer) -> None:
        if not self._corked:
            get_hub().loop.run_callback(self.flush)
        self._corked += (head, body)
        if self.full:
            self._unread += len(head) + len(body)

    def _look_after(self) -> None:
        """The transport has answered by itself, perhaps, or begun a key exchange."""
        if self._unread > _UNREAD_LIMIT:
            self.fail(ProtocolError("SSH peer asks for answers and does not read them"))
        elif self.transport.holding and self._exchanging is None and self.alive:
            self._exchanging = timers.after(_EXCHANGE_TIMEOUT, self._exchange_lasts)

    def _exchange_lasts(self) -> None:
        self.fail(ProtocolError("SSH peer does not end a key exchange"))

    def _stop_waiting(self) -> None:
        if self._exchanging is not None:
            self._exchanging.cancel()
            self._exchanging = None

    def send_channel(self, channel: StreamEndpoint, remote: int, data: Buffer, limit: int) -> bool:
        """Send data of a channel, at most ``limit`` bytes in a message, while not ``holding``.

        False: the channel is told by ``drained`` when to go on.
        """
        transport = self.transport
        size = len(data)
        if size <= limit:
            sealed = transport.seal(_PACK_DATA(_DATA, remote, size), data)
            accepted = self.send_data(channel, *sealed)
        else:
            view = memoryview(data)
            packets: list[Buffer] = []
            for start in range(0, size, limit):
                piece = view[start : start + limit]
                packets += transport.seal(_PACK_DATA(_DATA, remote, len(piece)), piece)
            accepted = self.send_now(channel, packets)
        if transport.due:
            transport.rekey()
            self._look_after()
        return accepted

    def _resumed(self) -> None:
        """A key exchange is over: what waited for that goes on in a callback of its own."""
        self._stop_waiting()
        get_hub().loop.run_callback(self._go_on_sending)

    def _go_on_sending(self) -> None:
        for channel in list(self._streams.values()):
            if self.alive and not self.transport.holding:
                channel.credit(0)
        if self.alive and not self.full:
            self._drained()

    # -- channels ----------------------------------------------------------------------------------

    def _add(self) -> Channel:
        while self._next in self._streams or self._next in self._opening:
            self._next = (self._next + 1) & 0xFFFFFFFF
        channel = Channel(self, self._next)
        self._next = (self._next + 1) & 0xFFFFFFFF
        return channel

    def open_channel(self, kind: str, fields: bytes = b"") -> Conn:
        """Ask for a channel and wait.

        Raises OpenRefused, ConnectionClosed, TimeoutError; LimitExceeded: there are too many.
        """
        if not self.alive:
            raise ConnectionClosed(str(self.error or "session is closed"))
        if self.stream_count >= MOST_CHANNELS:
            raise LimitExceeded(f"more than {MOST_CHANNELS} channels")
        channel = self._add()
        opening = self._opening[channel.id] = _Opening(channel)
        self.send(Open(kind, channel.id, FIRST_WINDOW, PACKET, fields).encode())
        try:
            with timeout(_OPEN_TIMEOUT, "SSH peer does not answer"):
                opening.done.wait()
        except BaseException:
            opening.given_up = True
            raise
        if opening.error is not None:
            raise opening.error
        assert opening.conn is not None
        return opening.conn

    def accept_open(self, channel: Channel) -> None:
        """Tell the peer that its channel is open."""
        channel.asked = False
        self.send(open_confirmation(channel.remote, channel.id, FIRST_WINDOW, PACKET))

    def refuse_open(self, channel: Channel) -> None:
        """Tell the peer that it does not get its channel."""
        reason = channel.refusal
        channel.asked = False
        self._streams.pop(channel.id, None)
        self.send(open_failure(channel.remote, reason, _REASONS.get(reason, "refused")))

    def forget(self, channel: Channel) -> None:
        """Both sides have closed it."""
        self._streams.pop(channel.id, None)

    # -- in ----------------------------------------------------------------------------------------

    def _receive(self, payload: memoryview) -> None:
        """A message of the peer. Raises ProtocolError."""
        kind = payload[0]
        if kind == _DATA and len(payload) >= 9:
            _, number, size = _UNPACK_DATA(payload)
            if size != len(payload) - 9:
                raise ProtocolError("SSH data message of a wrong size")
            channel = self._streams.get(number)
            if channel is None:
                raise ProtocolError(f"SSH data for channel {number}, which is not open")
            channel.arrived(payload[9:])
            return
        fields = Fields(payload, 1)
        if kind in _CHANNEL_MESSAGES:
            self._about_channel(kind, fields.uint32(), fields)
        elif kind == Message.CHANNEL_OPEN:
            self._opened(Open.read(fields))
        elif kind == Message.GLOBAL_REQUEST:
            self._requested(fields)
        elif kind in (Message.REQUEST_SUCCESS, Message.REQUEST_FAILURE):
            if not self._asked:
                raise ProtocolError("SSH peer answers what was not asked")
            self._asked.popleft()(fields.rest if kind == Message.REQUEST_SUCCESS else None)
        else:
            raise ProtocolError(f"unexpected SSH message {kind}")

    def _about_channel(self, kind: int, number: int, fields: Fields) -> None:
        if kind in (Message.OPEN_CONFIRMATION, Message.OPEN_FAILURE):
            self._answered(kind, number, fields)
            return
        channel: Channel | None = self._streams.get(number)
        if channel is None:
            raise ProtocolError(f"SSH message {kind} for channel {number}, which is not open")
        if kind == Message.WINDOW_ADJUST:
            channel.credit(fields.uint32())
        elif kind == Message.EOF:
            channel.peer_end()
        elif kind == Message.CLOSE:
            channel.was_closed()
        elif kind == Message.EXTENDED_DATA:
            fields.uint32()
            channel.ignored(len(fields.string()))
        elif kind == Message.CHANNEL_REQUEST:
            fields.string()
            if fields.boolean():
                self.send(bytes((Message.CHANNEL_FAILURE,)) + uint32(channel.remote))
        else:  # data that is cut, or the answer to a request that was not made
            raise ProtocolError(f"unexpected SSH message {kind}")

    def _opened(self, asked: Open) -> None:
        """The peer asks for a channel."""
        channel = self._add()
        channel.confirmed(asked.sender, asked.window, asked.packet)
        channel.asked = True
        try:
            if len(self._streams) >= MOST_CHANNELS:
                channel.refusal = OpenReason.SHORTAGE
                raise LimitExceeded(f"more than {MOST_CHANNELS} channels")
            self._streams[channel.id] = channel
            self.channel_asked(asked, channel)
        except Rejected:
            self.refuse_open(channel)

    def _answered(self, kind: int, number: int, fields: Fields) -> None:
        """The peer says whether a channel is open."""
        opening = self._opening.get(number)
        if opening is None:
            raise ProtocolError(f"SSH peer answers for channel {number}, which was not asked for")
        if kind == Message.OPEN_FAILURE:
            reason, text = fields.uint32(), fields.string()
            del self._opening[number]
            opening.failed(OpenRefused(reason, text.decode("utf-8", "replace")[:200]))
            return
        channel = opening.channel
        channel.confirmed(fields.uint32(), fields.uint32(), fields.uint32())
        del self._opening[number]  # not before: who waits hears of an answer that is wrong
        self._streams[number] = channel
        opening.conn = self.make_conn(channel)  # now: data may follow at once
        opening.done.set()
        if opening.given_up:
            opening.conn.close(True)

    # -- requests ----------------------------------------------------------------------------------

    def ask(self, name: str, fields: bytes, answered: Callable[[bytes | None], None]) -> None:
        """Send a request; ``answered`` gets the fields of the answer on the hub, None: refused."""
        if not self.alive:
            raise ConnectionClosed(str(self.error or "session is closed"))
        self._asked.append(answered)
        self.send(global_request(name, True, fields))

    def _requested(self, fields: Fields) -> None:
        name, wanted = fields.text(), fields.boolean()
        reply = Reply(self) if wanted else None
        if reply is not None:
            if len(self._replies) >= _MOST_UNANSWERED:
                raise ProtocolError("SSH peer has too many requests that wait")
            self._replies.append(reply)
        self.request_asked(name, fields, reply)

    def send_replies(self) -> None:
        """Send the answers that are due."""
        replies = self._replies
        while replies and replies[0].payload:
            self.send(replies.popleft().payload)

    def keep_pinging(self, interval: float, limit: float, retries: int) -> None:
        """Look from time to time whether the peer lives: any answer says so, also that it knows
        no such request.

        Args:
            interval: seconds from an answer to the next ping.
            limit: seconds for an answer.
            retries: pings in a row without an answer that end the session.
        """

        def probe() -> None:
            number = keeping.asked
            self.ask("ping", b"", lambda _: keeping.answered(number))

        keeping = self._keeping = KeepAlive(
            interval, lambda: False, probe, self._silent, answer=limit, retries=retries
        )

    def _silent(self, silence: float) -> None:
        self.fail(ProtocolError(f"SSH peer was silent for {silence:g} s"))


_REASONS: dict[int, str] = {
    OpenReason.PROHIBITED: "not allowed",
    OpenReason.CONNECT_FAILED: "connect failed",
    OpenReason.UNKNOWN_TYPE: "unsupported channel type",
    OpenReason.SHORTAGE: "too many channels",
}


class _Opening:
    """A channel that the peer was asked for."""

    __slots__ = ("channel", "conn", "done", "error", "given_up")

    def __init__(self, channel: Channel) -> None:
        self.channel = channel
        self.conn: Conn | None = None
        self.done = Event()
        self.error: Exception | None = None
        self.given_up = False

    def failed(self, error: Exception) -> None:
        self.error = error
        self.done.set()
