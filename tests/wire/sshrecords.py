"""What gost 3.2.6 said over SSH, kept with our secrets of that time, so that it can be read again.

``python -m tests.wire.sshrecords`` records anew; it needs gost (``GOST_BIN``). A record has all the
bytes that gost sent, our offer, our X25519 secret and (as a server) our host key: keys follow from
these, whatever we would say today.
"""

from __future__ import annotations

import os
import socket
import subprocess
import time
from collections.abc import Callable
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ed25519, x25519
from ruamel.yaml import YAML

from gostpy.wire.ssh import keyexchange
from gostpy.wire.ssh.fields import Fields, string
from gostpy.wire.ssh.keyexchange import KexInit
from gostpy.wire.ssh.keys import ALGORITHMS, PrivateKey
from gostpy.wire.ssh.messages import (
    CONNECTION,
    DATA_HEAD,
    Message,
    Open,
    global_request,
    open_confirmation,
)
from gostpy.wire.ssh.transport import Transport

FOLDER = Path(__file__).resolve().parents[2] / "testdata/ssh"
SECRET, SEED = bytes(range(32)), bytes(range(32, 64))


class FixedX25519(keyexchange._X25519):
    """The same secret each time."""

    def __init__(self) -> None:
        self._private = x25519.X25519PrivateKey.from_private_bytes(SECRET)
        self.public = self._private.public_key().public_bytes_raw()


def transport(role: str, offer: bytes) -> Transport:
    """Our side, as it was; ``keyexchange._X25519`` must be the fixed one."""
    key = PrivateKey(ed25519.Ed25519PrivateKey.from_private_bytes(SEED))
    made = Transport(key if role == "server" else None)
    made.start()
    made._our_init, made._our_offer = offer, KexInit.read(offer)
    return made


def read_again(record: dict[str, Any]) -> list[bytes]:
    """The messages that gost sent."""
    side = transport(record["role"], bytes.fromhex(record["offer"]))
    messages: list[bytes] = []
    side.receive = lambda payload: messages.append(bytes(payload))
    side.feed(bytes.fromhex(record["said"]))
    return messages


def records() -> list[dict[str, Any]]:
    return [YAML(typ="safe").load(path.read_text()) for path in sorted(FOLDER.glob("*.yml"))]


# -- recording -----------------------------------------------------------------------------------


class Recorder:
    """Our side of a conn with gost."""

    def __init__(self, role: str, sock: socket.socket) -> None:
        self.sock = sock
        self.role = role
        self.said = b""
        self.messages: list[bytes] = []
        self._at = 0  # heard so far
        host_keys = ("ssh-ed25519",) if role == "server" else ALGORITHMS
        self.offer = KexInit.make(role == "client", host_keys, True).encode()
        self.side = transport(role, self.offer)
        self.side.receive = lambda payload: self.messages.append(bytes(payload))
        self.side.emit = lambda head, body: sock.sendall(head + body)
        sock.sendall(b"SSH-2.0-Go\r\n")
        self.side._sent = 0
        self.side.emit(*self.side.seal(self.offer))

    def wait(self, ready: Callable[[], Any]) -> None:
        while not ready():
            data = self.sock.recv(65536)
            assert data, "gost closed the connection"
            self.said += data
            self.side.feed(data)

    def hear(self, kind: int) -> Fields:
        """The next message of that kind."""
        self.wait(lambda: kind in [message[0] for message in self.messages[self._at :]])
        while self.messages[self._at][0] != kind:
            self._at += 1
        self._at += 1
        return Fields(self.messages[self._at - 1], 1)

    def save(self, name: str) -> None:
        record = {
            "role": self.role,
            "offer": self.offer.hex(),
            "said": self.said.hex(),
            "messages": [message.hex() for message in self.messages],
        }
        FOLDER.mkdir(exist_ok=True)
        with (FOLDER / f"{name}.yml").open("w") as file:
            YAML().dump(record, file)


def free_port() -> int:
    with closing(socket.create_server(("127.0.0.1", 0))) as probe:
        return int(probe.getsockname()[1])


@contextmanager
def gost(*arguments: str) -> Any:
    process = subprocess.Popen([os.environ.get("GOST_BIN", "gost"), *arguments])
    try:
        time.sleep(1)
        yield
    finally:
        process.kill()
        process.wait()


def record_server() -> None:
    """gost is the server: login, a tunnel to an echo, a ping, another channel."""
    port, target = free_port(), socket.create_server(("127.0.0.1", 0))
    where = f"forward+ssh://127.0.0.1:{port}/127.0.0.1:{target.getsockname()[1]}"
    with gost("-L", where), socket.create_connection(("127.0.0.1", port)) as sock:
        peer = Recorder("client", sock)
        peer.wait(lambda: peer.side.session_id)
        send = peer.side.send
        send(bytes((Message.SERVICE_REQUEST,)) + string("ssh-userauth"))
        start = bytes((Message.USERAUTH_REQUEST,)) + string("u")
        send(start + string(CONNECTION) + string("none"))
        peer.hear(Message.USERAUTH_SUCCESS)
        send(global_request("ping", True))
        peer.hear(Message.REQUEST_FAILURE)
        send(Open("session", 4, 1 << 20, 32768).encode())
        peer.hear(Message.OPEN_FAILURE)
        send(Open("gost-tunnel", 5, 1 << 20, 32768).encode())
        answer = peer.hear(Message.OPEN_CONFIRMATION)
        answer.uint32()
        number = answer.uint32()
        send(DATA_HEAD.pack(Message.DATA, number, 5), b"hello")
        behind, _ = target.accept()
        with behind:
            behind.sendall(behind.recv(5))
        peer.hear(Message.DATA)
        send(bytes((Message.CLOSE,)) + number.to_bytes(4, "big"))
        peer.hear(Message.CLOSE)
        peer.save("gost-server")
    target.close()


def record_client() -> None:
    """gost is the client: login with a password, a tunnel with relay's request in it."""
    entry = free_port()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        node = f"relay+ssh://u:pw@127.0.0.1:{listener.getsockname()[1]}"
        with gost("-L", f"tcp://127.0.0.1:{entry}/192.0.2.1:80", "-F", node):
            visitor = socket.create_connection(("127.0.0.1", entry))
            visitor.sendall(b"hello")
            sock, _ = listener.accept()
            with sock, visitor:
                peer = Recorder("server", sock)
                peer.hear(Message.SERVICE_REQUEST)
                peer.side.send(bytes((Message.SERVICE_ACCEPT,)) + string("ssh-userauth"))
                peer.hear(Message.USERAUTH_REQUEST)
                peer.side.send(bytes((Message.USERAUTH_FAILURE,)) + string("password") + b"\0")
                peer.hear(Message.USERAUTH_REQUEST)
                peer.side.send(bytes((Message.USERAUTH_SUCCESS,)))
                asked = Open.read(peer.hear(Message.CHANNEL_OPEN))
                peer.side.send(open_confirmation(asked.sender, 3, 1 << 20, 32768))
                peer.hear(Message.DATA)
                peer.save("gost-client")


if __name__ == "__main__":
    keyexchange._X25519 = FixedX25519  # type: ignore[misc]
    keyexchange._has_mlkem = lambda: False  # type: ignore[assignment]
    record_server()
    record_client()
    print(*(path.name for path in sorted(FOLDER.iterdir())))
