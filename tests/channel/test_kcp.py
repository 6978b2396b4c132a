"""kcp: what each option does, sessions over real sockets, and peers that cannot be trusted."""

from __future__ import annotations

import contextlib
import gc
import json
import os
import random
import socket

import gevent
import pytest

from gostpy.channel import kcp
from gostpy.channel.dialer import StackDialer
from gostpy.channel.kcpprofile import read_profile
from gostpy.channel.listener import StackListener
from gostpy.errors import ConfigError, MissingExtra
from gostpy.interfaces import Context
from gostpy.net import timers
from gostpy.net.conn import ConnInfo
from gostpy.net.packet import PacketConn, dial_udp
from gostpy.options import parse
from gostpy.wire.kcp import Core, Encoder, Settings
from gostpy.wire.kcp.ciphers import packet_cipher
from gostpy.wire.kcp.fec import DATA, FEC_OVERHEAD, kind_of
from gostpy.wire.kcp.segment import ACK, HEADER, PUSH
from gostpy.wire.kcp.snappy import MARK, SnappyCodec
from gostpy.wire.smux import PSH, SYN, UPD, header
from tests.channel.fakes import FakeGuards, SilentLog
from tests.engine.running import eventually
from tests.lossy import Lossy

pytestmark = pytest.mark.timeout(30)

NOISE = random.Random(5).randbytes(400_000)
SIDES = ("listener", "dialer")


def context(address: str = "127.0.0.1:0", *, listening: bool = True, strict: bool = False):
    return Context(address, SilentLog(), listening=listening, node="n", strict=strict)


def options(side: str, metadata: dict):
    kind = kcp.ListenOptions if side == "listener" else kcp.DialOptions
    return parse(kind, metadata, problems=[])


# -- by hand: packets without encryption -----------------------------------------------------------


class Packets(PacketConn):
    """Keeps what is sent; ``feed`` plays the network."""

    on_hub = True

    def __init__(self) -> None:
        super().__init__(ConnInfo(peer=("192.0.2.1", 9)))
        self.sent: list[bytes] = []

    def start(self, sink) -> None:
        self.sink = sink

    def send_now(self, data, address="") -> float:
        self.sent.append(bytes(data))
        return 0.0

    def feed(self, *packets: bytes) -> None:
        for packet in packets:
            self.sink.datagram(packet, "192.0.2.1:9")
        gevent.sleep(0)
        gevent.sleep(0)


class Peer:
    """A session whose peer is the test: conversation 7, smux frames as text for text."""

    def __init__(self, side: str, metadata: dict) -> None:
        self.packets = Packets()
        self.delivered = []
        part = kcp.Mux(options(side, metadata), context(listening=side == "listener"))
        self.version = int(metadata.get("kcp.smuxver", 1))
        self.snappy = None if metadata.get("kcp.nocomp") else SnappyCodec()
        self.heard = SnappyCodec() if self.snappy else None
        self.number = 0
        if side == "listener":
            self.session = part.serve(self.packets, self.delivered.append)
            self.conv = 7
            self.say(header(self.version, SYN, 3))
            self.stream = self.delivered[0]
        else:
            self.session = part.connect(self.packets)
            self.stream = self.session.open()
            gevent.sleep(0)
            gevent.sleep(0)
            self.conv = HEADER.unpack_from(self.plain()[0])[0]

    def say(self, frames: bytes) -> None:
        """One segment to the session."""
        wire = bytes(self.snappy.encode(frames)) if self.snappy else frames
        head = HEADER.pack(self.conv, PUSH, 0, 32, 0, self.number, 0, len(wire))
        self.number += 1
        self.packets.feed(head + wire)

    def plain(self) -> list[bytes]:
        """Segments that were sent, without FEC."""
        found = []
        for each in self.packets.sent:
            at = FEC_OVERHEAD if kind_of(each) == DATA else 0
            while kind_of(each) in (0, DATA) and at < len(each):
                end = at + HEADER.size + HEADER.unpack_from(each, at)[7]
                found.append(each[at:end])
                at = end
        return found

    def data(self) -> list[bytes]:
        """Those with data, in order of their numbers."""
        found = {}
        for segment in self.plain():
            fields = HEADER.unpack_from(segment)
            if fields[1] == PUSH:
                found[fields[5]] = segment
        return [found[number] for number in sorted(found)]

    def frames(self) -> bytes:
        """The smux frames of them."""
        wire = b"".join(packet[HEADER.size :] for packet in self.data())
        return bytes(self.heard.decode(wire)) if self.heard else wire

    def write(self, data: bytes) -> None:
        self.stream.write(data)
        gevent.sleep(0)
        gevent.sleep(0)

    def close(self) -> None:
        self.session.fail(OSError("the test is over"))


