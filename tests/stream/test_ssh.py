"""SSH sessions: channels, their windows and ends, requests, login; and peers that misbehave."""

import tracemalloc

import gevent
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gostpy.errors import AuthFailed, ConnectionClosed, LimitExceeded, ProtocolError
from gostpy.stream.ssh import (
    Admission,
    Identity,
    TunnelClient,
    TunnelServer,
    accept_link,
    accept_login,
    channel,
    connect_link,
    connect_login,
    login,
    session,
)
from gostpy.stream.ssh.session import OpenRefused
from gostpy.wire.ssh.fields import Fields, string, uint32
from gostpy.wire.ssh.keyexchange import KexInit
from gostpy.wire.ssh.keys import ALGORITHMS, PrivateKey
from gostpy.wire.ssh.messages import ADJUST, Message, Open, OpenReason, global_request
from gostpy.wire.ssh.transport import Disconnected, Transport
from tests.stream.sshpairs import HOST_KEY, by_hand, conns, links

pytestmark = pytest.mark.timeout(30)

BIG = bytes(range(256)) * 4096
USER_KEY = PrivateKey(ec.generate_private_key(ec.SECP256R1()))
RSA_KEY = PrivateKey(rsa.generate_private_key(65537, 2048))


def data(number, payload):
    return bytes((Message.DATA,)) + uint32(number) + string(payload)


def about(kind, number):
    return bytes((kind,)) + uint32(number)


TUNNEL = Open("gost-tunnel", 7, 1 << 20, 32768).encode()


def opened(peer):
    """The number of a new channel of the server; ours is 7."""
    peer.say(TUNNEL)
    fields = Fields(peer.hear())
    assert (fields.byte(), fields.uint32()) == (Message.OPEN_CONFIRMATION, 7)
    return fields.uint32()


def tunnels(deliver):
    server, client = links()
    serving, asking = TunnelServer(server, deliver), TunnelClient(client)
    serving.start()
    asking.start()
    return serving, asking


def echoing(conn):
    def run():
        while piece := conn.recv():
            conn.sendall(piece)
        conn.close()

    gevent.spawn(run)


def read(conn, size):
    with gevent.Timeout(10):
        return conn.read_exact(size)


# -- channels --------------------------------------------------------------------------------------


def test_conns_over_channels():
    serving, asking = tunnels(echoing)
    made = [asking.open() for _ in range(5)]
    for number, conn in enumerate(made):
        conn.sendall(b"word %d" % number)
    assert [read(conn, 6) for conn in made] == [b"word %d" % number for number in range(5)]
    writing = gevent.spawn(made[0].sendall, BIG * 4)
    assert read(made[0], len(BIG) * 4) == BIG * 4
    writing.get(timeout=5)
    for conn in made:
        conn.close()
    gevent.idle()
    with gevent.Timeout(5):
        while serving.stream_count or asking.stream_count:
            gevent.sleep(0.001)
    asking.close()


def test_one_direction_can_end():
    got = []

    def deliver(conn):
        def run():
            while piece := conn.recv():
                got.append(piece)
            conn.sendall(b"all of it")
            conn.close()

        gevent.spawn(run)

    _, asking = tunnels(deliver)
    conn = asking.open()
    conn.sendall(BIG)
    conn.shut()
    assert read(conn, 9) == b"all of it"
    assert conn.recv() == b""
    assert b"".join(got) == BIG
    asking.close()


def test_close_alone_ends_both_directions():
    """As gost does it."""
    serving, delivered, peer = by_hand()
    number = opened(peer)
    peer.say(data(number, b"last words"), about(Message.CLOSE, number))
    (conn,) = delivered
    assert read(conn, 10) == b"last words"
    assert conn.recv() == b""
    assert not conn.endpoint.can_half
    with pytest.raises(ConnectionClosed):
        conn.sendall(b"too late")
    conn.close()
    assert peer.hear() == about(Message.CLOSE, 7)
    assert serving.stream_count == 0


