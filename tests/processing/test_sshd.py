"""sshd: port forwarding between nodes of ours, and what a client played by hand may ask for."""

import socket
from types import SimpleNamespace

import gevent
import pytest

from gostpy.errors import AuthFailed, ConfigError, ConnectionClosed, ProtocolError, Unsupported
from gostpy.interfaces import Request
from gostpy.net.conn import Conn
from gostpy.net.dial import dial_tcp
from gostpy.options import parse
from gostpy.processing import sshd
from gostpy.processing.context import HandlerContext
from gostpy.stream.ssh import (
    ForwardingClient,
    ForwardingServer,
    Identity,
    connect_link,
    connect_login,
    forwarding,
)
from gostpy.stream.ssh.session import OpenRefused
from gostpy.wire.ssh.fields import Fields, string, uint32
from gostpy.wire.ssh.messages import Message, Open, OpenReason, Target, global_request
from tests.channel.fakes import SilentLog
from tests.engine.running import Stage, dial, eventually, fetch, free_port, read_all, read_exact
from tests.processing.scene import FakeRouter, pair
from tests.stream.sshpairs import by_hand, links

pytestmark = pytest.mark.timeout(30)


@pytest.fixture
def stage(tmp_path):
    made = Stage(tmp_path)
    yield made
    made.close()


SERVER = """
services:
- name: far
  addr: 127.0.0.1:0
  listener: {{type: sshd}}
  handler:
    type: {handler}
    metadata: {{{metadata}}}
  {service}
{rest}
"""
NEAR = """
services:
- name: near
  addr: {address}
  listener: {{type: {listener}, chain: way}}
  handler: {{type: {handler}, {chain}}}
  forwarder: {{nodes: [{{name: t, addr: "127.0.0.1:{target}"}}]}}
chains:
- name: way
  hops:
  - name: hop
    nodes:
    - {{name: node, addr: "127.0.0.1:{port}", dialer: {{type: sshd}}, connector: {{type: sshd}}}}
"""


def server(stage, metadata="", service="", rest="", handler="sshd"):
    text = SERVER.format(metadata=metadata, service=service, rest=rest, handler=handler)
    return stage.run(text)


def through(stage, far, target):
    """The port of a node that forwards to the target by way of the server."""
    text = NEAR.format(
        address="127.0.0.1:0",
        listener="tcp",
        handler="tcp",
        chain="chain: way",
        target=target,
        port=far.port("far"),
    )
    return stage.run(text).port("near")


def client(far):
    """A session with the server."""
    link = connect_link(dial_tcp(f"127.0.0.1:{far.port('far')}"))
    connect_login(link, Identity())
    session = ForwardingClient(link)
    session.start()
    return session


def open_direct(session, host, port):
    return session.connect("tcp", f"{host}:{port}", host, port)


# -- direct ----------------------------------------------------------------------------------------


def test_a_conn_to_a_target(stage):
    assert fetch(through(stage, server(stage), stage.greeter("hello"))) == "hello"


def test_a_dead_target_refuses_the_channel(stage):
    session = client(server(stage))
    with pytest.raises(OpenRefused, match="connect failed") as caught:
        open_direct(session, "127.0.0.1", stage.dead_port())
    assert caught.value.reason == OpenReason.CONNECT_FAILED
    assert session.alive
    session.close()


def test_a_bypassed_target_refuses_the_channel(stage):
    rest = "bypasses: [{name: b, matchers: [127.0.0.1]}]"
    session = client(server(stage, service="bypass: b", rest=rest))
    with pytest.raises(OpenRefused) as caught:
        open_direct(session, "127.0.0.1", stage.echo())
    assert caught.value.reason == OpenReason.PROHIBITED
    session.close()


@pytest.mark.parametrize("port", [0, 65536, 1 << 31])
def test_a_port_that_is_none(stage, port):
    session = client(server(stage))
    with pytest.raises(OpenRefused):
        open_direct(session, "127.0.0.1", port)
    session.close()


def test_the_way_itself_carries_nothing():
    _, link = links()
    session = ForwardingClient(link)
    session.start()
    way = session.open()
    assert session.stream_count == 1
    with pytest.raises(ConnectionClosed, match="sshd protocol"):
        way.sendall(b"x")
    assert way.recv() == b""
    way.close()
    assert session.stream_count == 0


def test_another_handler_gets_the_bytes_of_the_channel(stage):
    """A SOCKS 5 server that is asked through direct-tcpip, whatever the channel's target."""
    session = client(server(stage, handler="socks5"))
    conn = open_direct(session, "ignored", 1)
    conn.sendall(b"\x05\x01\x00")
    assert conn.recv() == b"\x05\x00"
    session.close()