@pytest.fixture
def peer():
    made = []

    def start(side: str, metadata: dict) -> Peer:
        made.append(Peer(side, metadata))
        return made[-1]

    yield start
    for each in made:
        each.close()


@pytest.fixture
def waits(monkeypatch):
    """Seconds of all timers that were set."""
    seen: list[float] = []
    after = timers.after

    def noted(seconds, callback):
        seen.append(seconds)
        return after(seconds, callback)

    monkeypatch.setattr(timers, "after", noted)
    return seen


both = pytest.mark.parametrize("side", SIDES)


@pytest.mark.effect("listener:kcp", "kcp.mtu")
@pytest.mark.effect("dialer:kcp", "kcp.mtu")
@pytest.mark.parametrize(("mtu", "size"), [(0, 1400), (600, 600), (1500, 1500), (9000, 1400)])
@both
def test_no_packet_is_larger_than_the_mtu(peer, side, mtu, size):
    made = peer(side, {"kcp.mtu": mtu, "kcp.mode": "fast"})
    made.write(NOISE[:30_000])
    assert max(map(len, made.packets.sent)) + 20 == size


@pytest.mark.effect("listener:kcp", "kcp.sndwnd")
@pytest.mark.effect("dialer:kcp", "kcp.sndwnd")
@both
def test_send_window_limits_what_is_on_the_way(peer, side):
    made = peer(side, {"kcp.sndwnd": 8, "kcp.mode": "fast"})
    made.write(NOISE[:60_000])
    assert len(made.data()) == 8


@pytest.mark.effect("listener:kcp", "kcp.rcvwnd")
@pytest.mark.effect("dialer:kcp", "kcp.rcvwnd")
@both
def test_receive_window_is_told(peer, side):
    made = peer(side, {"kcp.rcvwnd": 99})
    made.say(header(1, PSH, 3, 1) + b"x")
    made.write(b"y")
    assert {HEADER.unpack_from(packet)[3] for packet in made.plain()} == {99}


@pytest.mark.effect("listener:kcp", "kcp.interval")
@pytest.mark.effect("dialer:kcp", "kcp.interval")
@both
def test_interval_is_the_time_between_ticks(peer, side, waits):
    made = peer(side, {"kcp.interval": 77})
    made.write(b"x")
    assert 0.077 in waits


@pytest.mark.effect("listener:kcp", "kcp.mode")
@pytest.mark.effect("dialer:kcp", "kcp.mode")
@pytest.mark.parametrize(("mode", "wait"), [("normal", 0.04), ("fast", 0.03), ("fast2", 0.02)])
@both
def test_mode_sets_the_interval_and_sends_freely(peer, side, mode, wait, waits):
    made = peer(side, {"kcp.mode": mode})
    made.write(NOISE[:60_000])
    assert wait in waits
    assert len(made.data()) == 32
    slow = peer(side, {})
    slow.write(NOISE[:60_000])
    assert len(slow.data()) == 1


@pytest.mark.effect("listener:kcp", "kcp.keepalive")
@pytest.mark.effect("dialer:kcp", "kcp.keepalive")
@both
def test_keepalive_is_the_time_between_pings(peer, side, waits):
    peer(side, {"kcp.keepalive": 23})
    assert 23.0 in waits
    waits.clear()
    peer(side, {})
    assert 10.0 in waits


