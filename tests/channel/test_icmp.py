"""icmp and icmp6 between two network namespaces, which the tests make as root."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from typing import Any

import gevent
import pytest

from gostpy.channel import icmp
from gostpy.errors import GostError
from gostpy.interfaces import Context
from gostpy.net.icmp import dial_icmp
from gostpy.net.sockopt import SocketOptions
from gostpy.options import parse
from gostpy.route.route import dial_direct
from gostpy.stream.quicmux import QuicSession
from tests.channel.fakes import SilentLog
from tests.channel.quicends import echo
from tests.engine.running import eventually

pytestmark = pytest.mark.timeout(60)

NEAR, FAR = f"gpn{os.getpid()}", f"gpf{os.getpid()}"
ADDRESSES = {"icmp": "10.98.7.2:0", "icmp6": "[fd98:7::2]:0"}
NOISE = os.urandom(1 << 20)

both = pytest.mark.parametrize("name", ["icmp", "icmp6"])


def ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True, timeout=10)


@pytest.fixture(scope="module")
def namespaces() -> Iterator[None]:
    """Two namespaces, joined by a pair of interfaces."""
    if os.geteuid() or not shutil.which("ip"):
        pytest.skip("needs root and ip to make network namespaces")
    try:
        for name in (NEAR, FAR):
            ip("netns", "add", name)
        ip("link", "add", "n0", "netns", NEAR, "type", "veth", "peer", "name", "f0", "netns", FAR)
        for name, link, last in ((NEAR, "n0", "1"), (FAR, "f0", "2")):
            ip("-n", name, "addr", "add", f"10.98.7.{last}/24", "dev", link)
            ip("-n", name, "addr", "add", f"fd98:7::{last}/64", "dev", link, "nodad")
            ip("-n", name, "link", "set", "lo", "up")
            ip("-n", name, "link", "set", link, "up")
    except subprocess.CalledProcessError as error:
        _remove()
        pytest.skip(f"no network namespaces here: {error.stderr.decode().strip()}")
    yield
    _remove()


def _remove() -> None:
    for name in (NEAR, FAR):
        subprocess.run(["ip", "netns", "del", name], capture_output=True, check=False, timeout=10)


class Scene:
    def __init__(self, name: str) -> None:
        self.name = name
        self.sessions: list[QuicSession] = []
        self._made: list[Any] = []

    def _carrier(self, where: str, address: str, listening: bool) -> icmp.Carrier:
        options = parse(
            icmp.ListenOptions,
            {"handshakeTimeout": "10s"},
            problems=[],
            defaults={"ipv6": self.name == "icmp6"},
        )
        sockets = SocketOptions(netns=where)
        context = Context(address, SilentLog(), listening=listening, sockets=sockets)
        return icmp.Carrier(options, context)

    def listen(self) -> None:
        server = self._carrier(FAR, ":0", True).listen(self._accepted)
        server.start()
        self._made.append(server)

    def _accepted(self, quic: Any, _: Any) -> None:
        self.sessions.append(QuicSession(quic, lambda conn: gevent.spawn(echo, conn)))

    def connect(self) -> QuicSession:
        def open(network: str, address: str) -> Any:
            return dial_direct(network, address, SocketOptions(netns=NEAR))

        session = QuicSession(self._carrier(NEAR, ADDRESSES[self.name], False).open(open))
        self._made.append(session)
        return session

    def close(self) -> None:
        for session in self.sessions:
            session.quic.close(True)
        for each in self._made:
            each.close()


@pytest.fixture
def scene(namespaces: None, name: str) -> Iterator[Scene]:
    made = Scene(name)
    yield made
    made.close()


def talk(session: QuicSession, data: bytes) -> bytes:
    conn = session.open()
    with gevent.Timeout(30):
        sending = gevent.spawn(conn.sendall, data)
        found = conn.read_exact(len(data))
        sending.get()
    conn.close()
    return bytes(found)


@both
def test_streams(scene: Scene, name: str) -> None:
    """Several clients of one host, told apart by the ids of their echo messages."""
    scene.listen()
    sessions = [scene.connect() for _ in range(3)]
    for session in sessions:
        assert talk(session, NOISE) == NOISE
    assert len({session.quic.info.peer_address for session in scene.sessions}) == 3


@both
def test_pings_of_others_are_passed_over(scene: Scene, name: str) -> None:
    scene.listen()
    if not shutil.which("ping"):
        pytest.skip("needs ping")
    host = ADDRESSES[name].rpartition(":")[0].strip("[]")
    session = scene.connect()
    found = subprocess.run(
        ["ip", "netns", "exec", NEAR, "ping", "-c", "2", "-i", "0.2", host],
        capture_output=True,
        check=False,
        timeout=20,
    )
    assert found.returncode == 0
    assert talk(session, b"hello") == b"hello"


@both
def test_losses(scene: Scene, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every twentieth message is lost, both ways."""
    from gostpy.net.icmp import ICMPPackets

    send, count = ICMPPackets.send_now, [0]

    def lossy(packets: ICMPPackets, data: bytes, address: str = "") -> float:
        count[0] += 1
        return 0.0 if count[0] % 20 == 19 else send(packets, data, address)

    monkeypatch.setattr(ICMPPackets, "send_now", lossy)
    scene.listen()
    assert talk(scene.connect(), NOISE) == NOISE


def test_nobody_there(namespaces: None) -> None:
    scene = Scene("icmp")
    carrier = scene._carrier(NEAR, "10.98.7.2:77", False)
    object.__setattr__(carrier.settings, "handshake_timeout", 0.3)
    with pytest.raises(GostError):
        carrier.open(lambda _, to: dial_icmp(to, False, SocketOptions(netns=NEAR)))


@both
@pytest.mark.parametrize("role", ["client", "server"])
def test_gost(scene: Scene, name: str, role: str, gost_binary: str, tmp_path: Any) -> None:
    """The real program at the other end, which speaks relay there."""
    log = (tmp_path / "gost.log").open("wb")
    far, near = ADDRESSES[name], NEAR if role == "client" else FAR
    command = ["ip", "netns", "exec", near, gost_binary]
    if role == "server":
        command += ["-L", f"forward+{name}://:0/127.0.0.1:9"]
    else:
        command += ["-L", "tcp://127.0.0.1:7391/127.0.0.1:9", "-F", f"forward+{name}://{far}"]
        scene.listen()
    process = subprocess.Popen(
        command,
        stdout=log,
        stderr=log,
        env={**os.environ, "GODEBUG": "urlstrictcolons=0"},
    )
    try:
        if role == "server":
            _until(lambda: bool(scene.connect().quic.established))
            return
        probe = ["ip", "netns", "exec", NEAR, "bash", "-c"]
        script = "exec 3<>/dev/tcp/127.0.0.1/7391 && echo -n hello >&3 && head -c 5 <&3"

        def answered() -> bool:
            done = subprocess.run([*probe, script], capture_output=True, check=False, timeout=15)
            return done.stdout == b"hello"

        _until(answered)
        eventually(lambda: scene.sessions)
    finally:
        process.terminate()
        process.wait()
        log.close()


def _until(condition: Any) -> None:
    """The other program takes its time to start."""
    for _ in range(20):
        with contextlib.suppress(GostError, OSError, subprocess.TimeoutExpired):
            if condition():
                return
        time.sleep(0.2)
    raise AssertionError("no answer")
