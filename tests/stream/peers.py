"""The other side of a mux session, played by hand, and sessions joined back to back."""

import gevent
from gevent.queue import Queue

from gostpy.net.conn import Conn, ConnInfo
from gostpy.net.endpoint import Endpoint
from gostpy.stream import smux, yamux
from tests.net.pairs import socket_pair


class ByHand(Endpoint):
    """An endpoint that keeps what is written to it; ``feed`` plays the peer."""

    can_half = True

    def __init__(self, takes=True):
        self.conn = None
        self.on_drain = None
        self.takes = takes
        self.writes = []
        self.reading = False
        self.closed = False

    @property
    def pending(self):
        return not self.takes

    def start(self):
        self.reading = True

    resume = start

    def pause(self):
        self.reading = False

    def write(self, data):
        self.writes.append(bytes(data))
        return self.takes

    def shut(self):
        pass

    def close(self, now=False):
        self.closed = True

    def feed(self, data):
        """What a socket does when bytes arrive."""
        conn = self.conn
        try:
            conn.feed(data)
        except Exception as error:
            conn.fail(error)

    def written(self):
        """Everything written since the last call."""
        gevent.idle()
        data, self.writes = b"".join(self.writes), []
        return data


def by_hand(session_type, config, client, deliver=None, **facts):
    """(session, endpoint): a running session whose peer is the test."""
    endpoint = ByHand(**facts)
    accept = None
    if deliver is None and not client:
        deliver, accept = waiting()
    session = session_type(Conn(endpoint, ConnInfo(peer=("192.0.2.1", 7))), config, client, deliver)
    session.accept = accept
    session.start()
    return session, endpoint


def waiting():
    """(deliver, accept): streams that wait for the test."""
    queue = Queue()
    return queue.put, lambda: queue.get(timeout=5)


KINDS = {
    "smux1": (smux.Session, smux.Config(version=1)),
    "smux2": (smux.Session, smux.Config(version=2)),
    "yamux": (yamux.Session, yamux.Config()),
}


def joined(kind, deliver=None):
    """(client session, server session) of one kind over a pair of sockets."""
    session_type, config = KINDS[kind]
    left, right = socket_pair()
    accept = None
    if deliver is None:
        deliver, accept = waiting()
    client, server = session_type(left, config, True), session_type(right, config, False, deliver)
    server.accept = accept
    server.start()
    client.start()
    return client, server


class Keeper:
    """A sink that keeps what it gets; with ``room`` it is full after that many bytes."""

    def __init__(self, conn, room=None):
        self.conn = conn
        self.data_seen = bytearray()
        self.pieces = []
        self.ended = False
        self.error = None
        self._room = room
        conn.sink = self

    def data(self, data):
        self.data_seen += data
        self.pieces.append(len(data))
        if self._room is not None and len(self.data_seen) >= self._room:
            self.conn.endpoint.pause()

    def eof(self):
        self.ended = True

    def fail(self, error):
        self.error = error