@pytest.mark.effect("listener:kcp", "kcp.smuxver")
@pytest.mark.effect("dialer:kcp", "kcp.smuxver")
@pytest.mark.parametrize("version", [1, 2])
@both
def test_version_of_smux(peer, side, version):
    made = peer(side, {"kcp.smuxver": version, "kcp.mode": "fast"})
    made.write(b"hello")
    assert header(version, PSH, 3, 5) + b"hello" in made.frames()


@pytest.mark.effect("listener:kcp", "kcp.smuxbuf")
@pytest.mark.effect("dialer:kcp", "kcp.smuxbuf")
@both
def test_session_stops_reading_above_its_buffer(peer, side):
    made = peer(side, {"kcp.smuxbuf": 3000, "kcp.streambuf": 1000})
    for _ in range(3):
        made.say(header(1, PSH, 3, 1000) + NOISE[:1000])
    assert not made.session.busy
    made.say(header(1, PSH, 3, 1000) + NOISE[:1000])
    assert made.session.busy
    assert len(made.stream.read_exact(4000)) == 4000
    assert not made.session.busy


@pytest.mark.effect("listener:kcp", "kcp.streambuf")
@pytest.mark.effect("dialer:kcp", "kcp.streambuf")
@both
def test_window_of_a_stream_is_told(peer, side):
    made = peer(side, {"kcp.streambuf": 54321, "kcp.smuxver": 2, "kcp.mode": "fast"})
    made.say(header(2, PSH, 3, 1) + b"x")
    assert made.stream.recv() == b"x"
    gevent.sleep(0)
    gevent.sleep(0)
    update = header(2, UPD, 3, 8) + (1).to_bytes(4, "little") + (54321).to_bytes(4, "little")
    assert update in made.frames()


@pytest.mark.effect("listener:kcp", "kcp.nocomp")
@pytest.mark.effect("dialer:kcp", "kcp.nocomp")
@both
def test_compression_can_be_left_out(peer, side):
    plain = peer(side, {"kcp.nocomp": True})
    plain.write(bytes(1000))
    first = header(1, SYN, 3) if side == "dialer" else header(1, PSH, 3, 1000)
    assert plain.data()[0][HEADER.size :].startswith(first)
    packed = peer(side, {})
    packed.write(bytes(1000))
    assert packed.data()[0][HEADER.size :].startswith(MARK)
    assert sum(map(len, packed.data())) < 300


@pytest.mark.effect("listener:kcp", "kcp.config")
@pytest.mark.effect("dialer:kcp", "kcp.config")
@both
def test_values_of_a_map_are_used(peer, side):
    made = peer(side, {"kcp.config": {"MTU": 700, "datashard": 0, "sndwnd": 5, "mode": "fast"}})
    made.write(NOISE[:20_000])
    assert max(map(len, made.packets.sent)) + 20 == 700
    assert len(made.data()) == 5
    assert not any(kind_of(packet) for packet in made.packets.sent)


@pytest.mark.effect("listener:kcp", "kcp.configFile")
@pytest.mark.effect("dialer:kcp", "kcp.configFile")
@both
def test_values_of_a_file_are_used_unless_an_option_says_more(peer, side, tmp_path):
    path = tmp_path / "kcp.json"
    path.write_text(json.dumps({"mtu": 700, "sndwnd": 5, "mode": "fast", "key": "from the file"}))
    for key in ("kcp.configFile", "configFile", "c"):
        made = peer(side, {key: str(path), "kcp.sndwnd": 6})
        made.write(NOISE[:20_000])
        assert max(map(len, made.packets.sent)) + 20 == 700
        assert len(made.data()) == 6
    profile = read_profile(options(side, {"c": str(path)}))
    assert profile.password == "from the file"


