"""PHT over HTTP/1.1: what is on the wire, other people's ways to write it, and what is wrong."""

import gevent
import pytest

from gostpy.errors import ConnectionClosed, ProtocolError
from gostpy.net.timers import timeout
from gostpy.stream import phthttp1
from gostpy.stream.pht import Paths, Tunnels
from gostpy.stream.phtclient import Client, Told
from gostpy.stream.phthttp1client import Requests
from gostpy.wire.pht import one_line
from tests.net.pairs import socket_pair


class Served:
    """A serving conn; the test is the client."""

    def __init__(self):
        self.conns, self.errors = [], []
        self.tunnels = Tunnels(Paths(), self.conns.append)
        self.client, serving = socket_pair()
        self.client.timeout = 5
        phthttp1.serve(serving, self.tunnels, self.errors.append)

    def ask(self, text, body=b""):
        self.client.sendall(text.replace("\n", "\r\n").encode() + body)

    def head(self):
        return self.client.read_until(b"\r\n\r\n").decode().split("\r\n")

    def token(self):
        self.ask("GET /authorize HTTP/1.1\nHost: a\n\n")
        assert self.head()[0] == "HTTP/1.1 200 OK"
        return self.client.read_exact(38).removeprefix(b"token=").decode()

    def end(self):
        """Everything up to the end of the conn."""
        data = b""
        while piece := self.client.recv():
            data += piece
        return data


@pytest.fixture
def served():
    made = Served()
    yield made
    made.client.close(True)
    for conn in made.conns:
        conn.close(True)


def test_one_conn_after_the_other(served):
    """Authorize, push, pull on one connection; the answers are those of Go's server."""
    token = served.token()
    body = one_line(b"hello")
    served.ask(f"POST /push?token={token} HTTP/1.1\nHost: a\nContent-Length: {len(body)}\n\n", body)
    start, *lines = served.head()
    assert start == "HTTP/1.1 200 OK"
    assert [line.partition(":")[0] for line in lines] == ["Date", "Content-Length"]
    served.ask(f"GET /pull?token={token} HTTP/1.1\nHost: a\n\n")
    assert "Transfer-Encoding: chunked" in served.head()
    (conn,) = served.conns
    assert conn.recv() == b"hello"
    conn.sendall(b"answer")
    assert served.client.read_exact(14) == b"9\r\nYW5zd2Vy\n\r\n"
    conn.close()
    assert served.client.read_exact(5) == b"0\r\n\r\n"


def test_push_in_chunks(served):
    token = served.token()
    served.ask(f"POST /push?token={token} HTTP/1.1\nHost: a\nTransfer-Encoding: chunked\n\n")
    for piece in (b"3\r\naGV\r\n", b"6;x=y\r\nsbG8=\n\r\n0\r\n\r\n"):
        served.client.sendall(piece)
    assert served.head()[0] == "HTTP/1.1 200 OK"
    assert served.conns[0].recv() == b"hello"


def test_push_byte_by_byte(served):
    token = served.token()
    body = one_line(b"hello")
    text = f"POST /push?token={token} HTTP/1.1\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    for byte in text + body:
        served.client.sendall(bytes([byte]))
        gevent.sleep(0)
    assert served.head()[0] == "HTTP/1.1 200 OK"
    assert served.conns[0].recv() == b"hello"


def test_two_requests_at_once(served):
    served.ask("GET /authorize HTTP/1.1\n\nGET /nothing HTTP/1.1\n\n")
    assert served.head()[0] == "HTTP/1.1 200 OK"
    served.client.read_exact(38)
    assert served.head()[0] == "HTTP/1.1 404 Not Found"


def test_expect(served):
    token = served.token()
    served.ask(f"POST /push?token={token} HTTP/1.1\nExpect: 100-continue\nContent-Length: 5\n\n")
    assert served.head()[0] == "HTTP/1.1 100 Continue"
    served.client.sendall(b"eA==\n")
    assert served.head()[0] == "HTTP/1.1 200 OK"


@pytest.mark.parametrize("version", ["HTTP/1.0", "HTTP/1.1\nConnection: close"])
def test_last_request_of_a_conn(served, version):
    served.ask(f"GET /authorize {version}\n\n")
    assert "Connection: close" in served.head()
    assert served.end().startswith(b"token=")


