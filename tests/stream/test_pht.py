"""Tunnels of the serving side: what each request does, by hand; floods, ends and time."""

import os

import gevent
import pytest

from gostpy.errors import ConnectionClosed, ProtocolError
from gostpy.net import timers
from gostpy.net.conn import ConnInfo
from gostpy.stream import pht
from gostpy.stream.pht import Paths, Tunnels
from gostpy.wire.pht import one_line
from tests.stream.peers import Keeper

OWN = "9m4e2mr0ui3e8a215n4g"  # as a client of 3.3 makes one


class Answer:
    """The transport's side of a request, by hand."""

    level = 1

    def __init__(self, takes=True):
        self.info = ConnInfo(peer=("192.0.2.1", 7))
        self.status = 0
        self.body = b""
        self.ended = False
        self.takes = takes

    def answer(self, status, body=b""):
        assert not self.status
        self.status, self.body, self.ended = status, body, True

    def begin(self):
        assert not self.status
        self.status = 200

    def send(self, data):
        assert not self.ended
        self.body += data
        return self.takes

    def end(self):
        assert not self.ended
        self.ended = True


class Service:
    """Tunnels, and the conns that were delivered."""

    def __init__(self, paths=None):
        self.conns = []
        self.tunnels = Tunnels(paths or Paths(), self.conns.append)

    def ask(self, method, target, *body, takes=True):
        """(what was asked, its answer)."""
        answer = Answer(takes)
        asked = self.tunnels.request(method, target, answer)
        for piece in body:
            asked.data(piece)
        asked.end()
        return asked, answer

    def status(self, method, target, *body):
        return self.ask(method, target, *body)[1].status

    def token(self):
        return self.ask("GET", "/authorize")[1].body.removeprefix(b"token=").decode()

    def push(self, token, data):
        return self.status("POST", f"/push?token={token}", one_line(data))


@pytest.fixture
def service():
    made = Service()
    yield made
    for conn in made.conns:
        conn.close(True)


@pytest.fixture
def tunnel(service):
    """(service, token, conn, pull, its answer)."""
    token = service.token()
    pull, answer = service.ask("GET", f"/pull?token={token}")
    return service, token, service.conns[0], pull, answer


def quick(monkeypatch, **times):
    for name, seconds in times.items():
        monkeypatch.setattr(pht, name, seconds)


# -- the ordinary course ---------------------------------------------------------------------------


def test_both_ways(tunnel):
    service, token, conn, _, answer = tunnel
    assert service.push(token, b"hello") == 200
    assert conn.read_exact(5) == b"hello"
    conn.sendall(b"answer")
    assert (answer.status, answer.body, answer.ended) == (200, b"YW5zd2Vy\n", False)
    assert conn.info.peer == ("192.0.2.1", 7)


@pytest.mark.parametrize("first", ["push", "pull"])
def test_client_makes_its_token(service, first):
    """As 3.3: the first request of either kind makes the tunnel."""
    if first == "push":
        assert service.push(OWN, b"hello") == 200
        assert service.conns[0].recv() == b"hello"
    else:
        _, answer = service.ask("GET", f"/pull?token={OWN}")
        service.conns[0].sendall(b"hello")
        assert answer.body == one_line(b"hello")
    service.ask("GET", f"/pull?token={OWN}")
    assert len(service.conns) == 1


def test_what_waits_for_a_pull(service):
    token = service.token()
    service.push(token, b"x")
    conn = service.conns[0]
    conn.sendall(b"first ")
    conn.sendall(b"second")
    _, answer = service.ask("GET", f"/pull?token={token}")
    assert answer.body == one_line(b"first second")


def test_sender_waits_for_a_pull(service):
    """Nothing is kept without limit while nobody asks for it."""
    token = service.token()
    service.push(token, b"x")
    conn = service.conns[0]
    sending = gevent.spawn(conn.sendall, bytes(300_000))
    sending.join(0.02)
    assert not sending.ready()
    service.ask("GET", f"/pull?token={token}")
    sending.get(timeout=5)


