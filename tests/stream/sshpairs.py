"""SSH sessions over socket pairs, and a peer that a test plays message by message."""

from __future__ import annotations

import gevent
from cryptography.hazmat.primitives.asymmetric import ed25519
from gevent.event import AsyncResult

from gostpy.net.conn import ConnInfo
from gostpy.stream.ssh import (
    Admission,
    Identity,
    Link,
    TunnelServer,
    accept_link,
    accept_login,
    connect_link,
    connect_login,
)
from gostpy.wire.ssh.keys import PrivateKey
from tests.net.pairs import socket_pair

HOST_KEY = PrivateKey(ed25519.Ed25519PrivateKey.generate())


def conns():
    """Two ends of one connection."""
    left, right = socket_pair()
    left.info = ConnInfo(peer=("192.0.2.1", 5), local=("192.0.2.2", 22))
    return left, right


def links(admission=None, identity=None):
    """Both links after login; raises what either side raises."""
    here, there = conns()
    serving = AsyncResult()

    def serve():
        try:
            link = accept_link(here, HOST_KEY)
            accept_login(link, admission or Admission())
            serving.set(link)
        except Exception as error:
            here.close()
            serving.set_exception(error)

    gevent.spawn(serve)
    client = connect_link(there)
    try:
        connect_login(client, identity or Identity())
    except Exception:
        there.close()
        serving.get(timeout=5)
        raise
    return serving.get(timeout=5), client


class ByHand:
    """The client's end of a session with a server of ours."""

    def __init__(self, link: Link) -> None:
        self.link = link

    def say(self, *payloads: bytes) -> None:
        for payload in payloads:
            self.link.send(payload)
        self.link.flush()

    def hear(self) -> bytes:
        """The next message, or what ended it."""
        with gevent.Timeout(5):
            return self.link.read()


def by_hand(server_class=TunnelServer, keep=None):
    """(session of ours, the conns it delivers, the peer to play)."""
    server, client = links()
    delivered = [] if keep is None else keep
    session = server_class(server, delivered.append)
    session.start()
    return session, delivered, ByHand(client)