def test_refused_push_does_not_end_the_conn(served):
    body = one_line(bytes(1000))
    served.ask(f"POST /push?token=x HTTP/1.1\nContent-Length: {len(body)}\n\n")
    assert served.head()[0] == "HTTP/1.1 403 Forbidden"
    served.client.sendall(body)
    served.token()


def test_client_leaves_in_a_pull(served):
    token = served.token()
    served.ask(f"GET /pull?token={token} HTTP/1.1\n\n")
    served.head()
    served.client.close(True)
    with timeout(5), pytest.raises(ConnectionClosed):
        served.conns[0].recv()


WRONG = [
    pytest.param("\x05\x01\n\n", "HTTP", id="not http"),
    pytest.param("GET / HTTP/1.1\n" + "a: b\n" * 20_000, "longer", id="endless head"),
    pytest.param("POST /x HTTP/1.1\nContent-Length: -1\n\n", "content length", id="bad length"),
    pytest.param("POST /x HTTP/1.1\nTransfer-Encoding: chunked\n\nzz\n", "chunk", id="bad chunk"),
    pytest.param(
        "POST /push?token={token} HTTP/1.1\nTransfer-Encoding: chunked\n\n1;" + "a" * 5000,
        "line too long",
        id="endless chunk header",
    ),
    pytest.param(
        "GET /pull?token={token} HTTP/1.1\n\n" + "x" * 70_000, "too much", id="behind a pull"
    ),
]


@pytest.mark.parametrize(("text", "problem"), WRONG)
def test_wrong(served, text, problem):
    token = served.token() if "{token}" in text else ""
    sending = gevent.spawn(served.ask, text.replace("{token}", token))
    with timeout(5):
        while not served.errors:
            gevent.sleep(0.002)
    sending.kill()
    (error,) = served.errors
    expected = ConnectionClosed if problem == "chunk" else ProtocolError
    assert isinstance(error, expected)
    assert problem in str(error) or problem == "chunk"


@pytest.mark.parametrize(
    "begun", [b"GET /auth", b"POST /x HTTP/1.1\r\nContent-Length: 5\r\n\r\nab"]
)
def test_request_that_stays_out(monkeypatch, begun):
    monkeypatch.setattr(phthttp1, "LOOK_TIME", 0.01)
    served = Served()
    served.client.sendall(begun)
    with timeout(5):
        served.end()
    assert "nothing for a while" in str(served.errors[0])


def test_idle_conn_ends(monkeypatch):
    monkeypatch.setattr(phthttp1, "LOOK_TIME", 0.005)
    served = Served()
    served.token()
    with timeout(5):
        assert served.end() == b""


# -- the dialing side ------------------------------------------------------------------------------


class Heard(Told):
    def __init__(self):
        self.status, self.body, self.ended, self.error = 0, b"", False, None

    def answered(self, status):
        self.status = status

    def data(self, data):
        self.body += data

    def end(self):
        self.ended = True

    def lost(self, error):
        self.error = error


class Asking:
    """Requests whose connections end at the test."""

    def __init__(self, headers=()):
        self.peers, self.lost = [], []
        first = self.establish()
        self.requests = Requests(self.establish, first, "a.test:80", headers, self.lost.append)

    def establish(self):
        ours, peer = socket_pair()
        peer.timeout = 5
        self.peers.append(peer)
        return ours

    def ask(self, method="GET", target="/x", body=b""):
        heard = Heard()
        return heard, self.requests.request(method, target, body, heard)

    def until(self, condition):
        with timeout(5):
            while not condition():
                gevent.sleep(0.001)


@pytest.fixture
def asking():
    made = Asking()
    yield made
    made.requests.close()


OK = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"


def test_requests_are_those_of_go(asking):
    asking.ask()
    assert asking.peers[0].recv() == (
        b"GET /x HTTP/1.1\r\nHost: a.test:80\r\nUser-Agent: Go-http-client/1.1\r\n\r\n"
    )
    asking.peers[0].sendall(OK)
    asking.until(lambda: asking.requests._idle)
    asking.ask("POST", "/y", b"body")
    assert asking.peers[0].recv() == (
        b"POST /y HTTP/1.1\r\nHost: a.test:80\r\nUser-Agent: Go-http-client/1.1\r\n"
        b"Content-Length: 4\r\n\r\nbody"
    )