@both
def test_gost_ignores_what_a_file_says_of_options(side, tmp_path):
    found = {
        "mtu": 700,
        "key": "k",
        "crypt": "xor",
        "mode": "fast",
        "datashard": 5,
        "parityshard": 2,
    }
    profile = read_profile(options(side, {"kcp.config": found, "kcp.sndwnd": 64}), True)
    assert (profile.password, profile.crypt) == ("", "")
    assert profile.kcp == Settings(send_window=64)
    assert (profile.shards.data, profile.shards.parity) == (5, 2)


def test_usual_values_are_those_of_gost():
    profile = read_profile(kcp.DialOptions())
    assert profile.kcp == Settings(
        size=1372,
        send_window=32,
        receive_window=32,
        nodelay=False,
        interval=10,
        resend=0,
        congestion=True,
    )
    assert (profile.shards.data, profile.shards.parity) == (10, 3)
    assert (profile.password, profile.crypt, profile.compress, profile.tcp) == ("", "", True, False)
    assert (profile.smux.version, profile.smux.keepalive_interval) == (1, 10.0)
    assert (profile.smux.max_receive_buffer, profile.smux.max_stream_buffer) == (4194304, 2097152)


BAD = [
    pytest.param({"kcp.mtu": 60}, "mtu", id="mtu"),
    pytest.param({"kcp.smuxver": 3}, "version", id="smuxver"),
    pytest.param({"kcp.keepalive": 31}, "keepalive", id="keepalive"),
    pytest.param({"kcp.smuxbuf": 10, "kcp.streambuf": 11}, "Buffer", id="streambuf"),
    pytest.param({"kcp.config": {"mtu": "big"}}, "mtu", id="no-number"),
    pytest.param({"kcp.config": {"datashard": 200, "parityshard": 100}}, "256", id="shards"),
    pytest.param({"c": "/nonexistent/kcp.json"}, "cannot read", id="file"),
]


@pytest.mark.parametrize(("metadata", "words"), BAD)
@both
def test_values_that_cannot_be_used(side, metadata, words):
    with pytest.raises(ConfigError, match=words):
        kcp.Mux(options(side, metadata), context())


@pytest.mark.parametrize("text", ["{", "[]", "\x00"])
def test_files_that_are_no_object(tmp_path, text):
    path = tmp_path / "kcp.json"
    path.write_text(text)
    with pytest.raises(ConfigError, match="JSON"):
        kcp.Carrier(options("dialer", {"c": str(path)}), context())


def test_missing_library(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "cramjam", None)
    with pytest.raises(MissingExtra, match=r"gostpy\[kcp\]"):
        kcp.Mux(kcp.DialOptions(), context())
    kcp.Mux(options("dialer", {"kcp.nocomp": True}), context())


# -- over sockets ----------------------------------------------------------------------------------


class Stack:
    """A listener with an echo behind it, and dialers."""

    def __init__(self) -> None:
        self.closing = []
        self.conns = []
        self.guards = FakeGuards()

    def listen(self, metadata: dict | None = None, address: str = "127.0.0.1:0"):
        made = options("listener", metadata or {})
        about = context(address)
        self.mux = kcp.Mux(made, about)
        self.listener = StackListener(kcp.Carrier(made, about), (), self.mux, self.guards, about)
        self.listener.listen()
        self.listener.start(self._echo)
        self.closing.append(self.listener.close)
        return self.listener.address

    def _echo(self, conn) -> None:
        self.conns.append(conn)
        while data := conn.recv():
            conn.sendall(data)

    def dial(self, address, metadata: dict | None = None):
        about = context(f"{address[0]}:{address[1]}", listening=False)
        made = options("dialer", metadata or {})
        dialer = StackDialer(kcp.Carrier(made, about), (), kcp.Mux(made, about), about)
        self.closing.append(dialer.close)
        conn = dialer.dial(lambda _, to: dial_udp(to), ())
        conn.settimeout(10.0)
        return conn

    def talk(self, conn, data: bytes) -> bool:
        sending = gevent.spawn(conn.sendall, data)
        found = conn.read_exact(len(data))
        sending.get(timeout=20)
        return found == data


