"""HTTP/2 sessions: two of them back to back."""

import gevent
import pytest

from gostpy.errors import ConnectionClosed
from gostpy.stream.http2 import Config, Session
from gostpy.wire.http2 import CANCEL, StreamReset
from tests.net.pairs import socket_pair

pytestmark = pytest.mark.timeout(20)

GET = [(":method", "GET"), (":scheme", "http"), (":path", "/x"), (":authority", "h")]
POST = [(":method", "POST"), *GET[1:]]


def joined(serve, client_config=None, server_config=None):
    """(client session, server session) over a pair of sockets."""
    left, right = socket_pair()
    client = Session(left, True, None, client_config)
    server = Session(right, False, serve, server_config)
    server.start()
    client.start()
    return client, server


def in_threads(function):
    """Deliver each stream to ``function(stream, conn)`` in a green thread of its own."""
    return lambda stream: gevent.spawn(function, stream, stream.conn)


def echo(stream, conn):
    stream.respond(200, [("x-path", stream.request.path)])
    while data := conn.recv():
        conn.sendall(data)
    stream.trail([("x-sum", "7")])
    conn.close()


def test_request_response_trailer():
    client, server = joined(in_threads(echo))
    stream = client.request([*POST, ("x-a", "b")])
    conn = stream.conn
    conn.sendall(b"hello")
    assert stream.response().status == 200
    assert stream.answer.get("x-path") == "/x"
    assert conn.recv() == b"hello"
    assert stream.trailers is None
    conn.shut()
    assert conn.recv() == b""
    assert stream.trailers == (("x-sum", "7"),)
    conn.close()
    assert client.stream_count == 0
    gevent.sleep(0)
    assert server.stream_count == 0


@pytest.mark.parametrize("size", [1, 16384, 65536, 3 << 20])
def test_much_data(size):
    client, _ = joined(in_threads(echo))
    stream = client.request(POST)
    conn = stream.conn
    data = bytes(range(256)) * (size // 256 + 1)
    sending = gevent.spawn(lambda: (conn.sendall(data), conn.shut()))
    found = bytearray()
    while piece := conn.recv():
        found += piece
    sending.get(timeout=5)
    assert found == data


def test_both_sides_close_while_both_wait_for_windows():
    served = []

    def serve(stream):
        stream.respond(200)
        served.append(stream.conn)

    config = Config(stream_window=65536, window=1 << 20)
    client, server = joined(serve, config, config)
    conn = client.request(POST).conn
    with gevent.Timeout(5):
        while not served:
            gevent.sleep(0.01)
        for end in (conn, served[0]):
            assert not end.write(bytes(1 << 18))
        gevent.sleep(0.05)
        for end in (conn, served[0]):
            end.close()
        while client.stream_count or server.stream_count:
            gevent.sleep(0.01)


def test_reset_by_the_client():
    seen = []

    def serve(stream, conn):
        stream.respond(200)
        try:
            conn.recv()
        except ConnectionClosed as error:
            seen.append(error.__cause__)
        conn.close()

    client, server = joined(in_threads(serve))
    stream = client.request(POST)
    stream.response()
    stream.reset(CANCEL)
    gevent.sleep(0.01)
    (error,) = seen
    assert isinstance(error, StreamReset) and error.remote and error.code == CANCEL
    assert server.stream_count == client.stream_count == 0
    assert server.alive and client.alive