ANSWERS = [
    pytest.param(OK, b"", id="empty"),
    pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc", b"abc", id="length"),
    pytest.param(
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
        b"1\r\na\r\n2;x\r\nbc\r\n0\r\nT: x\r\n\r\n",
        b"abc",
        id="chunks",
    ),
    pytest.param(b"HTTP/1.1 102 Processing\r\n\r\n" + OK, b"", id="provisional"),
]


@pytest.mark.parametrize("step", [1, 7, 1000])
@pytest.mark.parametrize(("wire", "body"), ANSWERS)
def test_answers_in_pieces(asking, wire, body, step):
    heard, _ = asking.ask()
    for at in range(0, len(wire), step):
        asking.peers[0].sendall(wire[at : at + step])
        gevent.sleep(0)
    asking.until(lambda: heard.ended)
    assert (heard.status, heard.body) == (200, body)
    asking.ask()
    assert len(asking.peers) == 1


def test_answer_up_to_the_end(asking):
    heard, _ = asking.ask()
    asking.peers[0].recv()
    asking.peers[0].sendall(b"HTTP/1.1 200 OK\r\n\r\nabc")
    asking.until(lambda: heard.body)
    asking.peers[0].close()
    asking.until(lambda: heard.ended)
    assert heard.body == b"abc"
    assert not asking.lost


def test_several_at_a_time_and_again(asking):
    """Each needs a connection while it is answered; later ones use those that are free."""
    both = [asking.ask()[0] for _ in range(2)]
    asking.until(lambda: len(asking.peers) == 2)
    for peer in asking.peers:
        peer.recv()
        peer.sendall(OK)
    asking.until(lambda: all(heard.ended for heard in both))
    for _ in range(2):
        asking.ask()
    assert len(asking.peers) == 2


def test_cancelled(asking):
    heard, request = asking.ask()
    asking.peers[0].recv()
    request.cancel()
    assert asking.peers[0].recv() == b""
    assert not heard.ended
    assert not asking.lost


@pytest.mark.parametrize(
    "wire",
    [b"HTTP/1.1 200 OK\r\nContent-", b"\x16\x03\x01\r\n\r\n", b"HTTP/1.1 101 S\r\n\r\n", b""],
    ids=["cut", "not http", "switching", "nothing"],
)
def test_wrong_answers(asking, wire):
    heard, _ = asking.ask()
    asking.peers[0].sendall(wire)
    asking.peers[0].shut()
    asking.until(lambda: heard.error)
    assert len(asking.lost) == 1


def test_answer_that_nobody_asked_for(asking):
    asking.peers[0].sendall(OK)
    asking.until(lambda: asking.lost)


def test_server_that_is_gone(asking):
    """The last connection ends while nothing is asked: no need to find out later."""
    asking.peers[0].close()
    asking.until(lambda: asking.lost)


def test_unused_conns_end(monkeypatch):
    monkeypatch.setattr("gostpy.stream.phthttp1client.KEPT_TIME", 0.01)
    asking = Asking()
    with timeout(5):
        assert asking.peers[0].recv() == b""
    assert not asking.lost


def test_both_sides():
    """A client and tunnels back to back."""
    conns = []
    tunnels = Tunnels(Paths(), conns.append)

    def establish():
        ours, serving = socket_pair()
        phthttp1.serve(serving, tunnels, lambda _: None)
        return ours

    first = establish()
    client = Client(Paths(), first.info)
    client.begin(Requests(establish, first, "a:80", [], client.lost))
    left = client.open()
    left.sendall(b"hello")
    with timeout(5):
        while not conns:
            gevent.sleep(0.001)
        (right,) = conns
        assert right.read_exact(5) == b"hello"
        for sender, receiver in ((left, right), (right, left)):
            sending = gevent.spawn(sender.sendall, bytes(1 << 20))
            assert receiver.read_exact(1 << 20) == bytes(1 << 20)
            sending.get()
        left.close()
        assert right.recv() == b""
        right.close()
        while tunnels.count or client.stream_count:
            gevent.sleep(0.001)
    client.close()
