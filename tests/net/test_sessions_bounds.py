"""What waits in the sessions of one socket is bounded altogether."""

import pytest

from gostpy.errors import ConnectionClosed
from gostpy.net import sessions
from gostpy.net.packet import listen_udp
from gostpy.net.sessions import Session, SessionLimits, Sessions

pytestmark = pytest.mark.timeout(10)


@pytest.fixture
def bound():
    made: list[Session] = []
    limits = SessionLimits(backlog=1000, queue_size=1000, buffer_size=65536)
    bound = Sessions(listen_udp("127.0.0.1:0"), made.append, limits)
    yield bound, made
    bound.close()


def test_many_sessions_that_nobody_serves(bound, monkeypatch):
    monkeypatch.setattr(sessions, "_MOST_QUEUED", 100_000)
    listening, made = bound
    for number in range(200):
        listening.datagram(bytes(9000), f"127.0.0.1:{1000 + number % 50}")
    assert 100_000 <= listening.queued < 110_000
    for session in made:
        session.close()
    assert listening.queued == 0


def test_what_is_taken_does_not_count(bound):
    listening, made = bound
    for size in (0, 1, 500):
        listening.datagram(bytes(size), "127.0.0.1:1000")
    session = made[0]
    assert len(session.recv_from()[0]) == 0
    got = []

    class Sink:
        def datagram(self, data, address):
            got.append(len(data))

        def ended(self, error):
            """Nothing to do."""

    session.start(Sink())
    assert got == [1, 500]
    assert listening.queued == 0
    session.close()
    with pytest.raises(ConnectionClosed):
        session.recv_from()


def test_a_peer_whose_sink_fails_ends_alone(bound, capsys):
    listening, made = bound
    got = []

    class Broken:
        def datagram(self, data, address):
            raise KeyError("a bug")

        def ended(self, error):
            got.append("ended")

    listening.datagram(b"x", "127.0.0.1:1000")
    listening.datagram(b"x", "127.0.0.1:1001")
    bad, good = made
    bad.recv_from()
    bad.start(Broken())
    listening.datagram(b"y", "127.0.0.1:1000")
    assert bad.closed
    assert got == ["ended"]
    assert not good.closed
    assert not listening.packets.closed
    assert "a bug" in capsys.readouterr().err