def test_sender_waits_for_a_slow_pull(service):
    token = service.token()
    pull, answer = service.ask("GET", f"/pull?token={token}", takes=False)
    sending = gevent.spawn(service.conns[0].sendall, b"data")
    sending.join(0.02)
    assert not sending.ready()
    assert answer.body == one_line(b"data")
    pull.drained()
    sending.get(timeout=5)


def test_push_waits_for_the_reader(tunnel):
    service, token, conn, *_ = tunnel
    assert service.push(token, bytes(200_000)) == 200
    _, answer = service.ask("POST", f"/push?token={token}", one_line(bytes(200_000)))
    assert answer.status == 0
    conn.read_exact(200_000)
    assert answer.status == 200


def test_a_pull_takes_the_place_of_another(tunnel):
    service, token, conn, first, answer = tunnel
    _, second = service.ask("GET", f"/pull?token={token}")
    assert answer.ended
    first.lost()  # too late to matter
    conn.sendall(b"x")
    assert second.body == one_line(b"x")


@pytest.mark.effect("listener:pht", "authorizePath", "pushPath", "pullPath")
def test_paths():
    service = Service(Paths("/a", "/b", "/c"))
    assert service.status("GET", "/authorize") == 404
    token = service.ask("GET", "/a")[1].body.removeprefix(b"token=").decode()
    assert service.status("POST", f"/b?token={token}", b"eA==\n") == 200
    assert service.ask("GET", f"/c?token={token}")[1].status == 200
    service.conns[0].close(True)


# -- refusals --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "target", "status"),
    [
        ("GET", "/", 404),
        ("GET", "/push?token=T", 400),
        ("POST", "/pull?token=T", 400),
        ("POST", "/push?token=unknown", 403),
        ("GET", "/pull?token=unknown", 403),
        ("GET", "/pull", 403),
    ],
)
def test_refused(service, method, target, status):
    assert service.status(method, target) == status
    assert not service.conns


BAD = [
    pytest.param((b"!!!!\n",), 400, id="not base64"),
    pytest.param((b"YWJj",), 400, id="no end of line"),
    pytest.param((b"A" * 600_000, b"A" * 600_000), 413, id="too long"),
]


@pytest.mark.parametrize(("body", "status"), BAD)
def test_bad_push_ends_the_tunnel(tunnel, body, status):
    service, token, conn, _, answer = tunnel
    sink = Keeper(conn)
    conn.endpoint.start()
    assert service.status("POST", f"/push?token={token}", *body) == status
    assert sink.error is not None
    assert answer.ended
    assert not service.tunnels.count
    assert service.push(token, b"x") == 410


def test_empty_line_is_ignored(tunnel):
    service, token, conn, *_ = tunnel
    assert service.status("POST", f"/push?token={token}", b"\n") == 200
    assert service.push(token, b"x") == 200
    assert conn.recv() == b"x"


# -- ends ------------------------------------------------------------------------------------------


def test_client_closes(tunnel):
    """An empty push is the end of the stream; a pull that is left then is no error."""
    service, token, conn, pull, _ = tunnel
    service.push(token, b"last")
    assert service.status("POST", f"/push?token={token}") == 200
    assert conn.recv() == b"last"
    assert conn.recv() == b""
    pull.lost()
    with pytest.raises(ConnectionClosed):
        conn.sendall(b"nobody reads this")
    assert not service.tunnels.count


def test_server_closes(tunnel):
    """The pull ends; the next one has no line, and a late push is told."""
    service, token, conn, _, answer = tunnel
    conn.sendall(b"bye")
    conn.close()
    assert answer.ended
    _, late = service.ask("GET", f"/pull?token={token}")
    assert (late.status, late.body, late.ended) == (200, b"", True)
    assert service.push(token, b"x") == 410
    assert len(service.conns) == 1


