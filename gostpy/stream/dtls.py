"""DTLS: a byte stream on datagrams, both sides.

Everything runs on the hub, the handshake too: the endpoint is the sink of its packet conn, and a
green thread only waits for the handshake's end.

Wire      RFC 6347, RFC 7627; each write is cut into records of ``bufferSize`` bytes, one a datagram
In        records go to OpenSSL one by one; its plaintexts are put back in order by their numbers.
          A record that is missing after a second, or is 64 behind, ends the conn.
Out       nothing retransmits data, and nothing tells how fast the peer takes it. What is written
          queues here and leaves in bursts at a steady rate. gost reads from a socket buffer of
          208 KiB, which 92 datagrams fill, and may not look at it for 10 ms and more when it is
          busy: it gets less. OpenSSL's first record says DTLS 1.0, that of pion (gost) 1.2.
End       close_notify; both directions end together
"""

from __future__ import annotations

from typing import Any

from gevent import get_hub, getcurrent
from OpenSSL import SSL

from gostpy.errors import ConnectionClosed, HandshakeFailed, ProtocolError
from gostpy.net import timers
from gostpy.net.conn import Conn
from gostpy.net.endpoint import LINGER
from gostpy.net.metered import rounded
from gostpy.net.packet import PacketConn
from gostpy.net.sessions import Session
from gostpy.net.stream import StreamEndpoint
from gostpy.net.threaded import hubbed
from gostpy.stream.dtlscontext import DTLSContext, check_name
from gostpy.wire.codec import Buffer
from gostpy.wire.dtls import (
    ALERT,
    APPLICATION_DATA,
    HANDSHAKE,
    WINDOW,
    InOrder,
    datagrams,
    records,
    same_hello,
)

__all__ = ["DTLSEndpoint", "accept_dtls", "connect_dtls"]

RATE, BURST = 8 << 20, 20
"""Bytes a second that leave a conn, and datagrams that leave at once."""

PION_RATE, PION_BURST = 4 << 20, 10
"""The same towards gost."""

_VERSION_10 = b"\xfe\xff"
_TICK = 0.002  # the least after which a timer does not fire within the same turn
_HIGH, _LOW = 65536, 16384
_MOST_WAITING = 8 << 20
"""Bytes that wait here for a reader who is slower than the peer."""

_GAP = 1.0
_FLIGHT_INTERVAL = 1.0
_LONGEST_INTERVAL = 60.0
_RECORD = 16384
_FLIGHT = 65536
_OVERHEAD = 96
_READY, _SHAKING, _FAILED = range(3)


