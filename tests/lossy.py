"""A relay of datagrams that loses, delays and reorders some of them, for tests.

Each client of the relay gets a socket of its own towards the target, so that the target sees as
many peers as there are. The choice is made by a seeded generator: the same every time for the same
datagrams. Everything runs on the hub of the test's process::

    with Lossy(("127.0.0.1", port), loss=0.05, delay=0.05) as relay:
        dial(relay.address)
"""

from __future__ import annotations

import random
import socket
from types import TracebackType
from typing import Any

import gevent

__all__ = ["Lossy"]


class Lossy:
    """See the module's description.

    Args:
        target: where datagrams go, ``(host, port)``.
        loss: part of the datagrams that are lost, each way.
        delay: seconds that a datagram takes, each way.
        jitter: seconds more, at random: datagrams overtake each other.
        copies: part of the datagrams that arrive twice.
        most: bytes of a datagram that passes, 0 = any.
        seed: of the choices.

    Attributes:
        address: ``(host, port)`` to dial in place of the target.
        dead: nothing passes any more, as if the cable were cut.
        seen: every datagram that went to the target, if ``keep`` is set.
        passed, lost: datagrams.
    """

    def __init__(
        self,
        target: tuple[str, int],
        *,
        loss: float = 0.0,
        delay: float = 0.0,
        jitter: float = 0.0,
        copies: float = 0.0,
        most: int = 0,
        seed: int = 1,
        keep: bool = False,
    ) -> None:
        self.target = target
        self.loss, self.delay, self.jitter, self.copies = loss, delay, jitter, copies
        self.most = most
        self.dead = False
        self.passed = self.lost = 0
        self.keep = keep
        self.seen: list[bytes] = []
        self._random = random.Random(seed)
        self._family = socket.AF_INET6 if ":" in target[0] else socket.AF_INET
        self._front = self._bound((target[0], 0))
        self.address: tuple[str, int] = self._front.getsockname()[:2]
        self._behind: dict[Any, socket.socket] = {}
        self._running = [gevent.spawn(self._forward)]

    def _bound(self, address: tuple[str, int]) -> socket.socket:
        sock = socket.socket(self._family, socket.SOCK_DGRAM)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        sock.bind(address)
        return sock

    def __enter__(self) -> Lossy:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        gevent.killall(self._running)
        self._front.close()
        for sock in self._behind.values():
            sock.close()

    def _forward(self) -> None:
        while True:
            data, client = self._front.recvfrom(65536)
            sock = self._behind.get(client)
            if sock is None:
                sock = self._behind[client] = self._bound((self.target[0], 0))
                sock.connect(self.target)
                self._running.append(gevent.spawn(self._back, sock, client))
            if self.keep:
                self.seen.append(data)
            self._pass(sock.send, data)

    def _back(self, sock: socket.socket, client: Any) -> None:
        while True:
            try:
                data = sock.recv(65536)
            except ConnectionRefusedError:  # the target is not there now
                continue
            self._pass(lambda piece: self._front.sendto(piece, client), data)

    def _pass(self, send: Any, data: bytes) -> None:
        for _ in range(2 if self._random.random() < self.copies else 1):
            if self.dead or 0 < self.most < len(data) or self._random.random() < self.loss:
                self.lost += 1
                continue
            self.passed += 1
            wait = self.delay + self.jitter * self._random.random()
            if wait > 0.0:
                gevent.get_hub().loop.run_callback(self._later, wait, send, data)
            else:
                _quietly(send, data)

    def _later(self, wait: float, send: Any, data: bytes) -> None:
        timer = gevent.get_hub().loop.timer(wait)

        def fire() -> None:
            timer.close()
            _quietly(send, data)

        timer.start(fire)


def _quietly(send: Any, data: bytes) -> None:
    try:
        send(data)
    except OSError:
        pass  # the relay or the target is gone