def test_server_closes_before_a_pull(service):
    """What was written is kept for the pull that comes."""
    token = service.token()
    service.push(token, b"x")
    conn = service.conns[0]
    conn.sendall(b"bye")
    conn.close()
    _, answer = service.ask("GET", f"/pull?token={token}")
    assert (answer.body, answer.ended) == (one_line(b"bye"), True)
    assert not service.tunnels.count


def test_pull_is_cut(tunnel):
    service, token, conn, pull, _ = tunnel
    pull.lost()
    with pytest.raises(ConnectionClosed):
        conn.recv()
    assert service.push(token, b"x") == 410


def test_push_is_cut(tunnel):
    service, token, conn, *_ = tunnel
    answer = Answer()
    asked = service.tunnels.request("POST", f"/push?token={token}", answer)
    asked.data(b"YWJ")
    asked.lost()
    with pytest.raises(ConnectionClosed):
        conn.recv()


# -- time and number -------------------------------------------------------------------------------


def test_pull_ends_without_data(service, monkeypatch):
    quick(monkeypatch, PULL_TIME=0.02)
    _, answer = service.ask("GET", f"/pull?token={service.token()}")
    with gevent.Timeout(5):
        while not answer.ended:
            gevent.sleep(0.005)
    assert answer.body == b"\n"
    assert service.tunnels.count == 1


def test_abandoned_tunnel_ends(service, monkeypatch):
    quick(monkeypatch, ABANDONED_TIME=0.02)
    assert service.push(service.token(), b"x") == 200
    conn = service.conns[0]
    assert conn.recv() == b"x"
    with gevent.Timeout(5), pytest.raises(ConnectionClosed):
        conn.recv()
    assert not service.tunnels.count


def test_flood_of_tokens(service, monkeypatch):
    """Tokens that nobody uses are bounded, and forgotten after a while; others still get theirs."""
    quick(monkeypatch, MOST_TOKENS=100)
    tokens = [service.token() for _ in range(150)]
    assert len(service.tunnels._tokens) == 100
    assert service.push(tokens[0], b"x") == 403
    assert service.push(tokens[-1], b"x") == 200
    service.tunnels._tokens = type(service.tunnels._tokens)(
        (token, timers.now() - 100) for token in service.tunnels._tokens
    )
    assert service.status("GET", "/authorize") == 200
    assert len(service.tunnels._tokens) == 1


def test_flood_of_unknown_tokens(service):
    for _ in range(2000):
        assert service.push(os.urandom(16).hex(), b"x") == 403
    assert not service.conns
    assert not service.tunnels._ended


def test_flood_of_silent_tunnels(service, monkeypatch):
    """A client that makes its tokens cannot have more than so many conns that say nothing, nor
    keep others out with them."""
    quick(monkeypatch, MOST_SILENT=50)
    assert service.push(OWN, b"x") == 200
    targets = [f"/pull?token={number:020d}" for number in range(60)]
    statuses = [service.ask("GET", target)[1].status for target in targets]
    assert statuses == [200] * 60
    assert service.tunnels.count == 51
    assert [conn.endpoint.reason is not None for conn in service.conns[:12]] == (
        [False] + [True] * 10 + [False]
    )
    assert service.push(OWN, b"x") == 200


def test_pushes_whose_answers_are_not_awaited(service):
    """Of many at a time, no more is kept than a well-behaved client could have sent."""
    answers = [
        service.ask("POST", f"/push?token={OWN}", one_line(bytes(700_000))) for _ in range(50)
    ]
    (conn,) = service.conns
    assert len(conn.endpoint._arrived) < 6 << 20
    assert isinstance(conn.endpoint.reason, ProtocolError)
    assert not service.tunnels.count
    assert {answer.status for _, answer in answers} == {410}


def test_ended_tokens_are_bounded(service, monkeypatch):
    quick(monkeypatch, MOST_TOKENS=10)
    for number in range(30):
        service.ask("GET", f"/pull?token={number:020d}")
        service.conns[-1].close()
    assert len(service.tunnels._ended) == 10


def test_level_of_decode_buffers(tunnel):
    *_, conn, _, _ = tunnel
    assert conn.endpoint.level == 1