def test_unix_sockets_of_a_peer():
    """Ours has no such channels; OpenSSH has."""
    serving, asking = links()
    session = ForwardingClient(asking)
    session.start()
    opening = gevent.spawn(session.connect, "unix", "/run/x.sock", "", 0)
    asked = Open.read(Fields(serving.read(), 1))
    assert asked.kind == "direct-streamlocal@openssh.com"
    assert asked.fields == string("/run/x.sock") + string("") + uint32(0)
    opening.kill()


def test_datagrams_have_no_channels():
    _, link = links()
    session = ForwardingClient(link)
    with pytest.raises(Unsupported):
        session.connect("udp", "127.0.0.1:1", "127.0.0.1", 1)


def test_a_reload_changes_who_may_log_in(stage):
    text = """
services:
- {{name: far, addr: "127.0.0.1:{port}", handler: {{type: sshd}},
   listener: {{type: sshd, auth: {{username: u, password: {password}}}}}}}
"""
    port = free_port()
    running = stage.run(text.format(port=port, password="old"))
    running.rewrite(text.format(port=port, password="new"))
    login(port, "old")
    with pytest.raises(AuthFailed):
        login(port, "new")
    assert running.node.reload()
    login(port, "new")
    with pytest.raises(AuthFailed):
        login(port, "old")


def login(port, password):
    link = connect_link(dial_tcp(f"127.0.0.1:{port}"))
    try:
        connect_login(link, Identity("u", password))
    finally:
        link.close()


def test_parts_that_do_not_fit():
    conn, _ = pair()
    connector = sshd.Connector(sshd.ConnectorOptions(), None)
    with pytest.raises(Unsupported, match="sshd dialer"):
        connector.handshake(conn)
    handler = sshd.Handler(sshd.HandlerOptions(), HandlerContext("s", SilentLog(), FakeRouter()))
    with pytest.raises(ProtocolError, match="sshd listener"):
        handler.handle(conn)


# -- forwards --------------------------------------------------------------------------------------


def remote(stage, far, target, address):
    """A node that has the server listen for it."""
    text = NEAR.format(
        address=address,
        listener="rtcp",
        handler="rtcp",
        chain="",
        target=target,
        port=far.port("far"),
    )
    return stage.run(text)


def test_a_port_of_the_server(stage):
    port = free_port()
    node = remote(stage, server(stage), stage.greeter("behind"), f"127.0.0.1:{port}")
    eventually(lambda: listens(port))
    assert fetch(port) == "behind"
    assert fetch(port) == "behind"
    node.node.close()
    eventually(lambda: not listens(port))


def listens(port):
    try:
        dial(port).close()
    except OSError:
        return False
    return True


def test_any_port_of_the_server(stage):
    session = client(server(stage))
    bound = session.bind(session.open(), "127.0.0.1", 0)
    assert bound.address == ("127.0.0.1", bound.port)
    sock = dial(bound.port)
    conn = bound.accept()
    assert conn.info.peer == sock.getsockname()
    assert conn.info.local == bound.address
    conn.sendall(b"hello")
    assert read_exact(sock, 5) == b"hello"
    sock.close()
    assert conn.recv() == b""
    bound.close()
    eventually(lambda: not listens(bound.port))
    with pytest.raises(ConnectionClosed):
        bound.accept()
    assert session.stream_count == 0 or session.alive
    session.close()


def test_a_port_in_use(stage):
    session = client(server(stage))
    with pytest.raises(ConnectionClosed, match="does not listen"):
        session.bind(session.open(), "127.0.0.1", stage.echo())
    session.close()


def test_ports_end_with_the_session(stage):
    session = client(server(stage))
    bounds = [session.bind(session.open(), "127.0.0.1", 0) for _ in range(3)]
    accepting = gevent.spawn(bounds[0].accept)
    session.conn.endpoint.sock.shutdown(socket.SHUT_RDWR)
    for bound in bounds:
        eventually(lambda bound=bound: not listens(bound.port))
    with pytest.raises(ConnectionClosed):
        accepting.get(timeout=5)


def test_a_visitor_whom_the_client_refuses(stage):
    session = client(server(stage))
    bound = session.bind(session.open(), "127.0.0.1", 0)
    bound.put = lambda _: False  # nobody accepts
    with dial(bound.port) as sock:
        assert read_all(sock) == b""
    assert session.alive
    session.close()


def asking_to_bind():
    """(the server's link after it was asked, the session, who waits)."""
    serving, asking = links()
    session = ForwardingClient(asking)
    session.start()
    waiting = gevent.spawn(session.bind, session.open(), "h", 0)
    assert serving.read() == forward("h", 0)
    return serving, session, waiting


