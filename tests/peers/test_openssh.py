"""sshd with OpenSSH: its client with ``-L -R -D`` at our listener, its server behind our dialer."""

from __future__ import annotations

import getpass
import os
import re
import socket
import subprocess
from pathlib import Path

import gevent
import pytest

from tests.peers.stage import LIMIT, Stage, free_port, is_open, program

pytestmark = pytest.mark.timeout(90)

NO_QUESTIONS = ("-F", "none", "-o", "BatchMode=yes", "-o", "IdentitiesOnly=yes")
KINDS = {"ed25519": ("-t", "ed25519"), "rsa": ("-t", "rsa", "-b", "2048"), "ecdsa": ("-t", "ecdsa")}


def keygen(folder: Path, name: str, *options: str, passphrase: str = "") -> Path:
    path = folder / name
    command = [program("ssh-keygen"), "-q", "-t", "ed25519", *options, "-N", passphrase]
    subprocess.run([*command, "-f", str(path)], check=True, capture_output=True)
    return path


def wait_for(port: int, process: subprocess.Popen[bytes], stage: Stage, name: str) -> None:
    with gevent.Timeout(LIMIT, TimeoutError(stage.log(name))):
        while not is_open(port):
            assert process.poll() is None, stage.log(name)
            gevent.sleep(0.02)


# -- OpenSSH's client ------------------------------------------------------------------------------


class Client:
    """ssh -N to a node of ours, with all three kinds of forwarding."""

    def __init__(self, stage: Stage, port: int, *options: str, user: str = "u") -> None:
        self.local, self.remote, self.socks = free_port(), free_port(), free_port()
        target = f"127.0.0.1:{stage.origin}"
        words = [program("ssh"), *NO_QUESTIONS, "-N", "-p", str(port)]
        words += ["-o", "ExitOnForwardFailure=yes", "-o", "StrictHostKeyChecking=accept-new"]
        words += ["-o", f"UserKnownHostsFile={stage.folder / 'known'}"]
        words += [
            "-L",
            f"127.0.0.1:{self.local}:{target}",
            "-R",
            f"127.0.0.1:{self.remote}:{target}",
        ]
        words += ["-D", f"127.0.0.1:{self.socks}", *options, f"{user}@127.0.0.1"]
        self.process = stage.start(*words)
        wait_for(self.remote, self.process, stage, "ssh")
        wait_for(self.socks, self.process, stage, "ssh")

    def check(self, stage: Stage) -> None:
        stage.check(port=self.local)
        stage.check(port=self.remote)
        stage.check("-x", f"socks5h://127.0.0.1:{self.socks}")


OFFERS = {
    "usual": (),
    "chacha20": ("Ciphers=chacha20-poly1305@openssh.com", "KexAlgorithms=curve25519-sha256"),
    "aes256-gcm": ("Ciphers=aes256-gcm@openssh.com", "KexAlgorithms=ecdh-sha2-nistp521"),
    "ctr": ("Ciphers=aes192-ctr", "MACs=hmac-sha2-512", "KexAlgorithms=ecdh-sha2-nistp256"),
    "ctr-etm": ("Ciphers=aes256-ctr", "MACs=hmac-sha2-256-etm@openssh.com"),
    "new keys often": ("RekeyLimit=100K",),
}


@pytest.mark.parametrize("offer", OFFERS)
def test_client_with_every_cipher(stage: Stage, offer: str) -> None:
    port = stage.node("-L", "sshd://127.0.0.1:0")
    options = [word for option in OFFERS[offer] for word in ("-o", option)]
    Client(stage, port, *options).check(stage)


@pytest.mark.parametrize("kind", KINDS)
def test_client_with_a_key(stage: Stage, kind: str) -> None:
    key = keygen(stage.folder, "user", *KINDS[kind])
    port = stage.node("-L", f"sshd://127.0.0.1:0?authorizedKeys={key}.pub")
    Client(stage, port, "-i", str(key)).check(stage)