def test_close_after_an_end_is_told():
    _, delivered, peer = by_hand()
    number = opened(peer)
    peer.say(about(Message.EOF, number), about(Message.CLOSE, number))
    (conn,) = delivered
    assert peer.hear() == about(Message.CLOSE, 7)
    with pytest.raises(ConnectionClosed, match="closed by the peer"):
        conn.recv()


def test_the_window_grows_for_a_reader_that_keeps_up():
    _, delivered, peer = by_hand()
    number = opened(peer)
    (conn,) = delivered
    granted = []
    window = channel.FIRST_WINDOW
    for _ in range(12):
        for _ in range(0, window // 2, 32768):
            peer.say(data(number, bytes(32768)))
            read(conn, 32768)
        _, to, size = ADJUST.unpack(peer.hear())
        assert to == 7
        granted.append(size)
        window = min(window * 2, channel.LARGEST_WINDOW)
    assert granted[:2] == [channel.FIRST_WINDOW // 2 * 3, channel.FIRST_WINDOW * 3]
    assert granted[-1] == channel.LARGEST_WINDOW // 2


def test_the_peers_window_is_kept_to(monkeypatch):
    monkeypatch.setattr(channel, "_SMALLEST_OUT", 4)
    _, delivered, peer = by_hand()
    peer.say(Open("gost-tunnel", 7, 10, 4).encode())
    peer.hear()
    (conn,) = delivered
    writing = gevent.spawn(conn.sendall, b"0123456789abcdef")
    assert [peer.hear()[9:] for _ in range(3)] == [b"0123", b"4567", b"89"]
    peer.say(ADJUST.pack(Message.WINDOW_ADJUST, 0, 3))
    assert peer.hear()[9:] == b"abc"
    assert not writing.ready()
    peer.say(ADJUST.pack(Message.WINDOW_ADJUST, 0, 100))
    assert peer.hear()[9:] == b"def"
    writing.get(timeout=5)


def test_what_waits_for_window_leaves_after_close():
    _, delivered, peer = by_hand()
    peer.say(Open("gost-tunnel", 7, 2, 32768).encode())
    peer.hear()
    (conn,) = delivered
    conn.write(b"hello")
    conn.close()
    assert peer.hear()[9:] == b"he"
    peer.say(ADJUST.pack(Message.WINDOW_ADJUST, 0, 100))
    assert peer.hear()[9:] == b"llo"
    assert peer.hear() == about(Message.CLOSE, 7)


def test_close_does_not_wait_for_ever(monkeypatch):
    monkeypatch.setattr(channel, "LINGER", 0.05)
    _, delivered, peer = by_hand()
    peer.say(Open("gost-tunnel", 7, 0, 32768).encode())
    peer.hear()
    (conn,) = delivered
    conn.write(b"hello")
    conn.close()
    assert peer.hear() == about(Message.CLOSE, 7)


def test_both_sides_close_while_both_wait_for_window():
    delivered = []
    serving, asking = tunnels(delivered.append)
    conn = asking.open()
    ends = (conn, delivered[0])
    for end in ends:
        assert not end.write(bytes(1 << 20))
    gevent.sleep(0.05)
    for end in ends:
        end.close()
    with gevent.Timeout(5):
        while serving.stream_count or asking.stream_count:
            gevent.sleep(0.01)


def test_standard_error_is_not_wanted_but_counts():
    _, delivered, peer = by_hand()
    number = opened(peer)
    for _ in range(3):
        piece = string(bytes(32768))
        peer.say(bytes((Message.EXTENDED_DATA,)) + uint32(number) + uint32(1) + piece)
    assert peer.hear()[0] == Message.WINDOW_ADJUST
    peer.say(data(number, b"x"))
    assert read(delivered[0], 1) == b"x"


# -- opening ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["session", "direct-tcpip", "forwarded-tcpip", "", "x" * 1000])
def test_other_channels_are_refused(kind):
    serving, delivered, peer = by_hand()
    peer.say(Open(kind, 9, 1000, 1000, b"whatever").encode())
    fields = Fields(peer.hear())
    assert (fields.byte(), fields.uint32()) == (Message.OPEN_FAILURE, 9)
    assert fields.uint32() == OpenReason.UNKNOWN_TYPE
    assert not delivered
    assert opened(peer) >= 0
    assert serving.alive


def test_a_refusal_reaches_who_asked():
    server, client = links()
    serving = session.Session(server, False, print)
    asking = TunnelClient(client)
    serving.start()
    asking.start()
    with pytest.raises(OpenRefused, match="unsupported channel type") as caught:
        asking.open()
    assert caught.value.reason == OpenReason.UNKNOWN_TYPE
    assert asking.alive


@pytest.mark.parametrize("size", [0, 1, 255])
def test_packets_that_are_too_small_end_the_session(size):
    serving, delivered, peer = by_hand()
    peer.say(Open("gost-tunnel", 7, 1 << 20, size).encode())
    with pytest.raises(Disconnected, match=f"only {size} bytes"):
        until_the_end(peer.link.read)
    assert not (serving.alive or delivered)


@pytest.mark.parametrize(
    "end",
    [
        pytest.param(b"", id="cut"),
        pytest.param(uint32(1) + uint32(1 << 20) + uint32(0), id="packets of nothing"),
    ],
)
def test_who_asked_hears_of_an_answer_that_is_wrong(end):
    server, client = links()
    asking = TunnelClient(client)
    asking.start()
    opening = gevent.spawn(asking.open)
    asked = Open.read(Fields(server.read(), 1))
    server.send(about(Message.OPEN_CONFIRMATION, asked.sender) + end)
    server.flush()
    with pytest.raises(ConnectionClosed):
        opening.get(timeout=5)


def test_only_so_many_channels_are_asked_for(monkeypatch):
    monkeypatch.setattr(session, "MOST_CHANNELS", 2)
    _, client = links()
    asking = TunnelClient(client)
    asking.start()
    openings = [gevent.spawn(asking.open) for _ in range(2)]
    gevent.idle()
    assert asking.busy
    assert asking.stream_count == 2
    with pytest.raises(LimitExceeded):
        asking.open()
    asking.close()
    gevent.joinall(openings)


def test_an_answer_is_not_awaited_for_ever(monkeypatch):
    monkeypatch.setattr(session, "_OPEN_TIMEOUT", 0.05)
    _, client = links()
    asking = TunnelClient(client)
    asking.start()
    with pytest.raises(TimeoutError):
        asking.open()


def test_an_answer_that_comes_too_late_closes_the_channel(monkeypatch):
    monkeypatch.setattr(session, "_OPEN_TIMEOUT", 0.05)
    server, client = links()
    asking = TunnelClient(client)
    asking.start()
    with pytest.raises(TimeoutError):
        asking.open()
    asked = Open.read(Fields(server.read(), 1))
    answer = (asked.sender, 4, 1000, 1000)
    server.send(bytes((Message.OPEN_CONFIRMATION,)) + b"".join(map(uint32, answer)))
    assert server.read() == about(Message.CLOSE, 4)
    assert asking.alive


def test_data_right_after_the_answer_is_not_lost():
    server, client = links()
    asking = TunnelClient(client)
    asking.start()
    opening = gevent.spawn(asking.open)
    asked = Open.read(Fields(server.read(), 1))
    answer = (asked.sender, 4, 1000, 1000)
    server.send(bytes((Message.OPEN_CONFIRMATION,)) + b"".join(map(uint32, answer)))
    server.send(data(asked.sender, b"first"))
    server.send(about(Message.CLOSE, asked.sender))
    server.flush()
    conn = opening.get(timeout=5)
    assert (conn.recv(), conn.recv()) == (b"first", b"")


@pytest.mark.parametrize("early", [TUNNEL, data(99, b"x")], ids=["channel", "nonsense"])
def test_what_comes_together_with_the_login(early):
    here, there = conns()
    delivered = []

    def serve():
        link = accept_link(here, HOST_KEY)
        accept_login(link, Admission())
        TunnelServer(link, delivered.append).start()

    gevent.spawn(serve)
    link = connect_link(there)
    link.send(bytes((Message.SERVICE_REQUEST,)) + string("ssh-userauth"))
    link.send(login._request("u", "none"))
    link.send(early)
    if early == TUNNEL:
        heard = [link.read()[0] for _ in range(3)]
        assert heard[1:] == [Message.USERAUTH_SUCCESS, Message.OPEN_CONFIRMATION]
        assert len(delivered) == 1
    else:
        with pytest.raises(Disconnected):
            until_the_end(link.read)


@pytest.mark.parametrize("rekeys", [False, True], ids=["a question", "a key exchange"])
def test_what_is_answered_by_itself_comes_together_with_the_login(rekeys):
    here, there = conns()

    def serve():
        link = accept_link(here, HOST_KEY)
        assert [link.read()[0] for _ in range(2)] == [5, Message.USERAUTH_REQUEST]
        link.send(bytes((Message.SERVICE_ACCEPT,)) + string("ssh-userauth"))
        link.send(bytes((Message.USERAUTH_SUCCESS,)))
        if rekeys:
            link.transport.rekey()
        else:
            link.send(b"\x08")  # a message that nobody knows
        link.flush()
        TunnelServer(link, echoing).start()

    gevent.spawn(serve)
    link = connect_link(there)
    connect_login(link, Identity("u"))
    asking = TunnelClient(link)
    asking.start()
    with gevent.Timeout(5):
        conn = asking.open()
    conn.sendall(b"hi")
    assert read(conn, 2) == b"hi"


def test_the_end_of_a_session_ends_everything():
    _, asking = tunnels(print)
    conn = asking.open()
    ended = []
    asking.on_close = ended.append
    reading = gevent.spawn(conn.recv)
    gevent.idle()
    asking.conn.endpoint.sock.shutdown(2)
    with pytest.raises(ConnectionClosed):
        reading.get(timeout=5)
    assert ended == [asking]
    with pytest.raises(ConnectionClosed):
        asking.open()


def test_only_so_many_channels(monkeypatch):
    monkeypatch.setattr(session, "MOST_CHANNELS", 3)
    serving, delivered, peer = by_hand()
    for _ in range(3):
        opened(peer)
    peer.say(TUNNEL)
    fields = Fields(peer.hear())
    assert (fields.byte(), fields.uint32()) == (Message.OPEN_FAILURE, 7)
    assert fields.uint32() == OpenReason.SHORTAGE
    assert len(delivered) == 3
    assert serving.busy


def test_a_channel_takes_little_memory():
    """So many as a peer may have: little beside the 16 MiB that they may keep."""
    _, delivered, peer = by_hand()
    opened(peer)
    count = 1000
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        peer.say(*[TUNNEL] * count)
        with gevent.Timeout(20):
            while len(delivered) <= count:
                gevent.sleep(0.001)
        grown = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert grown / count * session.MOST_CHANNELS < 2 << 20  # besides their green threads


# -- requests --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["ping", "tcpip-forward", "keepalive@openssh.com", ""])
def test_requests_are_answered_with_failure(name):
    _, _, peer = by_hand()
    peer.say(global_request(name, True, b"fields"), global_request(name, False))
    assert peer.hear() == bytes((Message.REQUEST_FAILURE,))
    opened(peer)


def test_requests_of_channels_are_answered_with_failure():
    _, _, peer = by_hand()
    number = opened(peer)
    for wanted in (b"\0", b"\1"):
        peer.say(about(Message.CHANNEL_REQUEST, number) + string("exec") + wanted + string("id"))
    assert peer.hear() == about(Message.CHANNEL_FAILURE, 7)


# -- peers that break the rules --------------------------------------------------------------------

WRONG = {
    "data for no channel": [data(99, b"x")],
    "window overrun": [data(0, bytes(32768))] * 5,
    "too much in a packet": [data(0, bytes(32769))],
    "data after the end": [about(Message.EOF, 0), data(0, b"x")],
    "data after close": [about(Message.CLOSE, 0), data(0, b"x")],
    "closed twice": [about(Message.CLOSE, 0)] * 2,
    "wrong size": [bytes((Message.DATA,)) + uint32(0) + uint32(5) + b"four"],
    "cut": [bytes((Message.DATA,)) + uint32(0)],
    "window too large": [ADJUST.pack(Message.WINDOW_ADJUST, 0, 0xFFFFFFFF)],
    "credit for no channel": [ADJUST.pack(Message.WINDOW_ADJUST, 99, 1)],
    "answer to nothing": [bytes((Message.REQUEST_SUCCESS,))],
    "channel that was not asked for": [about(Message.OPEN_CONFIRMATION, 0) + bytes(12)],
    "no data in a packet": [Open("gost-tunnel", 1, 1, 0).encode()],
    "login again": [bytes((Message.USERAUTH_REQUEST,)) + string("x") * 3],
    "unknown": [b"\xc8"],
}
"""What a peer says; the channel's number is 0."""


def until_the_end(read):
    """Read until that fails."""
    while read():
        pass


@pytest.mark.parametrize("wrong", WRONG)
def test_a_broken_rule_ends_the_session(wrong):
    serving, delivered, peer = by_hand()
    assert opened(peer) == 0
    peer.say(*WRONG[wrong])
    with pytest.raises(Disconnected):
        until_the_end(peer.hear)
    assert isinstance(serving.error, ProtocolError)
    with pytest.raises(ConnectionClosed):
        until_the_end(delivered[0].recv)


@pytest.mark.parametrize(
    "request_", [global_request("x", True), b"\x08"], ids=["request", "unknown message"]
)
def test_answers_that_nobody_reads_end_the_session(request_):
    serving, _, peer = by_hand()
    peer.link.conn.endpoint.pause()

    def flood():
        while serving.alive:
            for _ in range(500):
                peer.link.send(request_)
            peer.link.flush()

    flooding = gevent.spawn(flood)
    with gevent.Timeout(20):
        while serving.alive:
            gevent.sleep(0.01)
            assert serving.conn.endpoint.unsent < 4 << 20
    flooding.kill()
    assert "does not read" in str(serving.error)


@pytest.mark.parametrize("who", ["server", "client"])
def test_a_key_exchange_does_not_last_for_ever(monkeypatch, who):
    monkeypatch.setattr(session, "_EXCHANGE_TIMEOUT", 0.05)
    serving, _, peer = by_hand()
    if who == "server":
        serving.transport.rekey()
        serving.send(global_request("x", False))
    else:
        transport = peer.link.transport
        transport.emit(*transport.seal(KexInit.make(True, ALGORITHMS, False).encode()))
        peer.link.flush()
    with gevent.Timeout(5):
        while serving.alive:
            gevent.sleep(0.01)
    assert "key exchange" in str(serving.error)


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    st.lists(
        st.one_of(
            st.binary(min_size=1, max_size=30),
            st.tuples(st.sampled_from(list(Message)), st.binary(max_size=30)).map(
                lambda each: bytes((each[0],)) + each[1]
            ),
        ),
        max_size=6,
    )
)
def test_whatever_is_said_ends_the_session_at_most(payloads):
    serving, _, peer = by_hand()
    for payload in payloads:
        peer.link._emit(*peer.link.transport.seal(payload))
    peer.link.flush()
    peer.link.conn.shut()
    with gevent.Timeout(5):
        while serving.alive:
            gevent.sleep(0)
    assert isinstance(serving.error, ProtocolError | ConnectionClosed)


# -- readers that are stuck ------------------------------------------------------------------------


def test_a_stuck_reader_stops_nobody_else():
    serving, delivered, peer = by_hand()
    stuck = opened(peer)
    for _ in range(4):
        peer.say(data(stuck, bytes(32768)))
    number = opened(peer)
    peer.say(data(number, b"hello"))
    assert read(delivered[1], 5) == b"hello"
    assert delivered[0].endpoint.waiting == channel.FIRST_WINDOW
    assert not serving.busy


def test_many_stuck_readers_hold_the_session():
    """128 of them fit; what is more waits in the peer."""
    serving, delivered, peer = by_hand()
    numbers = [opened(peer) for _ in range(140)]

    def flood():
        for number in numbers:
            peer.say(*[data(number, bytes(32768))] * 4)

    flooding = gevent.spawn(flood)
    with gevent.Timeout(20):
        while not serving.busy:
            gevent.sleep(0.01)
    held = sum(conn.endpoint.waiting for conn in delivered)
    assert held <= (16 << 20) + 65536
    for conn in delivered:
        conn.close()
    flooding.join(timeout=5)
    assert not serving.busy


# -- key exchange while data flows -----------------------------------------------------------------


@pytest.mark.parametrize("who", ["client", "server", "both"])
def test_new_keys_during_bulk(who, monkeypatch):
    counted = []
    offer = Transport._offer
    monkeypatch.setattr(Transport, "_offer", lambda self: (counted.append(1), offer(self)))
    serving, asking = tunnels(echoing)
    for side in (serving, asking):
        if who in ("both", "client" if side is asking else "server"):
            side.transport._rekey_bytes = side.transport._left_out = 300_000
    made = [asking.open() for _ in range(3)]
    writing = [gevent.spawn(conn.sendall, BIG * 4) for conn in made]
    reading = [gevent.spawn(read, conn, len(BIG) * 4) for conn in made]
    for each in reading:
        assert each.get(timeout=20) == BIG * 4
    gevent.joinall(writing, timeout=5)
    assert len(counted) > 10
    assert asking.alive
    asking.close()


# -- keep-alive ------------------------------------------------------------------------------------


def test_pings_that_are_answered():
    _, asking = tunnels(echoing)
    asking.keep_pinging(0.02, 0.5, 1)
    gevent.sleep(0.15)
    assert asking.alive
    assert not asking._asked or len(asking._asked) == 1


@pytest.mark.parametrize("retries", [1, 3])
def test_pings_without_an_answer_end_the_session(retries):
    server, client = links()
    asking = TunnelClient(client)
    asking.start()
    asking.keep_pinging(0.02, 0.02, retries)
    asked = [server.read() for _ in range(retries)]
    assert asked == [global_request("ping", True)] * retries
    with gevent.Timeout(5):
        while asking.alive:
            gevent.sleep(0.005)
    assert "silent" in str(asking.error)


# -- login -----------------------------------------------------------------------------------------


def password(user, word):
    return (user, word) == ("u", "pw")


KEYS = frozenset({USER_KEY.public, RSA_KEY.public})
LOGINS = [
    pytest.param(Admission(), Identity("anybody"), True, id="none"),
    pytest.param(Admission(password), Identity("u", "pw"), True, id="password"),
    pytest.param(Admission(password), Identity("u", "no"), False, id="wrong password"),
    pytest.param(Admission(password), Identity("u"), False, id="no password"),
    pytest.param(
        Admission(None, KEYS), Identity("u", "pw", lambda: [USER_KEY.signer]), True, id="key"
    ),
    pytest.param(
        Admission(None, KEYS), Identity("u", "", lambda: [RSA_KEY.signer]), True, id="rsa"
    ),
    pytest.param(
        Admission(None, KEYS), Identity("u", "", lambda: [HOST_KEY.signer]), False, id="wrong key"
    ),
    pytest.param(Admission(None, frozenset()), Identity("u"), False, id="no keys"),
    pytest.param(
        Admission(password, KEYS),
        Identity("u", "no", lambda: [HOST_KEY.signer, USER_KEY.signer]),
        True,
        id="the second key after a wrong password",
    ),
]


@pytest.mark.parametrize(("admission", "identity", "enters"), LOGINS)
def test_logins(admission, identity, enters):
    if enters:
        links(admission, identity)
        return
    with pytest.raises((AuthFailed, ProtocolError)):
        links(admission, identity)


def test_keys_are_not_asked_for_in_vain():
    asked = []
    links(Admission(password), Identity("u", "pw", lambda: asked.append(1) or []))
    assert not asked


def test_guessing_ends_after_six():
    tried = []
    here, there = conns()

    def refuse(user, word):
        tried.append(word)
        return False

    def serve():
        link = accept_link(here, HOST_KEY)
        accept_login(link, Admission(refuse))

    serving = gevent.spawn(serve)
    link = connect_link(there)
    link.send(bytes((Message.SERVICE_REQUEST,)) + string("ssh-userauth"))
    for number in range(20):
        link.send(login._request("u", "password", b"\0" + string(str(number))))
    with pytest.raises(Disconnected, match="too many"):
        until_the_end(link.read)
    with pytest.raises(AuthFailed):
        serving.get(timeout=5)
    assert tried == [str(number) for number in range(6)]


NONSENSE = {
    "no service": [bytes((Message.SERVICE_REQUEST,)) + string("ssh-connection")],
    "channel before login": [Open("gost-tunnel", 1, 1, 1).encode()],
    "another service": [
        bytes((Message.SERVICE_REQUEST,)) + string("ssh-userauth"),
        bytes((Message.USERAUTH_REQUEST,)) + string("u") + string("other") + string("none"),
    ],
    "cut": [bytes((Message.SERVICE_REQUEST,)) + string("ssh-userauth"), b"\x32\0\0\0\x05u"],
    "not text": [
        bytes((Message.SERVICE_REQUEST,)) + string("ssh-userauth"),
        b"\x32" + string(b"\xff"),
    ],
}


@pytest.mark.parametrize("said", NONSENSE)
def test_logins_that_are_none(said):
    here, there = conns()
    serving = gevent.spawn(lambda: accept_login(accept_link(here, HOST_KEY), Admission(password)))
    link = connect_link(there)
    for payload in NONSENSE[said]:
        link.send(payload)
    link.flush()
    with pytest.raises(ProtocolError):
        serving.get(timeout=5)


def test_none_can_be_asked_only_so_often():
    here, there = conns()
    serving = gevent.spawn(lambda: accept_login(accept_link(here, HOST_KEY), Admission(password)))
    link = connect_link(there)
    link.send(bytes((Message.SERVICE_REQUEST,)) + string("ssh-userauth"))
    for _ in range(70):
        link.send(login._request("u", "none"))
    link.flush()
    with pytest.raises(AuthFailed):
        serving.get(timeout=5)


def test_a_change_of_password_is_refused():
    here, there = conns()
    gevent.spawn(lambda: accept_login(accept_link(here, HOST_KEY), Admission(password)))
    link = connect_link(there)
    link.send(bytes((Message.SERVICE_REQUEST,)) + string("ssh-userauth"))
    link.send(login._request("u", "password", b"\1" + string("pw") + string("new")))
    assert link.read()[0] == Message.SERVICE_ACCEPT
    assert link.read()[0] == Message.USERAUTH_FAILURE


def test_a_signature_for_another_session_is_refused():
    here, there = conns()
    gevent.spawn(lambda: accept_login(accept_link(here, HOST_KEY), Admission(None, KEYS)))
    link = connect_link(there)
    link.send(bytes((Message.SERVICE_REQUEST,)) + string("ssh-userauth"))
    own, link.transport.session_id = link.transport.session_id, b"another"
    request = login._signed(link, "u", USER_KEY.signer, USER_KEY.kind)
    link.transport.session_id = own
    link.send(request)
    assert link.read()[0] == Message.SERVICE_ACCEPT
    assert link.read()[0] == Message.USERAUTH_FAILURE
    link.send(login._signed(link, "u", USER_KEY.signer, USER_KEY.kind))
    assert link.read()[0] == Message.USERAUTH_SUCCESS