def test_a_visitor_right_after_the_answer_is_not_lost():
    serving, _, waiting = asking_to_bind()
    serving.send(bytes((Message.REQUEST_SUCCESS,)) + uint32(99))
    target = Target("h", 99, "192.0.2.9", 7)
    serving.send(Open("forwarded-tcpip", 3, 1 << 20, 32768, target.encode()).encode())
    serving.flush()
    bound = waiting.get(timeout=5)
    assert bound.accept().info.peer == ("192.0.2.9", 7)


def test_an_answer_to_a_bind_that_comes_too_late(monkeypatch):
    monkeypatch.setattr(forwarding, "_ANSWER_TIMEOUT", 0.03)
    serving, session, waiting = asking_to_bind()
    with pytest.raises(TimeoutError):
        waiting.get(timeout=5)
    serving.send(bytes((Message.REQUEST_SUCCESS,)) + uint32(99))
    assert serving.read() == forward("h", 99, name="cancel-tcpip-forward")
    assert session.alive


@pytest.mark.parametrize("answer", [b"", b"\0\0"])
def test_an_answer_to_a_bind_without_the_port(answer):
    serving, session, waiting = asking_to_bind()
    serving.send(bytes((Message.REQUEST_SUCCESS,)) + answer)
    serving.flush()
    with pytest.raises(ConnectionClosed):
        waiting.get(timeout=5)
    assert isinstance(session.error, ProtocolError)


def test_no_host_is_every_address():
    connector = sshd.Connector(sshd.ConnectorOptions(), None)
    asked = []

    way = SimpleNamespace(session=SimpleNamespace(bind=lambda *what: asked.append(what[1:])))
    connector.bind(way, Request("tcp", ":8080"))
    assert asked == [("0.0.0.0", 8080)]
    with pytest.raises(Unsupported):
        connector.bind(way, Request("udp", ":8080"))


# -- a client played by hand -----------------------------------------------------------------------


def forward(host, port, want=True, name="tcpip-forward"):
    return global_request(name, want, string(host) + uint32(port))


def test_answers_come_in_the_order_of_requests():
    session, delivered, peer = by_hand(ForwardingServer)
    peer.say(forward("", 0), global_request("ping", True), forward("a", 5), forward("b", 6, False))
    eventually(lambda: len(delivered) == 3)
    first, second, third = delivered
    assert (first.host, first.port, second.host, second.port) == ("", 0, "a", 5)
    second.grant(5)
    third.grant(6)
    first.grant(4321)
    assert peer.hear() == bytes((Message.REQUEST_SUCCESS,)) + uint32(4321)
    assert peer.hear() == bytes((Message.REQUEST_SUCCESS,)) + b"pong"
    assert peer.hear() == bytes((Message.REQUEST_SUCCESS,))
    assert session.alive


def test_a_request_that_nobody_serves_is_refused():
    _, delivered, peer = by_hand(ForwardingServer)
    peer.say(forward("", 0))
    eventually(lambda: delivered)
    delivered[0].close()
    assert peer.hear() == bytes((Message.REQUEST_FAILURE,))


def test_cancelled_forwards():
    session, delivered, peer = by_hand(ForwardingServer)
    peer.say(forward("h", 0))
    eventually(lambda: delivered)
    delivered[0].grant(77)
    peer.hear()
    peer.say(forward("h", 78, name="cancel-tcpip-forward"))
    assert peer.hear() == bytes((Message.REQUEST_FAILURE,))
    assert not delivered[0].closed
    peer.say(forward("h", 77, name="cancel-tcpip-forward"))
    assert peer.hear() == bytes((Message.REQUEST_SUCCESS,))
    assert delivered[0].closed
    assert not session.forwards


def test_only_so_many_forwards(monkeypatch):
    monkeypatch.setattr(forwarding, "MOST_FORWARDS", 2)
    _, delivered, peer = by_hand(ForwardingServer)
    peer.say(*[forward("", 0)] * 3, forward("", 70000))
    eventually(lambda: len(delivered) == 2)
    for each in delivered:
        each.grant(1)
    heard = [peer.hear()[0] for _ in range(4)]
    assert heard == [Message.REQUEST_SUCCESS] * 2 + [Message.REQUEST_FAILURE] * 2


def test_requests_that_wait_are_bounded():
    session, _, peer = by_hand(ForwardingServer)
    peer.say(forward("", 0), *[global_request("ping", True)] * 300)
    eventually(lambda: not session.alive)
    assert "too many requests" in str(session.error)