class DTLSEndpoint(StreamEndpoint):
    """One DTLS connection over a packet conn with one peer, which it owns.

    Args:
        size: bytes of data in one record.
        mtu: bytes of a datagram of the handshake.
        interval: seconds after which a flight is sent again.
    """

    __slots__ = (
        "_again",
        "_burst",
        "_credit",
        "_early",
        "_flight",
        "_gap",
        "_heard",
        "_hello",
        "_interval",
        "_late",
        "_mtu",
        "_order",
        "_out",
        "_packets",
        "_paid",
        "_pumping",
        "_rate",
        "_repeats",
        "_size",
        "_ssl",
        "_waiter",
        "linger",
        "state",
    )

    def __init__(
        self, packets: PacketConn, ssl: SSL.Connection, size: int, mtu: int, interval: float
    ) -> None:
        super().__init__(0)
        self._packets = hubbed(packets)
        self._ssl = ssl
        self._size = size
        self._mtu = mtu
        self._interval = interval
        self._flight: list[bytes] = []
        self._again: timers.Entry | None = None
        self._waiter: Any = None
        self._order = InOrder()
        self._repeats = 0  # of flights, on the dialing side
        self._heard = False
        self._hello = b""  # of the client, on the serving side
        self._early: list[Any] | None = []  # data that overtook the end of the handshake
        self._late: Any = None  # an alert that came before the data it follows
        self._gap: timers.Entry | None = None
        self._out = bytearray()
        self._pumping = False
        self._rate, self._burst = PION_RATE, PION_BURST
        self._credit = 0.0
        self._paid = timers.now()
        self.state = _SHAKING
        self.linger: timers.Entry | None = None

    # -- handshake -------------------------------------------------------------------------------

    @property
    def shaking(self) -> bool:
        """The handshake is under way."""
        return self.state == _SHAKING

    def shake(self) -> None:
        """Run the handshake; the caller sets the deadline. Raises HandshakeFailed, OSError."""
        self._paid = timers.now()
        self._packets.start(self)
        self._step()
        try:
            while self.state == _SHAKING:
                if self.reason is not None:
                    raise HandshakeFailed(f"dtls: {self.reason}") from self.reason
                self._waiter = getcurrent()
                get_hub().switch()
        finally:
            self._waiter = None
            self._calm()
        if self.state == _FAILED:
            raise HandshakeFailed(str(self.reason)) from self.reason

    def first(self, datagram: Buffer) -> None:
        """The peer's first datagram tells what it is."""
        self._heard = True
        if bytes(datagram[1:3]) == _VERSION_10:
            self._rate, self._burst = RATE, BURST

    def greeted(self, hello: bytes) -> None:
        """The serving side has the client's hello already."""
        self._hello = hello
        self.first(hello)

    def _step(self) -> None:
        """As far as the handshake goes with what has come."""
        try:
            self._ssl.do_handshake()
            self.state = _READY
        except SSL.WantReadError:
            pass
        except SSL.Error as error:
            self.reason = HandshakeFailed(_explain(error))
            self.state = _FAILED
        self._tell()
        if self.state == _SHAKING:
            return
        self._calm()
        self._wake()
        early, self._early = self._early, None
        if self.state == _READY:
            for record in early or ():
                self._receive(record)

    def _tell(self) -> bool:
        """Send what OpenSSL has to say; whether that is anything."""
        try:
            flight = self._ssl.bio_read(_FLIGHT)
        except SSL.WantReadError:
            return False
        self._flight = datagrams(flight, self._mtu)
        self._transmit()
        if self.state == _SHAKING:
            self._arm(self._interval)
        return True

    def _transmit(self) -> None:
        for datagram in self._flight:
            self._give_out(datagram)

    def _arm(self, interval: float) -> None:
        self._calm()
        self._again = timers.after(interval, lambda: self._repeat(interval))

    def _calm(self) -> None:
        if self._again is not None:
            self._again.cancel()
            self._again = None

    def _repeat(self, interval: float) -> None:
        """No answer in time: the flight is sent again."""
        self._again = None
        if self.state != _SHAKING or self._packets.closed:
            return
        try:
            self._ssl.DTLSv1_handle_timeout()
        except SSL.Error as error:
            self.reason = HandshakeFailed(_explain(error))
            self.state = _FAILED
            self._wake()
            return
        try:
            self._flight = datagrams(self._ssl.bio_read(_FLIGHT), self._mtu)
        except SSL.WantReadError:
            pass  # OpenSSL's own second is not over: the same datagrams do as well
        if not self._hello:
            self._repeats += 1
        self._transmit()
        self._arm(min(interval * 2, _LONGEST_INTERVAL))

    def _wake(self) -> None:
        if self._waiter is not None:
            get_hub().loop.run_callback(self._switch)

    def _switch(self) -> None:
        if self._waiter is not None:
            self._waiter.switch()

    # -- sink of the packet conn -----------------------------------------------------------------

    def datagram(self, data: bytes, address: str) -> None:
        if not self._heard:
            self.first(data)
        try:
            for record in records(data):
                if record.kind == APPLICATION_DATA:
                    self._receive(record)
                elif record.kind == ALERT and record.epoch and self._order.next < record.number:
                    self._late = record
                    self._watch_gap()
                else:
                    self._control(record)
        except ProtocolError as error:
            self._break(error)

    def ended(self, error: BaseException | None) -> None:
        self._break(error or ConnectionClosed("dtls: the packet conn is gone"))

    def _receive(self, record: Any) -> None:
        ssl = self._ssl
        if self._early is not None:
            if len(self._early) < WINDOW:
                self._early.append(record)
            return
        ssl.bio_write(record.data)
        try:
            data = ssl.recv(_RECORD)
        except SSL.WantReadError:
            return  # forged, damaged or repeated
        except SSL.ZeroReturnError:
            return
        except SSL.Error as error:
            raise ProtocolError(_explain(error)) from error
        number = record.number
        order = self._order
        if number == order.next and not order.gap:
            order.next = number + 1
            self.deliver(data)
        else:
            for part in order.take(number, data):
                if part:
                    self.deliver(part)
            self._watch_gap()
        if self.waiting > _MOST_WAITING:
            raise ProtocolError("dtls: the peer sends faster than its data is taken")

    def _control(self, record: Any) -> None:
        """Handshake messages, alerts; OpenSSL answers what is to be answered."""
        ssl = self._ssl
        if self.state == _READY and record.kind == HANDSHAKE and not record.epoch:
            if isinstance(self._packets, Session) and not same_hello(record.data, self._hello):
                self._packets.begin_anew(bytes(record.data))  # on the same port
            return
        ssl.bio_write(record.data)
        if self.state == _SHAKING:
            if record.epoch and record.kind == HANDSHAKE:
                if self._hello:  # a client sends no data before it has our answer
                    self._order.skip(record.number)
                else:
                    self._order.take(record.number, b"")
            self._step()
            return
        closed = False
        try:
            ssl.recv(_RECORD)
        except SSL.WantReadError:
            pass
        except SSL.ZeroReturnError:
            closed = True
        except SSL.Error as error:
            raise ProtocolError(_explain(error)) from error
        if self._is_genuine(record, self._tell() or closed):
            for part in self._order.take(record.number, b""):
                if part:
                    self.deliver(part)
            self._watch_gap()
        if closed and self._order.gap:
            raise ProtocolError("dtls: datagrams were lost")
        if closed:
            self.peer_end()

    def _is_genuine(self, record: Any, noticed: bool) -> bool:
        """A record without data, which OpenSSL may have dropped as forged, has taken its number.

        It answers a client's repeated Finished, and tells of an end; it is silent about a server's
        Finished that was asked for again. Of these come no more than were asked for.
        """
        if noticed or not record.epoch or record.kind != HANDSHAKE or not self._repeats:
            return noticed and bool(record.epoch)
        self._repeats -= 1
        return True

    def _watch_gap(self) -> None:
        """A missing record has a second to come."""
        late = self._late
        if late is not None and late.number == self._order.next:
            self._late = None
            self._control(late)
            return
        if not self._order.gap and late is None:
            if self._gap is not None:
                self._gap.cancel()
                self._gap = None
        elif self._gap is None:
            wanted = self._order.next
            self._gap = timers.after(_GAP, lambda: self._look_gap(wanted))

    def _look_gap(self, wanted: int) -> None:
        self._gap = None
        try:
            if self._order.next != wanted:
                self._watch_gap()
                return
            late, self._late = self._late, None
            if late is not None:  # if it is not forged, data before it is lost
                self._control(late)
            if self._order.gap or self.peer_ended:
                raise ProtocolError("dtls: datagrams were lost")
        except ProtocolError as error:
            self._break(error)

    def _break(self, error: BaseException) -> None:
        if self.state == _SHAKING:
            self.state = _FAILED
            self.reason = error
            self._wake()
        elif self.conn is None:
            self._gone()
        else:
            self._out.clear()
            self._say_bye()
            self.abort(error)

    # -- out -------------------------------------------------------------------------------------

    def _send(self, data: Buffer) -> bool:
        self._out += data
        if not self._pumping:
            self._pump()
        return len(self._out) < _HIGH

    def _pump(self) -> None:
        """Send as much as the rate allows, and come back for the rest."""
        self._pumping = False
        out, size, packets = self._out, self._size, self._packets
        if packets.closed:
            out.clear()
            return
        now = timers.now()
        credit = min(self._credit + (now - self._paid) * self._rate, float(self._burst * size))
        self._paid = now
        delay = _TICK
        if not packets.congested:
            position = 0
            try:
                while position < len(out) and credit >= size and delay <= _TICK:
                    piece = out[position : position + size]
                    self._ssl.send(piece)
                    delay = max(delay, self._give_out(self._ssl.bio_read(_RECORD + _OVERHEAD)))
                    position += len(piece)
                    credit -= size
            except SSL.Error as error:
                self._break(ProtocolError(_explain(error)))
                return
            del out[:position]
        self._credit = credit
        if out:
            self._pumping = True
            timers.after(_TICK if delay <= _TICK else rounded(delay), self._pump)
        if len(out) <= _LOW:
            self.drained()
        if not out and self.local_ended:
            self._say_bye()

    def _give_out(self, datagram: bytes) -> float:
        """Send; the seconds to wait until the next one."""
        packets = self._packets
        if packets.closed:
            return 0.0
        try:
            return packets.send_now(datagram)
        except OSError as error:
            if self.conn is not None and self.state == _READY:
                get_hub().loop.run_callback(self._break, error)
            return 0.0

    @property
    def unsent(self) -> int:
        return len(self._out)

    def _finish_sending(self) -> None:
        if not self._out:
            self._say_bye()

    def _say_bye(self) -> None:
        if self.state == _READY:
            try:
                self._ssl.shutdown()
                self._give_out(self._ssl.bio_read(_FLIGHT))
            except SSL.Error:
                pass  # nothing to say, or nobody to say it to
        if self.conn is None:
            self._gone()

    def _closed(self, now: bool) -> None:
        if self._out and not now and not self._packets.closed:
            self.linger = timers.after(LINGER, self._gone)
        else:
            self._gone()

    def _gone(self) -> None:
        for entry in (self.linger, self._gap, self._again):
            if entry is not None:
                entry.cancel()
        self._out.clear()
        self._packets.close()