def test_client_with_a_password(stage: Stage) -> None:
    port = stage.node("-L", "sshd://u:secret@127.0.0.1:0")
    tell = stage.file("tell", "#!/bin/sh\necho $TOLD\n")
    os.chmod(tell, 0o700)
    local = free_port()
    words = [program("ssh"), "-F", "none", "-N", "-p", str(port), "-o", "StrictHostKeyChecking=no"]
    words += [
        "-o",
        f"UserKnownHostsFile={stage.folder / 'known'}",
        "-o",
        "NumberOfPasswordPrompts=2",
    ]
    words += ["-L", f"127.0.0.1:{local}:127.0.0.1:{stage.origin}", "u@127.0.0.1"]
    ask = {"SSH_ASKPASS": tell, "SSH_ASKPASS_REQUIRE": "force", "DISPLAY": "none"}
    refused = subprocess.run(
        words,
        env={**os.environ, **ask, "TOLD": "guess"},
        capture_output=True,
        check=False,
        timeout=LIMIT,
    )
    assert refused.returncode == 255
    assert b"Permission denied" in refused.stderr
    process = stage.start("env", *(f"{k}={v}" for k, v in ask.items()), "TOLD=secret", *words)
    wait_for(local, process, stage, "env")
    stage.check(port=local)


def test_client_refuses_another_host_key(stage: Stage) -> None:
    keys = [keygen(stage.folder, f"host{number}") for number in (1, 2)]
    port = stage.node("-L", f"sshd://127.0.0.1:0?privateKeyFile={keys[0]}")
    for key, accepted in zip(keys, (True, False), strict=True):
        public = Path(f"{key}.pub").read_text()
        known = stage.file("known", f"[127.0.0.1]:{port} {public}")
        done = subprocess.run(
            [program("ssh"), *NO_QUESTIONS, "-p", str(port), "-o", f"UserKnownHostsFile={known}"]
            + ["-o", "StrictHostKeyChecking=yes", "u@127.0.0.1", "true"],
            capture_output=True,
            check=False,
            timeout=LIMIT,
        )
        # a session is not what we have
        assert (b"Host key verification failed" in done.stderr) is not accepted
        assert (b"channel" in done.stderr) is accepted


def test_client_cancels_a_forward(stage: Stage) -> None:
    """With a master, which is told to by ``ssh -O``."""
    port = stage.node("-L", "sshd://127.0.0.1:0")
    control = str(stage.folder / "c")
    client = Client(stage, port, "-M", "-S", control)
    forward = f"127.0.0.1:{client.remote}:127.0.0.1:{stage.origin}"
    subprocess.run(
        [program("ssh"), "-F", "none", "-S", control, "-O", "cancel", "-R", forward, "u@127.0.0.1"],
        check=True,
        capture_output=True,
        timeout=LIMIT,
    )
    with gevent.Timeout(LIMIT):
        while is_open(client.remote):
            gevent.sleep(0.02)
    stage.check(port=client.local)


def test_tunnel_gives_a_client_nothing(stage: Stage) -> None:
    """``ssh`` is for gost's own channels."""
    port = stage.node("-L", "relay+ssh://127.0.0.1:0")
    done = subprocess.run(
        [program("ssh"), *NO_QUESTIONS, "-p", str(port), "-o", "StrictHostKeyChecking=no"]
        + ["-o", f"UserKnownHostsFile={stage.folder / 'known'}", "u@127.0.0.1", "true"],
        capture_output=True,
        check=False,
        timeout=LIMIT,
    )
    assert done.returncode == 255
    assert b"unsupported channel type" in done.stderr


# -- OpenSSH's server ------------------------------------------------------------------------------

SERVER = """
Port {port}
ListenAddress 127.0.0.1
HostKey {folder}/host
PidFile none
AuthorizedKeysFile {folder}/authorized
StrictModes no
UsePAM no
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin yes
GatewayPorts clientspecified
{more}
"""


class Server:
    """sshd on a port of its own, for one key of a user."""

    def __init__(self, stage: Stage, *options: str, more: str = "") -> None:
        path = program("sshd")
        if os.geteuid() == 0:
            os.makedirs("/run/sshd", 0o755, exist_ok=True)
        self.host_key = keygen(stage.folder, "host", "-t", "ecdsa")
        self.key = keygen(stage.folder, "user", *options)
        stage.file("authorized", Path(f"{self.key}.pub").read_text())
        self.port = free_port()
        text = SERVER.format(port=self.port, folder=stage.folder, more=more)
        config = stage.file("sshd_config", text)
        self.process = stage.start(path, "-D", "-e", "-f", config, port=self.port)

    def node(self, **options: str) -> str:
        metadata = "&".join(f"{key}={value}" for key, value in options.items())
        return f"sshd://{getpass.getuser()}@127.0.0.1:{self.port}?{metadata}"


