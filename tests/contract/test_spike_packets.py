"""The contracts are enough for a mux over datagrams: a toy reliable channel under smux.

Wire      KIND(1) | SEQ(4) | payload; every datagram is answered by the next number that is wanted
Toy       go-back-N with a fixed window; a real one (kcp, quic) has more to say about time
"""

from __future__ import annotations

import struct
from collections import deque
from typing import Any

import gevent
import pytest

from gostpy.channel.dialer import StackDialer
from gostpy.channel.listener import StackListener
from gostpy.channel.mux import DialOptions, ListenOptions, Mux
from gostpy.guard.points import GuardPoints
from gostpy.interfaces import Context
from gostpy.net import timers
from gostpy.net.conn import Conn, format_address
from gostpy.net.packet import PacketConn, dial_udp, listen_udp
from gostpy.net.pipe import pipe
from gostpy.net.sessions import Sessions
from gostpy.net.stream import StreamEndpoint
from gostpy.observe.log import silent
from gostpy.service import Service
from gostpy.wire.codec import Buffer
from tests.contract.test_channels import MEBIBYTE

DATA, ACK, FIN = range(3)
PIECE, WINDOW, WAITING, AGAIN = 1000, 64, 256, 0.006
HEAD = struct.Struct("!BI")
SOME = MEBIBYTE[: 100 << 10]


class Reliable(StreamEndpoint):
    """A byte stream over a packet conn; the endpoint is the sink of its datagrams."""

    def __init__(self, packets: PacketConn, lose: int = 0) -> None:
        super().__init__(0)
        self.packets = packets
        self._queue: deque[tuple[int, bytes]] = deque()
        self._flight: deque[tuple[int, bytes]] = deque()
        self._base = 0
        self._wanted = 0
        self._lose = lose
        self._count = 0
        self._watching = False
        packets.start(self)

    # -- out -------------------------------------------------------------------------------------

    def _send(self, data: Buffer) -> bool:
        view = memoryview(data)
        for at in range(0, len(view), PIECE):
            self._queue.append((DATA, bytes(view[at : at + PIECE])))
        self._pump()
        return len(self._queue) < WAITING

    def _finish_sending(self) -> None:
        self._queue.append((FIN, b""))
        self._pump()

    def _pump(self) -> None:
        while self._queue and len(self._flight) < WINDOW:
            self._flight.append(self._queue.popleft())
            self._transmit(len(self._flight) - 1)
        if self._flight and not self._watching:
            self._watching = True
            base = self._base
            timers.after(AGAIN, lambda: self._again(base))

    def _transmit(self, at: int) -> None:
        self._count += 1
        if self._lose and not self._count % self._lose:
            return  # lost on the way
        kind, payload = self._flight[at]
        self._tell(HEAD.pack(kind, self._base + at) + payload)

    def _tell(self, datagram: bytes) -> None:
        if not self.packets.closed:
            self.packets.send_now(datagram)

    def _again(self, base: int) -> None:
        self._watching = False
        if self._base == base:
            for at in range(len(self._flight)):
                self._transmit(at)
        self._pump()

    # -- sink of the packet conn -----------------------------------------------------------------

    def datagram(self, data: bytes, address: str) -> None:
        kind, number = HEAD.unpack_from(data)
        if kind == ACK:
            while self._flight and self._base < number:
                self._flight.popleft()
                self._base += 1
            self._pump()
            if len(self._queue) < WAITING // 2:
                self.drained()
            if self.conn is None and not self._flight and self.peer_ended:
                self.packets.close()
            return
        if number == self._wanted:
            self._wanted += 1
            if kind == FIN:
                self.peer_end()
            else:
                self.deliver(data[HEAD.size :])
        self._tell(HEAD.pack(ACK, self._wanted))

    def ended(self, error: BaseException | None) -> None:
        self.abort(error or EOFError("the packet conn is gone"))

    def _closed(self, now: bool) -> None:
        if now:
            self.packets.close()


class Carrier:
    """Sessions of a udp socket, and sockets with one peer, as conns."""

    network = "udp"

    def __init__(self, address: str, lose: int) -> None:
        self.address = address
        self.lose = lose

    def listen(self, accepted: Any) -> Any:
        def born(session: Any) -> None:
            session.held = True
            accepted(Conn(Reliable(session, self.lose), session.info), None)

        return Sessions(listen_udp(self.address), born)

    def open(self, open: Any) -> Conn:
        packets = open("udp", self.address)
        return Conn(Reliable(packets, self.lose), packets.info)


class EchoHandler:
    def handle(self, conn: Any) -> None:
        while data := conn.recv():
            conn.sendall(data)
        conn.shut()


@pytest.mark.parametrize("lose", [0, 23], ids=["all-arrive", "every-23rd-lost"])
def test_mux_over_datagrams(lose: int) -> None:
    guards = GuardPoints()
    context = Context("127.0.0.1:0", silent())
    listener = StackListener(
        Carrier("127.0.0.1:0", lose), [], Mux(ListenOptions(), context), guards, context
    )
    service = Service("toy", listener, EchoHandler(), guards, silent())
    service.listen()
    service.start()
    address = service.address
    dialing = Context(address, silent(), node="toy")
    dialer = StackDialer(Carrier(address, lose), [], Mux(DialOptions(), dialing), dialing)
    try:
        conns = [dialer.dial(lambda _, to: dial_udp(to), ()) for _ in range(3)]
        assert len({conn.endpoint.session for conn in conns}) == 1
        for conn in conns:
            sending = gevent.spawn(conn.sendall, SOME)
            assert conn.read_exact(len(SOME)) == SOME
            sending.get(timeout=5)
    finally:
        dialer.close()
        service.close()


def test_relay_over_datagrams() -> None:
    """Hub side: two reliable endpoints joined by a pipe."""
    ends = []
    for _ in range(2):
        packets = listen_udp("127.0.0.1:0")
        far = dial_udp(format_address(packets.sock.getsockname()))
        packets.sock.connect(far.sock.getsockname())
        packets._peer = format_address(far.sock.getsockname())
        ends += [Conn(Reliable(packets)), Conn(Reliable(far))]
    pipe(ends[0], ends[2])
    sending = gevent.spawn(ends[1].sendall, MEBIBYTE)
    assert ends[3].read_exact(len(MEBIBYTE)) == MEBIBYTE
    sending.get(timeout=5)
    for conn in ends:
        conn.close(True)