@pytest.fixture
def stack():
    made = Stack()
    yield made
    for close in reversed(made.closing):
        close()
    gevent.sleep(0)


@pytest.mark.effect("listener:kcp", "kcp.key", "kcp.crypt")
@pytest.mark.effect("dialer:kcp", "kcp.key", "kcp.crypt")
@pytest.mark.parametrize("crypt", ["aes-128", "xor", "none", "salsa20", "tea"])
def test_key_and_cipher_must_agree(stack, crypt):
    mine = {"kcp.key": "k", "kcp.crypt": crypt}
    address = stack.listen(mine)
    assert stack.talk(stack.dial(address, mine), b"hello" * 100)
    assert len(stack.conns) == 1
    for other in ({**mine, "kcp.key": "l"}, {**mine, "kcp.crypt": "sm4"}):
        if other["kcp.crypt"] == "none":
            continue  # it has no key
        conn = stack.dial(address, other)
        conn.settimeout(0.1)
        conn.sendall(b"hello")
        with pytest.raises(TimeoutError):
            conn.recv()
    assert len(stack.conns) == 1
    assert len(stack.listener._bound) == 1


@pytest.mark.effect("listener:kcp", "kcp.tcp")
def test_listener_over_fake_tcp(monkeypatch):
    from gostpy.net import faketcp

    made = Packets()
    made.lost = None
    made.info.local = ("127.0.0.1", 9)
    monkeypatch.setattr(faketcp, "listen_fake_tcp", lambda *_: made)
    bound = kcp.Carrier(options("listener", {"tcp": True}), context()).listen(lambda *_: None)
    assert bound.packets.inner is made
    assert made.lost == bound.end


@pytest.mark.effect("dialer:kcp", "kcp.tcp")
def test_dialer_over_fake_tcp():
    asked = []

    def open(network, address):
        asked.append((network, address))
        return Packets()

    carrier = kcp.Carrier(options("dialer", {"kcp.tcp": True}), context("192.0.2.1:9"))
    carrier.open(open)
    assert asked == [("ftcp", "192.0.2.1:9")]


def test_dscp_and_buffers_of_the_socket(stack):
    marked = {"kcp.config": {"dscp": 46, "sockbuf": 100_000, "streambuf": 1000, "smuxbuf": 1000}}
    stack.listen(marked)
    sock = stack.listener._bound.packets.inner.sock
    assert sock.getsockopt(socket.IPPROTO_IP, socket.IP_TOS) == 46 << 2


MODES = [
    pytest.param({"kcp.mode": "fast"}, id="fast"),
    pytest.param({"kcp.mode": "fast2", "kcp.sndwnd": 512, "kcp.rcvwnd": 512}, id="fast2-wide"),
    pytest.param({"kcp.mode": "fast3", "kcp.nocomp": True, "kcp.smuxver": 2}, id="fast3-smux2"),
]


@pytest.mark.parametrize("metadata", MODES)
def test_transfer_stays_whole_over_a_bad_line(stack, metadata):
    address = stack.listen(metadata)
    with Lossy(address, loss=0.05, delay=0.01, jitter=0.004, copies=0.02) as relay:
        assert stack.talk(stack.dial(relay.address, metadata), NOISE)
        assert relay.lost > 20


def test_three_mebibytes_at_5_percent_loss_and_100_ms(stack):
    metadata = {"kcp.mode": "fast2", "kcp.sndwnd": 1024, "kcp.rcvwnd": 1024}
    address = stack.listen(metadata)
    data = random.Random(6).randbytes(3 << 20)
    with Lossy(address, loss=0.05, delay=0.05, jitter=0.005) as relay:
        conn = stack.dial(relay.address, metadata)
        conn.settimeout(20.0)
        assert stack.talk(conn, data)
        assert relay.lost > 100


