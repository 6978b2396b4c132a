"""Tunnels of the dialing side, with a server played by hand."""

import gevent
import pytest

from gostpy.errors import ConnectionClosed, GostError, HandshakeFailed
from gostpy.net.conn import ConnInfo
from gostpy.stream import phtclient
from gostpy.stream.pht import Paths
from gostpy.stream.phtclient import Client
from gostpy.wire.pht import one_line
from tests.stream.peers import Keeper


class Request:
    """A request that was made, and what its answer can be."""

    def __init__(self, method, target, body, told):
        self.method, self.target, self.body, self.told = method, target, body, told
        self.cancelled = self.paused = False

    def answer(self, status=200, body=b"", end=True):
        self.told.answered(status)
        if body:
            self.told.data(body)
        if end:
            self.told.end()

    def pause(self):
        self.paused = True

    def resume(self):
        self.paused = False

    def cancel(self):
        self.cancelled = True


class Server:
    """Keeps requests; ``token`` is what authorize answers at once."""

    level, busy = 0, False

    def __init__(self, status=200, body=b"token=T"):
        self.requests = []
        self.closed = False
        self.authorize = (status, body)

    def request(self, method, target, body, told):
        request = Request(method, target, body, told)
        if target == "/authorize" and self.authorize is not None:
            gevent.get_hub().loop.run_callback(request.answer, *self.authorize)
        else:
            self.requests.append(request)
        return request

    def close(self):
        self.closed = True

    def take(self, kind):
        """The oldest request of a kind that was not answered yet."""
        gevent.idle()
        found = next(r for r in self.requests if r.target == f"/{kind}?token=T")
        self.requests.remove(found)
        return found

    def kinds(self):
        gevent.idle()
        return [request.target.partition("?")[0][1:] for request in self.requests]


@pytest.fixture
def server():
    return Server()


@pytest.fixture
def conn(server):
    client = Client(Paths(), ConnInfo(peer=("192.0.2.1", 80)))
    client.begin(server)
    return client.open()


def test_both_ways(server, conn):
    conn.sendall(b"hello")
    push = server.take("push")
    assert (push.method, push.body) == ("POST", one_line(b"hello"))
    pull = server.take("pull")
    pull.answer(200, one_line(b"answer"), end=False)
    assert conn.recv() == b"answer"
    assert conn.info.peer == ("192.0.2.1", 80)


def test_writes_gather_while_a_push_is_under_way(server, conn):
    conn.write(b"a")
    first = server.take("push")
    conn.write(b"b")
    conn.write(b"c")
    assert "push" not in server.kinds()
    first.answer()
    assert server.take("push").body == one_line(b"bc")


def test_writer_waits(server, conn):
    sending = gevent.spawn(conn.sendall, bytes(400_000))
    sending.join(0.02)
    assert not sending.ready()
    server.take("push").answer()
    assert len(server.take("push").body) > 100_000
    sending.get(timeout=5)


def test_pulls_go_on(server, conn):
    server.take("pull").answer(200, b"\n")
    server.take("pull").answer(200, one_line(b"x"))
    assert conn.recv() == b"x"
    assert server.kinds() == ["pull"]


def test_pull_without_a_line_is_the_end(server, conn):
    server.take("pull").answer(200, one_line(b"last"))
    server.take("pull").answer(200)
    assert conn.recv() == b"last"
    assert conn.recv() == b""
    with pytest.raises(ConnectionClosed):
        conn.sendall(b"x")


def test_nothing_is_left_of_a_tunnel_that_has_ended(server):
    """Its time to linger is over at once."""
    client = Client(Paths(), ConnInfo(peer=("192.0.2.1", 80)))
    client.begin(server)
    conn = client.open()
    endpoint = conn.endpoint
    conn.close()
    server.take("push").answer()  # the empty one
    server.take("pull").answer()
    gevent.idle()
    assert not client.stream_count
    assert endpoint._lingering.callback is None


@pytest.mark.parametrize("kind", ["pull", "push"])
@pytest.mark.parametrize("status", [403, 410, 500])
def test_refused(server, conn, kind, status):
    conn.write(b"x")
    server.take(kind).answer(status)
    with pytest.raises(ConnectionClosed, match=str(status)):
        conn.recv()


@pytest.mark.parametrize("kind", ["pull", "push"])
def test_lost(server, conn, kind):
    conn.write(b"x")
    server.take(kind).told.lost(ConnectionResetError("gone"))
    with pytest.raises(GostError):
        conn.recv()


def test_bad_lines(server, conn):
    sink = Keeper(conn)
    conn.endpoint.start()
    server.take("pull").answer(200, b"!!\n", end=False)
    assert "base64" in str(sink.error)


def test_closing_is_told_after_the_last_data(server, conn):
    conn.write(b"last")
    conn.close()
    push = server.take("push")
    assert push.body == one_line(b"last")
    assert "push" not in server.kinds()
    push.answer()
    bye = server.take("push")
    assert bye.body == b""
    pull = server.take("pull")
    assert not pull.cancelled
    bye.answer()
    pull.answer(200, one_line(b"nobody reads this"))
    assert server.kinds() == []


def test_pull_that_does_not_end_is_left(server, conn, monkeypatch):
    monkeypatch.setattr(phtclient, "CLOSE_TIME", 0.01)
    pull = server.take("pull")
    conn.close()
    server.take("push").answer()
    with gevent.Timeout(5):
        while not pull.cancelled:
            gevent.sleep(0.002)


def test_silent_server_is_given_up(server, monkeypatch):
    monkeypatch.setattr(phtclient, "SILENCE", 0.01)
    client = Client(Paths(), ConnInfo())
    client.begin(server)
    conn = client.open()
    with gevent.Timeout(5), pytest.raises(ConnectionClosed, match="silent"):
        conn.recv()
    assert client.stream_count == 0


def test_pull_waits_for_a_slow_reader(server, conn):
    pull = server.take("pull")
    pull.told.answered(200)
    for _ in range(30):
        pull.told.data(one_line(bytes(49_000)))
    assert pull.paused
    conn.read_exact(30 * 49_000)
    assert not pull.paused


@pytest.mark.parametrize("wrong", [(500, b""), (200, b"<html>"), (429, b"")])
def test_server_of_something_else(wrong):
    server = Server(*wrong)
    client = Client(Paths(), ConnInfo())
    with pytest.raises(HandshakeFailed):
        client.begin(server)
    assert server.closed
    assert not client.alive


def test_silent_authorize(server, monkeypatch):
    monkeypatch.setattr(phtclient, "AUTHORIZE_TIME", 0.01)
    server.authorize = None
    with gevent.Timeout(5), pytest.raises(TimeoutError):
        Client(Paths(), ConnInfo()).begin(server)
    assert server.requests[0].cancelled


def test_session_ends(server):
    """Lost: no new tunnels, those that work go on. Closed: all end."""
    ended = []
    client = Client(Paths(), ConnInfo())
    client.begin(server)
    conn = client.open()
    client.on_close = ended.append
    client.lost(ConnectionClosed("gone"))
    gevent.idle()
    assert ended == [client]
    with pytest.raises(ConnectionClosed):
        client.open()
    server.take("pull").answer(200, one_line(b"x"))
    assert conn.recv() == b"x"
    client.close()
    with pytest.raises(ConnectionClosed):
        conn.recv()
    assert server.closed
    assert client.stream_count == 0
