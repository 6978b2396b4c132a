"""The dialing side of fake TCP."""

from __future__ import annotations

import _socket
import contextlib
import dataclasses
import errno
from typing import Any

from gostpy.errors import ConnectionClosed, DialFailed, ProtocolError
from gostpy.net.dial import finish_connect, local_addresses, resolve, split_address
from gostpy.net.faketcp.system import BUFFER, VIEW, System, new_flow, reason, select
from gostpy.net.packet import UDPSocket, no_datagram
from gostpy.net.socketfilter import attach, refuse_flags, select_segments
from gostpy.net.sockopt import DEFAULT, SocketOptions, open_socket
from gostpy.wire.rawtcp import ACK, FIN, PSH, RST, SYN, Segment

__all__ = ["FakeTCPSocket", "dial_fake_tcp"]


def dial_fake_tcp(
    address: str, options: SocketOptions = DEFAULT, *, timeout: float = 10.0
) -> FakeTCPSocket:
    """A packet conn with one peer. Raises DialFailed."""
    options = dataclasses.replace(options, mptcp=False).usual()
    last: OSError | None = None
    try:
        for family, target in resolve(*split_address(address)):
            for local in local_addresses(options, family):
                try:
                    return _connect(family, target, options, local, timeout)
                except OSError as error:
                    last = error
    except OSError as error:
        last = error
    raise DialFailed(f"dial ftcp {address}: {reason(last)}", address=address) from last


def _connect(
    family: int, target: Any, options: SocketOptions, local: Any, wait: float
) -> FakeTCPSocket:
    """Raises OSError."""
    sock = open_socket(family, _socket.SOCK_STREAM, options)
    raw: _socket.socket | None = None
    try:
        raw = open_socket(family, _socket.SOCK_RAW, options, _socket.IPPROTO_TCP)
        if local is not None:
            local.apply(sock)
            local.apply(raw)
        if not sock.getsockname()[1]:
            sock.bind(("", 0))
        port = sock.getsockname()[1]
        attach(sock, refuse_flags(PSH))
        select(raw, select_segments(family, port, PSH | SYN | FIN | RST, target[1]))
        raw.connect((target[0], 0, *target[2:]))
        finish_connect(sock, target, wait)
        return FakeTCPSocket(sock, raw, target)
    except BaseException:
        sock.close()
        if raw is not None:
            raw.close()
        raise


class FakeTCPSocket(UDPSocket):
    """The dialing side; it owns both sockets."""

    __slots__ = ("_flow", "_ipv4", "_system")

    def __init__(self, sock: _socket.socket, raw: _socket.socket, target: Any) -> None:
        local = sock.getsockname()
        self._flow = new_flow(sock.family, local, target)
        self._ipv4 = sock.family == _socket.AF_INET
        super().__init__(raw, target[:2])
        self.info.local = local[:2]
        self._system = System(sock, self._over)
        with contextlib.suppress(BlockingIOError):
            while not self._flow.known:  # the answer of the handshake came to the raw socket, too
                self._next()
        if not self._flow.known:
            self.close()
            raise OSError(errno.EPROTO, "the raw socket did not see the handshake")

    def _next(self) -> bytes | None:
        size = self.sock.recv_into(BUFFER)
        start = (BUFFER[0] & 15) * 4 if self._ipv4 else 0
        return self._flow.arrived(Segment.read(VIEW[start:size]))

    def _receive(self) -> tuple[bytes, str]:
        try:
            data = self._next()
        except ProtocolError as error:
            raise ConnectionClosed(str(error)) from error
        if data is None:
            raise no_datagram()
        return data, self._peer

    def _send(self, data: bytes, address: str) -> None:
        self.sock.send(self._flow.datagram(data))

    def _over(self) -> None:
        """The system's connection is gone."""
        self._broken(ConnectionClosed("the peer closed the flow"))

    def _close(self) -> None:
        with contextlib.suppress(OSError):
            self.sock.send(self._flow.datagram(b"", FIN | ACK))
        self._system.close()
        super()._close()
