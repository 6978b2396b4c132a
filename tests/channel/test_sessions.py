"""The pool of mux sessions to one node."""

import gevent
import pytest
from gevent.event import Event

from gostpy.channel.sessions import MOST_SESSIONS, SessionPool, back_off
from gostpy.errors import ConnectionClosed, DialFailed

pytestmark = pytest.mark.timeout(10)


class FakeSession:
    """A session whose streams are numbers."""

    def __init__(self):
        self.alive = True
        self.busy = False
        self.error = None
        self.on_close = None
        self.stream_count = 0
        self.closed = False

    def open(self):
        if not self.alive:
            raise ConnectionClosed("dead")
        self.stream_count += 1
        return self

    def close(self):
        self.alive = False
        self.closed = True

    def die(self):
        self.alive = False
        self.error = ConnectionClosed("cable cut")
        if self.on_close is not None:
            self.on_close(self)


class Lines:
    """A log that keeps its lines."""

    def __init__(self):
        self.lines = []

    def info(self, message, **_):
        self.lines.append(message)

    warn = info


@pytest.fixture
def log():
    return Lines()


@pytest.fixture
def pool(log):
    return SessionPool("n1", log)


def refuse():
    raise DialFailed("refused", "n1")


def test_one_session_is_shared(pool):
    first = pool.open(FakeSession)
    assert pool.open(refuse) is first


def test_a_dead_session_is_replaced_at_the_next_use(pool, log):
    first = pool.open(FakeSession)
    first.die()
    second = pool.open(FakeSession)
    assert second is not first
    assert log.lines == ["node n1 is down: cable cut", "node n1 is back"]


def test_a_session_that_dies_unseen_is_replaced(pool):
    first = pool.open(FakeSession)
    first.alive = False
    assert pool.open(FakeSession) is not first


def test_a_busy_session_gets_company_for_as_long_as_that_is_used(pool):
    first = pool.open(FakeSession)
    first.busy = True
    second = pool.open(FakeSession)
    assert second is not first
    first.busy = False
    assert pool.open(refuse) is first
    assert not second.closed
    second.stream_count = 0
    assert pool.open(refuse) is first
    assert second.closed


def test_the_number_of_sessions_is_bounded(pool):
    sessions = []
    for _ in range(MOST_SESSIONS):
        session = pool.open(FakeSession)
        session.busy = True
        session.stream_count = 10
        sessions.append(session)
    sessions[3].stream_count = 2
    assert pool.open(refuse) is sessions[3]


def test_sessions_without_free_streams_do_not_count(pool):
    for _ in range(MOST_SESSIONS + 3):
        session = pool.open(FakeSession)
        session.busy = session.exhausted = True


def test_who_comes_while_a_session_is_made_waits_for_it(pool):
    ready = Event()
    made = []

    def connect():
        ready.wait()
        made.append(FakeSession())
        return made[-1]

    streams = [gevent.spawn(pool.open, connect) for _ in range(5)]
    gevent.idle()
    ready.set()
    assert {stream.get() for stream in streams} == set(made)
    assert len(made) == 1


def test_a_failure_is_shared_by_those_who_waited(pool, log):
    ready = Event()
    calls = []

    def connect():
        calls.append(1)
        ready.wait()
        refuse()

    streams = [gevent.spawn(pool.open, connect) for _ in range(5)]
    gevent.idle()
    ready.set()
    for stream in streams:
        with pytest.raises(DialFailed, match="refused"):
            stream.get()
    assert len(calls) == 1
    assert log.lines == ["node n1 is down: refused"]


def test_a_cancelled_attempt_does_not_fail_the_others(pool):
    first = gevent.spawn(pool.open, Event().wait)
    second = gevent.spawn(pool.open, FakeSession)
    gevent.idle()
    first.kill()
    assert isinstance(second.get(), FakeSession)


def test_down_is_said_once_and_the_next_success_ends_it(pool, log):
    for _ in range(3):
        with pytest.raises(DialFailed):
            pool.open(refuse)
    pool.open(FakeSession)
    assert log.lines == ["node n1 is down: refused", "node n1 is back"]


def test_a_session_that_is_dead_at_once_is_a_failure(pool):
    def connect():
        session = FakeSession()
        session.die()
        return session

    with pytest.raises(DialFailed, match="cable cut"):
        pool.open(connect)


@pytest.mark.parametrize(
    ("failures", "chance", "seconds"),
    [
        pytest.param(0, 0.9, 0.0, id="none"),
        pytest.param(1, 0.9, 0.0, id="first"),
        pytest.param(2, 0.0, 0.05, id="second"),
        pytest.param(3, 0.5, 0.15, id="third"),
        pytest.param(1000, 1.0, 1.0, id="longest"),
    ],
)
def test_back_off(failures, chance, seconds):
    assert back_off(failures, chance) == pytest.approx(seconds)


def test_close_ends_the_sessions_without_a_word(pool, log):
    session = pool.open(FakeSession)
    pool.close()
    session.die()
    assert session.closed
    assert log.lines == []


def test_a_session_made_for_a_closed_pool_is_closed(pool):
    made = FakeSession()

    def connect():
        pool.close()
        return made

    with pytest.raises(DialFailed, match="removed"):
        pool.open(connect)
    assert made.closed