def test_streams_share_a_session(stack):
    address = stack.listen()
    about = context(f"{address[0]}:{address[1]}", listening=False)
    made = kcp.DialOptions()
    dialer = StackDialer(kcp.Carrier(made, about), (), kcp.Mux(made, about), about)
    conns = [dialer.dial(lambda _, to: dial_udp(to), ()) for _ in range(20)]
    assert len({conn.endpoint.session for conn in conns}) == 1
    talks = [gevent.spawn(stack.talk, conn, NOISE[:20_000]) for conn in conns]
    gevent.joinall(talks, timeout=10)
    assert all(each.value for each in talks)
    dialer.close()


def test_nobody_listens(stack):
    probe = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    probe.bind(("127.0.0.1", 0))
    address = probe.getsockname()
    probe.close()
    conn = stack.dial(address)
    conn.sendall(b"x")
    with pytest.raises(OSError, match="nobody listens"):
        conn.recv()


def test_old_listener_gives_way_to_a_new_one_on_its_port(stack):
    address = stack.listen()
    conn = stack.dial(address)
    assert stack.talk(conn, b"a")
    stack.listener.close()
    assert stack.talk(conn, b"b")
    assert stack.listen(address=f"127.0.0.1:{address[1]}") == address
    assert stack.talk(stack.dial(address), b"c")


def test_socket_goes_with_the_last_session(stack):
    address = stack.listen()
    conn = stack.dial(address)
    assert stack.talk(conn, b"a")
    bound = stack.listener._bound
    stack.listener.close()
    assert not bound.packets.closed
    conn.endpoint.session.fail(OSError("cut"))
    next(iter(bound._sessions.values())).close()
    eventually(lambda: bound.packets.closed)


class Raw:
    """A peer that seals its own packets."""

    def __init__(self, address, password: str = "") -> None:
        self.sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.sock.bind(("127.0.0.1", 0))
        self.sock.connect(address)
        self.sock.settimeout(5)
        self.cipher = packet_cipher("aes", password)

    def send(self, *packets: bytes) -> None:
        for wire in self.cipher.seal(list(packets)):
            self.sock.send(wire)

    def begin(self, conv: int, data: bytes = b"") -> None:
        data = data or MARK + bytes(SnappyCodec().encode(header(1, SYN, 3)))[len(MARK) :]
        self.send(HEADER.pack(conv, PUSH, 0, 32, 0, 0, 0, len(data)) + data)

    def answer(self) -> tuple:
        """The fields of the first segment of the next packet that is not parity."""
        while True:
            packet = self.cipher.open(self.sock.recv(2000))
            if kind_of(packet) in (0, DATA):
                return HEADER.unpack_from(packet, FEC_OVERHEAD if kind_of(packet) else 0)


def test_conversation_is_that_of_the_first_packet_and_a_new_one_replaces_it(stack):
    address = stack.listen()
    raw = Raw(address)
    raw.begin(0x1234)
    assert raw.answer()[0] == 0x1234
    first = next(iter(stack.listener._bound._sessions.values()))
    raw.begin(0x5678)
    assert raw.answer()[0] == 0x5678
    assert first.closed
    assert len(stack.listener._bound) == 1
    raw.send(HEADER.pack(0x9999, PUSH, 0, 32, 0, 5, 0, 0))  # in the middle of something else
    raw.begin(0x5678)
    assert raw.answer()[0] == 0x5678
    assert len(stack.listener._bound) == 1


NOT_BEGINNING = [
    pytest.param(HEADER.pack(1, PUSH, 0, 32, 0, 1, 0, 0), id="second-segment"),
    pytest.param(HEADER.pack(1, ACK, 0, 32, 0, 0, 0, 0), id="acknowledgement"),
    pytest.param(b"\0\0\0\0\xf2\0" + bytes(60), id="parity"),
    pytest.param(bytes(23), id="cut"),
]


@pytest.mark.parametrize("packet", NOT_BEGINNING)
def test_only_a_first_packet_begins_a_session(stack, packet):
    address = stack.listen()
    raw = Raw(address)
    raw.send(packet)
    other = Raw(address)
    other.begin(2)
    assert other.answer()[0] == 2
    assert len(stack.listener._bound) == 1