def test_a_channel_is_confirmed_when_it_is_used():
    session, delivered, peer = by_hand(ForwardingServer)
    target = Target("a.test", 80, "192.0.2.1", 9)
    for number in (5, 6):
        peer.say(Open("direct-tcpip", number, 1 << 20, 32768, target.encode()).encode())
    eventually(lambda: len(delivered) == 2)
    used, refused = delivered
    assert used.endpoint.target == target
    refused.endpoint.refusal = OpenReason.PROHIBITED
    refused.close()
    assert peer.hear()[:9] == bytes((Message.OPEN_FAILURE,)) + uint32(6) + uint32(1)
    used.sendall(b"x")
    assert peer.hear()[:5] == bytes((Message.OPEN_CONFIRMATION,)) + uint32(5)
    assert peer.hear()[9:] == b"x"
    assert session.stream_count == 1


def test_a_channel_of_gost_is_confirmed_at_once():
    """A refusal would make it close the whole session."""
    _, delivered, peer = by_hand(ForwardingServer)
    target = Target("a.test", 80, "0.0.0.0", 0)
    peer.say(Open("direct-tcpip", 5, 1 << 20, 32768, target.encode()).encode())
    assert peer.hear()[:5] == bytes((Message.OPEN_CONFIRMATION,)) + uint32(5)
    delivered[0].close()
    assert peer.hear() == bytes((Message.CLOSE,)) + uint32(5)


@pytest.mark.parametrize("kind", ["session", "x11", "forwarded-tcpip", "gost-tunnel"])
def test_other_channels_are_refused(kind):
    _, delivered, peer = by_hand(ForwardingServer)
    peer.say(Open(kind, 5, 1 << 20, 32768, Target("a", 1).encode()).encode())
    heard = Fields(peer.hear())
    assert (heard.byte(), heard.uint32(), heard.uint32()) == (Message.OPEN_FAILURE, 5, 3)
    assert not delivered


@pytest.mark.parametrize("cut", range(len(Target("a", 1).encode())))
def test_a_cut_target_ends_the_session(cut):
    session, _, peer = by_hand(ForwardingServer)
    peer.say(Open("direct-tcpip", 5, 1, 32768, Target("a", 1).encode()[:cut]).encode())
    eventually(lambda: not session.alive)
    assert isinstance(session.error, ProtocolError)


def test_a_server_that_forwards_what_was_not_asked_for():
    serving, asking = links()
    session = ForwardingClient(asking)
    session.start()
    for fields in (Target("a", 1).encode(), b"cut"):
        serving.send(Open("forwarded-tcpip", 3, 1, 32768, fields).encode())
        heard = Fields(serving.read())
        assert (heard.byte(), heard.uint32(), heard.uint32()) == (Message.OPEN_FAILURE, 3, 1)


# -- options ---------------------------------------------------------------------------------------

ASK = b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n"


@pytest.mark.effect("handler:sshd", "sniffing")
def test_sniffing(stage):
    """The sniffer rewrites the request, so a relative target without a host comes out whole."""
    heard = []

    def origin(sock):
        heard.append(sock.recv(4096))
        sock.sendall(b"HTTP/1.1 204 No Content\r\n\r\n")

    session = client(server(stage, metadata="sniffing: true"))
    conn = open_direct(session, "127.0.0.1", stage.serve(origin))
    conn.sendall(b"GET http://a.test/x HTTP/1.1\r\nHost: a.test\r\nProxy-Connection: close\r\n\r\n")
    assert conn.recv().startswith(b"HTTP/1.1 204")
    assert heard[0].startswith(b"GET ")
    session.close()


@pytest.mark.effect("handler:sshd", "sniffing.timeout")
def test_sniffing_timeout(stage):
    """A server that speaks first is heard when the client says nothing for so long."""
    target = stage.greeter("hello")
    session = client(server(stage, metadata="sniffing: true, sniffing.timeout: 50ms"))
    conn = open_direct(session, "127.0.0.1", target)
    with gevent.Timeout(5):
        assert conn.read_exact(5) == b"hello"
    session.close()


@pytest.mark.effect("handler:sshd", "readTimeout")
def test_read_timeout(stage):
    session = client(server(stage, metadata="sniffing: true, readTimeout: 50ms"))
    conn = open_direct(session, "127.0.0.1", stage.echo())
    conn.sendall(b"GET / HTT")
    with gevent.Timeout(5):
        assert conn.recv() == b""
    session.close()


@pytest.mark.effect("handler:sshd", "mitm.certFile", "mitm.keyFile")
def test_interception_is_refused_by_name():
    options = parse(sshd.HandlerOptions, {"mitm.certFile": "a", "mitm.keyFile": "b"})
    with pytest.raises(ConfigError, match=r"mitm\.certFile"):
        sshd.Handler(options, HandlerContext("s", SilentLog(), FakeRouter()))


def test_conns_are_conns():
    assert issubclass(forwarding.Way, Conn)
