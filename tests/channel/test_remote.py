"""rtcp, rudp and runix: what they ask of the router, and how they keep bound."""

import gevent
import pytest
from gevent.event import Event
from gevent.queue import Queue

from gostpy.channel import remote, rudp
from gostpy.errors import ConfigError, ConnectionClosed, DialFailed
from gostpy.interfaces import Context
from gostpy.net.dial import dial_tcp, dial_unix
from gostpy.net.packet import dial_udp
from gostpy.options import parse
from gostpy.route.router import Router
from tests.channel.fakes import SilentLog

pytestmark = pytest.mark.timeout(10)


class FakeBinding:
    """Hands over what is put into it; an exception ends it."""

    address = ("203.0.113.1", 8080)

    def __init__(self):
        self.conns = Queue()
        self.closed = False

    def accept(self):
        item = self.conns.get()
        if isinstance(item, Exception):
            raise item
        return item

    def close(self):
        self.closed = True


class FakeRouter:
    """Binds as told: an exception or a binding per attempt."""

    def __init__(self, *answers):
        self.answers = list(answers)
        self.asked = []

    def bind(self, request, **options):
        self.asked.append((request.network, request.address, options))
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


@pytest.fixture(autouse=True)
def short_delays(monkeypatch):
    monkeypatch.setattr(remote, "_DELAYS", (0.001, 0.002))


def context_of(router, address="127.0.0.1:0"):
    return Context(address=address, log=SilentLog(), listening=True, router=router)


@pytest.fixture
def run():
    started = []

    def start(carrier):
        arrived = Queue()
        listener = carrier.listen(lambda conn, _: arrived.put(conn))
        listener.start()
        started.append(listener)
        return listener, arrived

    yield start
    for listener in started:
        listener.close()


@pytest.mark.parametrize(
    ("kind", "metadata", "address", "asked"),
    [
        pytest.param(remote.StreamCarrier, {}, ":8080", ("tcp", ":8080", {"mux": True}), id="rtcp"),
        pytest.param(
            remote.StreamCarrier,
            {},
            "no-such-name.invalid:80",
            ("tcp", "no-such-name.invalid:80", {"mux": True}),
            id="a name that only the node may know",
        ),
        pytest.param(
            rudp.Carrier,
            {"ttl": "7s", "backlog": 3},
            "127.0.0.1:53",
            ("udp", "127.0.0.1:53", {"backlog": 3, "queue": 1024, "buffer": 8192, "ttl": 7.0}),
            id="rudp",
        ),
        pytest.param(remote.UnixCarrier, {}, "/run/a", ("unix", "/run/a", {}), id="runix"),
    ],
)
def test_what_is_asked(run, kind, metadata, address, asked):
    router = FakeRouter(FakeBinding())
    options = parse(rudp.Options if kind is rudp.Carrier else remote.Options, metadata)
    listener, _ = run(kind(options, context_of(router, address)))
    while not router.asked:
        gevent.sleep(0)
    assert router.asked == [asked]
    assert listener.address == FakeBinding.address


def test_conns_are_handed_over(run):
    binding = FakeBinding()
    _, arrived = run(remote.StreamCarrier(remote.Options(), context_of(FakeRouter(binding))))
    binding.conns.put("first")
    binding.conns.put("second")
    assert [arrived.get(timeout=5), arrived.get(timeout=5)] == ["first", "second"]


def test_binds_again(run):
    first, second = FakeBinding(), FakeBinding()
    refused = DialFailed("refused")
    router = FakeRouter(refused, OSError("in use"), refused, first, refused, second)
    carrier = remote.StreamCarrier(remote.Options(), context_of(router))
    listener, arrived = run(carrier)
    first.conns.put("one")
    assert arrived.get(timeout=5) == "one"
    assert not listener.failed
    first.conns.put(ConnectionClosed("session died"))
    second.conns.put("two")
    assert arrived.get(timeout=5) == "two"
    assert first.closed
    levels = [level for level, _ in carrier.context.log.messages]
    assert levels == ["warn"] * 3 + ["info"] + ["warn"] * 2 + ["info"]


def test_closing_ends_the_binding():
    binding = FakeBinding()
    bound = Event()

    class Router(FakeRouter):
        def bind(self, request, **options):
            bound.set()
            return super().bind(request, **options)

    listener = remote.StreamCarrier(remote.Options(), context_of(Router(binding))).listen(print)
    listener.start()
    assert bound.wait(5)
    gevent.sleep(0)
    listener.close()
    assert binding.closed


@pytest.mark.parametrize("address", ["127.0.0.1:99999", "host:http"])
def test_bad_address(address):
    with pytest.raises(ConfigError, match="port"):
        remote.StreamCarrier(remote.Options(), context_of(FakeRouter(), address)).listen(print)


def test_needs_a_router():
    with pytest.raises(ConfigError, match="router"):
        remote.StreamCarrier(remote.Options(), context_of(None))


def bound_address(listener):
    while not isinstance(listener.address, tuple):
        gevent.sleep(0)
    return "{}:{}".format(*listener.address[:2])


def test_without_a_chain_it_listens_here(run):
    listener, arrived = run(remote.StreamCarrier(remote.Options(), context_of(Router())))
    client = dial_tcp(bound_address(listener))
    client.sendall(b"hello")
    conn = arrived.get(timeout=5)
    assert conn.recv() == b"hello"
    conn.close()
    client.close()


def test_without_a_chain_it_listens_on_a_path_here(run, tmp_path):
    path = str(tmp_path / "s")
    carrier = remote.UnixCarrier(remote.Options(), context_of(Router(), path))
    _, arrived = run(carrier)
    while not (tmp_path / "s").exists():
        gevent.sleep(0)
    client = dial_unix(path)
    client.sendall(b"hello")
    conn = arrived.get(timeout=5)
    assert conn.recv() == b"hello"
    conn.close()
    client.close()


def test_without_a_chain_it_takes_datagrams_here(run):
    listener, arrived = run(rudp.Carrier(rudp.Options(), context_of(Router())))
    client = dial_udp(bound_address(listener))
    client.send_to(b"hello")
    session = arrived.get(timeout=5)
    assert session.recv_from()[0] == b"hello"
    session.send_to(b"one")
    session.send_to(b"two")
    assert [client.recv_from()[0] for _ in range(2)] == [b"one", b"two"]
    client.close()
