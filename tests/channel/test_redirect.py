"""The redirect and redu carriers: options. Conns that were redirected: tests/transparent."""

import _socket
import socket

import pytest

from gostpy.channel import redirect, redu
from gostpy.interfaces import Context
from gostpy.net.sessions import Session
from gostpy.net.transparent import addresses, is_local, original_destination
from gostpy.options import parse
from tests.channel.fakes import SilentLog
from tests.net.privileges import needs_namespaces

pytestmark = pytest.mark.timeout(20)

_SO_PROTOCOL, _MPTCP = 38, 262


def listen(metadata, address="127.0.0.1:0"):
    context = Context(address, SilentLog(), listening=True)
    options = parse(redirect.ListenOptions, metadata)
    return redirect.Carrier(options, context).listen(lambda *_: None)


@pytest.mark.effect("listener:redirect", "mptcp")
def test_multipath():
    """Where the kernel has it."""
    try:
        socket.socket(socket.AF_INET, socket.SOCK_STREAM, _MPTCP).close()
    except OSError:
        pytest.skip("this kernel has no multipath TCP")
    acceptor = listen({"mptcp": True})
    assert acceptor.sock.getsockopt(socket.SOL_SOCKET, _SO_PROTOCOL) == _MPTCP
    acceptor.close()


@pytest.mark.effect("listener:redirect", "reuseport")
def test_shared_port():
    first = listen({"reuseport": True})
    second = listen({"reuseport": True}, f"127.0.0.1:{first.address[1]}")
    for acceptor in (first, second):
        acceptor.close()


def test_no_original_destination():
    left, right = _socket.socketpair()
    with pytest.raises(OSError, match="redirected"):
        original_destination(left, False)
    left.close()
    right.close()


@pytest.mark.parametrize(
    ("host", "local"),
    [("127.0.0.1", True), ("::1", True), ("192.0.2.1", False), ("2001:db8::1", False)],
)
def test_is_local(host, local):
    assert is_local(host) == local


def test_addresses():
    assert addresses("1.2.3.4:5>[fd00::1]:53") == (("1.2.3.4", 5), ("fd00::1", 53))


@needs_namespaces  # which says that it is root
@pytest.mark.effect("listener:redu", "readBufferSize")
def test_read_buffer_size():
    """With the queue's length it bounds the bytes that wait."""
    context = Context("127.0.0.1:0", SilentLog(), listening=True)
    sessions: list[Session] = []
    carrier = redu.Carrier(parse(redu.ListenOptions, {"readBufferSize": 1}), context)
    bound = carrier.listen(lambda session, _: sessions.append(session))
    address = "127.0.0.1:5>192.0.2.1:53"
    for _ in range(200):
        bound.datagram(b"12", address)
    assert 64 <= len(sessions[0]._queue) <= 66
    assert sessions[0].info.destination == ("192.0.2.1", 53)
    bound.close()
