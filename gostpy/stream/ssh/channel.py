"""One channel of an SSH session as an endpoint.

In    The peer may send what the window allows. It begins small and doubles, up to that of gost,
      each time half of it was consumed: a reader that keeps up soon has a wide one, one that is
      stuck makes this side keep little.
Out   What the peer's window does not allow waits, and the source is told to stop. A peer that takes
      less than 256 bytes in a packet is refused: each packet costs the same work.
End   EOF ends one direction. CLOSE ends both: what came before is still read, what is written
      after it is lost. gost ends its channels by CLOSE alone. Both sides send one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gostpy.errors import ConnectionClosed, ProtocolError
from gostpy.net import timers
from gostpy.net.endpoint import LINGER
from gostpy.net.stream import StreamEndpoint
from gostpy.wire.codec import Buffer
from gostpy.wire.ssh.fields import uint32
from gostpy.wire.ssh.messages import ADJUST, Message, OpenReason, Target

if TYPE_CHECKING:
    from gostpy.stream.ssh.session import Session

__all__ = ["FIRST_WINDOW", "LARGEST_WINDOW", "PACKET", "Channel"]

FIRST_WINDOW = 128 << 10
LARGEST_WINDOW = 2 << 20
PACKET = 32768
"""Data in one message towards us, as in gost."""

_MAX_WINDOW = 0xFFFFFFFF
_SMALLEST_OUT = 256
_LARGEST_OUT = 65536  # data in one message from us, whatever the peer says


class Channel(StreamEndpoint):
    """A channel; ``_out`` holds what the peer's window does not allow yet.

    Attributes:
        id: our number; ``remote`` is the peer's, known once the channel is confirmed.
        asked: the peer has asked for it, and nobody has answered yet. Using it accepts it, closing
            it refuses it with ``refusal``.
        target: where it should lead, of forwarding channels.
    """

    __slots__ = (
        "_allowed",
        "_closing",
        "_consumed",
        "_gone",
        "_linger",
        "_out",
        "_packet",
        "_room",
        "_window",
        "asked",
        "can_half",
        "id",
        "refusal",
        "remote",
        "session",
        "target",
    )

    def __init__(self, session: Session, channel_id: int) -> None:
        super().__init__(session.level)
        self.session = session
        self.id = channel_id
        self.remote = 0
        self.can_half = True
        self.asked = False
        self.refusal: int = OpenReason.CONNECT_FAILED
        self.target: Target | None = None
        self._window = self._allowed = FIRST_WINDOW  # the peer may send
        self._consumed = 0  # not yet granted again
        self._room = 0  # we may send
        self._packet = PACKET
        self._out: bytearray | None = None
        self._closing = False  # CLOSE was sent
        self._gone = False  # CLOSE was received
        self._linger: timers.Entry | None = None

    def confirmed(self, remote: int, window: int, packet: int) -> None:
        """The peer's side is known. Raises ProtocolError."""
        if packet < _SMALLEST_OUT:
            raise ProtocolError(f"SSH peer takes only {packet} bytes in a packet")
        self.remote, self._room, self._packet = remote, window, min(packet, _LARGEST_OUT)

    # -- out -------------------------------------------------------------------------------------

    def write(self, data: Buffer) -> bool:
        if self.asked:
            self.session.accept_open(self)
        if self.local_ended or self.conn is None:
            raise ConnectionClosed(str(self.reason or "channel is closed"))
        if self._send(data):
            return True
        self.full = True
        return False

    def _send(self, data: Buffer) -> bool:
        if self._gone:
            return self._discard()
        if self._out is not None:
            self._out += data
            return False
        session = self.session
        room = 0 if session.transport.holding else self._room
        size = len(data)
        if size <= room:
            self._room = room - size
            return not size or session.send_channel(self, self.remote, data, self._packet)
        view = memoryview(data)
        if room:
            self._push(view[:room])
        self._out = bytearray(view[room:])
        return False

    def _discard(self) -> bool:
        """The peer takes no more. That is an error only once all of its own was read."""
        if self.waiting:
            return True
        raise ConnectionClosed("the channel was closed by the peer")

    def _push(self, data: Buffer) -> bool:
        size = len(data)
        self._room -= size
        return not size or self.session.send_channel(self, self.remote, data, self._packet)

    def credit(self, size: int) -> None:
        """The peer may be sent ``size`` more bytes. Raises ProtocolError."""
        self._room += size
        if self._room > _MAX_WINDOW:
            raise ProtocolError(f"SSH window of channel {self.id} is too large")
        out = self._out
        if out is None or self.session.transport.holding:
            return
        room = self._room
        if room < len(out):
            if room:
                piece = bytes(memoryview(out)[:room])
                del out[:room]
                self._push(piece)
            return
        self._out = None
        accepted = self._push(out)
        if self.local_ended:
            self._finish_sending()
            if self.conn is None:
                self._say_close()
        elif accepted:
            self.drained()

    def drained(self) -> None:
        if self._out is None:  # else the window is what is waited for
            super().drained()

    def _finish_sending(self) -> None:
        # without a conn CLOSE follows, which says it as well
        if self._out is None and self.conn is not None and not self.asked:
            self.session.send(bytes((Message.EOF,)) + uint32(self.remote))

    def _closed(self, now: bool) -> None:
        if self.asked:
            self.session.refuse_open(self)
        elif self._out is None or now or self._gone:
            self._say_close()
        else:
            self._linger = timers.after(LINGER, self._say_close)
            # the peer may wait, too, for room that nobody makes by reading
            self.consumed(self._window - self._allowed - self._consumed)

    def _say_close(self) -> None:
        if self._linger is not None:
            self._linger.cancel()
            self._linger = None
        self._out = None
        if not self._closing:
            self._closing = True
            self.session.send(bytes((Message.CLOSE,)) + uint32(self.remote))
            if self._gone:
                self.session.forget(self)

    # -- in --------------------------------------------------------------------------------------

    def start(self) -> None:
        if self.asked:
            self.session.accept_open(self)
        super().start()

    def recv(self) -> Buffer:
        if self.asked:
            self.session.accept_open(self)
        return super().recv()

    def arrived(self, data: Buffer) -> None:
        """Data of the peer. Raises ProtocolError: more than was allowed."""
        self._count(len(data))
        if self.peer_ended:
            raise ProtocolError(f"SSH peer sends data after the end of channel {self.id}")
        if self._flowing and not self._arrived:
            self._give(data)
        elif self.conn is not None:
            self.deliver(data)
        else:
            self.consumed(len(data))

    def ignored(self, size: int) -> None:
        """Data that nobody wants (standard error): its room is given back."""
        self._count(size)
        self.consumed(size)

    def _count(self, size: int) -> None:
        self._allowed -= size
        if self._allowed < 0 or size > PACKET:
            raise ProtocolError(f"SSH peer overran the window of channel {self.id}")

    def consumed(self, size: int) -> None:
        if self.peer_ended or self._closing:
            return
        consumed = self._consumed = self._consumed + size
        window = self._window
        if consumed * 2 >= window:
            more = min(window, LARGEST_WINDOW - window)
            self._window = window + more
            self._consumed = 0
            self._allowed += consumed + more
            self.session.send(ADJUST.pack(Message.WINDOW_ADJUST, self.remote, consumed + more))

    def kept(self, size: int) -> None:
        self.session.hold(size)

    def was_closed(self) -> None:
        """The peer is done with the channel."""
        if self._gone:
            raise ProtocolError(f"SSH peer closed channel {self.id} twice")
        self._gone = True
        self.can_half = False
        if self._out is not None:
            self._out = None
            self._dropped = True
            self._wake_writer()
        if self._closing:
            self.session.forget(self)
        elif self.conn is None:
            self._say_close()
        elif not self.peer_ended:
            self.peer_end()
        else:
            self._say_close()
            if not self.local_ended:  # it does not listen to what we would still say
                self.abort(ConnectionClosed("the channel was closed by the peer"))