def memory() -> int:
    with open("/proc/self/statm") as numbers:
        return int(numbers.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def test_flood_of_garbage_and_replays(stack):
    """Nothing of it makes a session, much memory, or trouble for others."""
    address = stack.listen()
    conn = stack.dial(address)
    assert stack.talk(conn, NOISE[:1000])
    chance = random.Random(7)
    with Lossy(address, keep=True) as relay:
        assert stack.talk(stack.dial(relay.address), NOISE[:50_000])
        seen = list(relay.seen)
    before, sessions = memory(), len(stack.listener._bound)
    raws = [Raw(address) for _ in range(20)]
    for turn in range(3000):
        raw = chance.choice(raws)
        wire = bytearray(chance.choice(seen))
        what = turn % 4
        if what == 0:
            wire = bytearray(chance.randbytes(chance.randint(0, 2000)))
        elif what == 1:
            del wire[chance.randrange(len(wire)) :]
        elif what == 2:
            wire[chance.randrange(16, len(wire))] ^= chance.randint(1, 255)
        raw.sock.send(wire)  # else: as it was, from another address
        if turn % 100 == 0:
            gevent.sleep(0)
    assert stack.talk(conn, NOISE[:50_000])
    gc.collect()
    assert memory() - before < 16 << 20
    assert len(stack.listener._bound) <= sessions + len(raws)


def test_peers_that_do_not_answer_are_bounded(stack, monkeypatch):
    monkeypatch.setattr(kcp, "MOST_UNPROVED", 8)
    address = stack.listen()
    conn = stack.dial(address)
    assert stack.talk(conn, b"x")
    raws = [Raw(address) for _ in range(30)]
    for raw in raws:
        raw.begin(1)
        raw.answer()
    assert len(stack.listener._bound) <= 9
    assert stack.talk(conn, b"y")


def test_bomb_in_a_stream_that_nobody_reads(stack):
    """64 KiB in some hundred bytes, again and again: the window closes before memory fills."""
    stack._echo = lambda conn: (stack.conns.append(conn), gevent.sleep(60))
    address = stack.listen({"kcp.smuxbuf": 1 << 20, "kcp.streambuf": 1 << 20})
    raw = Raw(address)
    raw.begin(1)
    eventually(lambda: stack.conns)
    before = memory()
    codec = SnappyCodec()
    codec.encode(b"x")
    bomb = bytes(codec.encode(header(1, PSH, 3, 65535) + bytes(65535)))
    core = Core(1, Settings(congestion=False))
    core.send_next = core.send_una = 1
    raw.sock.setblocking(False)
    for turn in range(2000):
        if core.unsent < 100_000:
            core.send(bomb)
        raw.send(*core.tick(turn * 2))
        gevent.sleep(0.001)
        with contextlib.suppress(BlockingIOError):
            while True:
                packet = raw.cipher.open(raw.sock.recv(2000))
                if kind_of(packet) in (0, DATA):
                    core.input(packet[FEC_OVERHEAD if kind_of(packet) else 0 :], turn * 2)
        if not core.remote_window:
            break
    assert core.remote_window == 0
    assert memory() - before < 16 << 20


def test_forged_fec_is_harmless(stack):
    address = stack.listen()
    conn = stack.dial(address)
    assert stack.talk(conn, b"x")
    raw = Raw(address)
    chance = random.Random(9)
    raw.begin(1)
    raw.answer()
    before = memory()
    encoder, wire = Encoder(10, 3), []
    for _ in range(40):
        encoder.encode(chance.randbytes(60), wire)
    for turn in range(2000):
        packet = bytearray(chance.choice(wire))
        packet[:4] = chance.randbytes(4) if turn % 2 else packet[:4]
        packet[6:8] = chance.randbytes(2)
        raw.send(bytes(packet))
        if turn % 100 == 0:
            gevent.sleep(0)
    assert stack.talk(conn, NOISE[:20_000])
    assert memory() - before < 16 << 20