def accept_dtls(
    packets: PacketConn,
    context: DTLSContext,
    *,
    size: int,
    mtu: int,
    interval: float = 0.0,
) -> Conn:
    """The serving side's handshake with a peer whose first datagram, still to be received, is a
    hello with a valid cookie. The conn owns the packet conn.

    Raises HandshakeFailed, OSError. The caller sets the deadline.
    """
    hello, _ = packets.recv_from()
    ssl = SSL.Connection(context.current(), None)
    ssl.set_accept_state()
    ssl.set_ciphertext_mtu(mtu)
    ssl.bio_write(hello)
    try:
        ssl.DTLSv1_listen()
    except SSL.Error as error:
        raise HandshakeFailed(_explain(error)) from error
    return _shaken(packets, ssl, size, mtu, interval, hello)


def connect_dtls(
    packets: PacketConn,
    context: DTLSContext,
    server_name: str,
    *,
    size: int,
    mtu: int,
    interval: float = 0.0,
) -> Conn:
    """The dialing side's handshake; see :func:`accept_dtls`.

    Args:
        server_name: to ask for, and to verify if ``secure``.
    """
    from gostpy.net.dial import is_ip

    ssl = SSL.Connection(context.current(), None)
    ssl.set_connect_state()
    ssl.set_ciphertext_mtu(mtu)
    name = context.settings.server_name or server_name
    if name and not is_ip(name):
        ssl.set_tlsext_host_name(name.encode("idna"))
    conn = _shaken(packets, ssl, size, mtu, interval)
    if context.settings.secure:
        try:
            check_name(ssl, name)
        except HandshakeFailed:
            conn.close()
            raise
    return conn


def _shaken(
    packets: PacketConn,
    ssl: SSL.Connection,
    size: int,
    mtu: int,
    interval: float,
    hello: bytes = b"",
) -> Conn:
    endpoint = DTLSEndpoint(packets, ssl, size, mtu, interval or _FLIGHT_INTERVAL)
    conn = Conn(endpoint, packets.info)
    if hello:
        endpoint.greeted(hello)
    try:
        endpoint.shake()
    except BaseException:
        conn.close(True)
        raise
    return conn


def _explain(error: SSL.Error) -> str:
    """One line: OpenSSL's reasons in words."""
    found = error.args[0] if error.args and isinstance(error.args[0], list) else []
    reasons = [entry[2] for entry in found if len(entry) > 2]
    return f"dtls: {', '.join(reasons) or error or type(error).__name__}"
