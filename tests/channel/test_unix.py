"""The unix carrier, and stdio, which is a pair of descriptors."""

import io
import os
import stat

import gevent
import pytest
from gevent.event import Event
from hypothesis import given
from hypothesis import strategies as st

from gostpy.channel import stdio
from gostpy.channel.listener import StackListener
from gostpy.channel.unix import Carrier, DialOptions, ListenOptions, file_mode
from gostpy.errors import ConfigError
from gostpy.interfaces import Context
from gostpy.net.conn import Conn
from gostpy.net.dial import dial_unix
from gostpy.net.pipe import pipe
from gostpy.options import parse
from tests.channel.fakes import FakeGuards, SilentLog
from tests.net.pairs import socket_pair

pytestmark = pytest.mark.timeout(10)


@pytest.mark.parametrize(
    ("text", "mode"),
    [
        pytest.param("", 0, id="none"),
        pytest.param("0660", 0o660, id="octal as in C"),
        pytest.param("0o660", 0o660, id="octal"),
        pytest.param("0x1b0", 0o660, id="hexadecimal"),
        pytest.param("432", 0o660, id="decimal, as YAML hands over 0660"),
        pytest.param("0", 0, id="zero"),
    ],
)
def test_file_mode(text, mode):
    assert file_mode(text) == mode


@pytest.mark.parametrize("text", ["rw", "0669", "-1", "99999999", "0o"])
def test_no_file_mode(text):
    with pytest.raises(ConfigError, match="file mode"):
        file_mode(text)


@given(st.text(max_size=12))
def test_any_text_is_a_mode_or_refused(text):
    try:
        assert 0 <= file_mode(text) <= 0o7777
    except ConfigError:
        pass


@pytest.fixture
def listen():
    bound = []

    def start(address, **metadata):
        context = Context(address=address, log=SilentLog(), listening=True)
        carrier = Carrier(parse(ListenOptions, metadata), context)
        listener = StackListener(carrier, (), None, FakeGuards(), context)
        listener.listen()
        listener.start(lambda conn: conn.sendall(conn.recv().upper()))
        bound.append(listener)
        return listener

    yield start
    for listener in bound:
        listener.close()


def ask(address):
    conn = dial_unix(address)
    conn.sendall(b"question")
    answer = conn.recv()
    conn.close()
    return answer


def test_path(listen, tmp_path):
    path = str(tmp_path / "s")
    listener = listen(path, mode=0o600)
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
    assert listener.address == path
    assert ask(path) == b"QUESTION"
    listener.close()
    assert not os.path.exists(path)


def test_left_over_file_is_replaced(listen, tmp_path):
    path = str(tmp_path / "s")
    listener = listen(path)
    os.link(path, path + ".kept")
    listener.close()
    os.rename(path + ".kept", path)
    listen(path)
    assert ask(path) == b"QUESTION"


def test_socket_in_use_is_an_error(listen, tmp_path):
    path = str(tmp_path / "s")
    listen(path)
    with pytest.raises(OSError, match="listen"):
        listen(path)
    assert ask(path) == b"QUESTION"


def test_abstract_name(listen):
    name = f"@gostpy-test-{os.getpid()}"
    assert listen(name).address == name
    assert ask(name) == b"QUESTION"


def test_dialing_needs_nothing():
    context = Context(address="/tmp/s", log=SilentLog())
    assert Carrier(DialOptions(), context).network == "unix"


# -- stdio -----------------------------------------------------------------------------------------


@pytest.fixture
def descriptors(monkeypatch):
    """What a parent process holds of our standard input and output."""
    reader, feeding = os.pipe()
    drain, writer = os.pipe()
    feed = io.FileIO(feeding, "wb")
    monkeypatch.setattr(stdio, "READER", reader)
    monkeypatch.setattr(stdio, "WRITER", writer)
    yield feed, drain
    feed.close()
    io.FileIO(drain).close()
    io.FileIO(reader).close()


def test_stdio_is_one_conn(descriptors):
    feed, drain = descriptors
    over = Event()
    context = Context(address="", log=SilentLog(), listening=True)
    carrier = stdio.Carrier(stdio.Options(), context, over.set)
    listener = StackListener(carrier, (), None, FakeGuards(), context)
    served = []

    def serve(conn):
        served.append(conn)
        conn.sendall(conn.read_exact(4)[::-1])
        conn.close()

    listener.listen()
    listener.start(serve)
    listener.start(serve)
    feed.write(b"abcd")
    feed.close()
    assert over.wait(5)
    assert os.read(drain, 100) == b"dcba"
    assert os.read(drain, 100) == b""
    assert [conn.info.peer_address for conn in served] == ["pipe"]


def test_stdio_in_a_pipe_with_back_pressure(descriptors):
    feed, drain = descriptors
    over = Event()
    endpoint = stdio.PairEndpoint(stdio.READER, stdio.WRITER)
    endpoint.finished = over.set
    near, far = socket_pair()
    pipe(Conn(endpoint), near)
    os.set_blocking(drain, False)
    feed.write(b"in")
    assert far.recv() == b"in"
    gevent.spawn(far.sendall, b"x" * 500_000)
    got = 0
    while got < 500_000:
        try:
            got += len(os.read(drain, 65536))
        except BlockingIOError:
            gevent.sleep(0.001)
    feed.close()
    assert far.recv() == b""
    far.close()
    assert over.wait(5)