@pytest.mark.parametrize("kind", KINDS)
def test_server_with_a_key(stage: Stage, kind: str) -> None:
    server = Server(stage, *KINDS[kind])
    way = server.node(privateKeyFile=str(server.key), keepalive="true", ttl="200ms")
    stage.check(port=stage.node("-L", f"tcp://127.0.0.1:0/127.0.0.1:{stage.origin}", "-F", way))


@pytest.mark.parametrize(
    "more", ["Ciphers chacha20-poly1305@openssh.com", "Ciphers aes128-ctr", "RekeyLimit 100K"]
)
def test_server_with_other_ciphers(stage: Stage, more: str) -> None:
    server = Server(stage, more=more)
    way = server.node(privateKeyFile=str(server.key))
    stage.check(port=stage.node("-L", f"tcp://127.0.0.1:0/127.0.0.1:{stage.origin}", "-F", way))


def test_server_listens_for_us(stage: Stage) -> None:
    server = Server(stage)
    port = free_port()
    way = server.node(privateKeyFile=str(server.key))
    stage.node("-L", f"rtcp://127.0.0.1:{port}/127.0.0.1:{stage.origin}", "-F", way)
    wait_for(port, server.process, stage, "sshd")
    stage.check(port=port)


def test_server_refuses_a_dead_target(stage: Stage) -> None:
    server = Server(stage)
    way = server.node(privateKeyFile=str(server.key))
    port = stage.node("-L", "http://127.0.0.1:0", "-F", way)
    done = stage.curl(
        "-x", f"http://127.0.0.1:{port}", "-w", "%{http_code}", f"http://127.0.0.1:{free_port()}/"
    )
    assert done.stdout[-3:] == b"503"


def test_server_with_an_encrypted_key_and_known_hosts(stage: Stage) -> None:
    server = Server(stage)
    key = keygen(stage.folder, "covered", passphrase="secret")
    stage.file("authorized", Path(f"{key}.pub").read_text())
    known = stage.folder / "known"
    public = Path(f"{server.host_key}.pub").read_text()
    stage.file("known", f"[127.0.0.1]:{server.port} {public}")
    subprocess.run(
        [program("ssh-keygen"), "-q", "-H", "-f", str(known)], check=True, capture_output=True
    )
    target = f"tcp://127.0.0.1:0/127.0.0.1:{stage.origin}"
    options = {"privateKeyFile": str(key), "passphrase": "secret", "knownHosts": str(known)}
    stage.check(port=stage.node("-L", target, "-F", server.node(**options)))
    other = Path(f"{keygen(stage.folder, 'other', '-t', 'ecdsa')}.pub").read_text()
    stage.file("known", f"[127.0.0.1]:{server.port} {other}")
    port = stage.node("-L", target, "-F", server.node(**options))
    assert stage.curl(f"http://127.0.0.1:{port}/").returncode != 0


@pytest.mark.parametrize("kind", ["ed25519", "rsa"])
def test_server_with_an_agent(stage: Stage, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    server = Server(stage, *KINDS[kind])
    path = str(stage.folder / "agent")
    stage.start(program("ssh-agent"), "-D", "-a", path)
    with gevent.Timeout(LIMIT):
        while not os.path.exists(path):
            gevent.sleep(0.02)
    monkeypatch.setenv("SSH_AUTH_SOCK", path)
    subprocess.run(
        [program("ssh-add"), "-q", str(server.key)], check=True, capture_output=True, timeout=LIMIT
    )
    target = f"tcp://127.0.0.1:0/127.0.0.1:{stage.origin}"
    stage.check(port=stage.node("-L", target, "-F", server.node()))


def test_version_is_gosts(stage: Stage) -> None:
    port = stage.node("-L", "sshd://127.0.0.1:0")
    with socket.create_connection(("127.0.0.1", port), LIMIT) as sock:
        assert re.match(rb"SSH-2.0-Go\r\n", sock.recv(100))
