"""ssh and sshd as data channels: what each option does, and what is wrong with a configuration."""

import sys
import types

import gevent
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from gostpy.channel import ssh, sshd, sshlogin
from gostpy.channel.dialer import StackDialer
from gostpy.channel.listener import StackListener
from gostpy.channel.tcp import Carrier, DialOptions, ListenOptions
from gostpy.errors import AuthFailed, ConfigError, DialFailed, HandshakeFailed
from gostpy.interfaces import Context, Credentials, TLSSettings
from gostpy.net.dial import dial_tcp
from gostpy.options import parse
from gostpy.stream import certificates
from gostpy.stream.ssh import agent
from gostpy.wire.ssh.fields import Fields
from gostpy.wire.ssh.keys import PrivateKey, load_private
from gostpy.wire.ssh.messages import global_request
from tests.channel.fakes import FakeGuards, SilentLog
from tests.net.pairs import socket_pair
from tests.stream.sshpairs import HOST_KEY, links

pytestmark = pytest.mark.timeout(30)


class KeyFiles:
    """Files of keys in a folder."""

    def __init__(self, folder):
        self.folder = folder

    def private(self, name, key, password=b""):
        cover = serialization.NoEncryption()
        if password:
            cover = serialization.BestAvailableEncryption(password)
        form = serialization.PrivateFormat.OpenSSH
        return self.text(name, key.private_bytes(serialization.Encoding.PEM, form, cover).decode())

    def text(self, name, text):
        path = self.folder / name
        path.write_text(text)
        return str(path)


@pytest.fixture
def files(tmp_path):
    return KeyFiles(tmp_path)


@pytest.fixture(autouse=True)
def no_agent(monkeypatch):
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)


def line(key):
    public = key.public_key().public_bytes(
        serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH
    )
    return public.decode()


def listening(metadata=None, authenticate=None, auth=None, tls=None):
    context = Context(
        "127.0.0.1:0",
        SilentLog(),
        listening=True,
        tls=tls,
        authenticate=authenticate,
        auth=auth or Credentials(),
    )
    return sshlogin.Layer(parse(sshlogin.ListenOptions, metadata), context)


def dialing(metadata=None, user="", password="", address="127.0.0.1:22"):
    context = Context(address, SilentLog(), auth=Credentials(user, password))
    return sshlogin.Layer(parse(sshlogin.DialOptions, metadata), context)


def shake(server, client):
    """The client's link; raises what the client gets."""
    here, there = socket_pair()
    here.info.peer = there.info.peer = ("127.0.0.1", 5)

    def serve():
        try:
            server.accept(here)
        except (AuthFailed, HandshakeFailed):
            here.close()

    serving = gevent.spawn(serve)
    try:
        return client.connect(there)
    except BaseException:
        there.close()
        raise
    finally:
        serving.join(timeout=5)


def shown(server):
    """The host key that a server shows."""
    keys = []
    client = dialing()
    client._check_host = lambda: keys.append
    shake(server, client)
    return keys[0]


# -- keys of the server ----------------------------------------------------------------------------


@pytest.mark.effect("listener:ssh", "privateKeyFile", "passphrase")
@pytest.mark.parametrize("password", ["", "secret"])
def test_the_host_key_of_a_file(files, password):
    key = ed25519.Ed25519PrivateKey.generate()
    path = files.private("host", key, password.encode())
    server = listening({"privateKeyFile": path, "passphrase": password})
    assert shown(server) == PrivateKey(key).public


def test_a_file_in_the_home_folder(files, monkeypatch):
    key = ed25519.Ed25519PrivateKey.generate()
    files.private("host", key)
    monkeypatch.setenv("HOME", str(files.folder))
    assert shown(listening({"privateKeyFile": "~/host"})) == PrivateKey(key).public


def test_without_a_file_the_key_of_the_certificate(files):
    pair = certificates.generated(0, "", "")
    assert shown(listening()) == load_private(pair.key).public
    own = certificates.generated(60, "x", "y")
    settings = TLSSettings(
        cert_file=files.text("cert", own.certificate.decode()),
        key_file=files.text("key", own.key.decode()),
    )
    assert shown(listening(tls=settings)) == load_private(own.key).public


@pytest.mark.effect("listener:ssh", "passphraseFromKeyring")
@pytest.mark.effect("dialer:ssh", "passphraseFromKeyring")
@pytest.mark.parametrize("by_user", [True, False])
def test_a_passphrase_of_the_keyring(files, monkeypatch, by_user):
    path = files.private("key", ed25519.Ed25519PrivateKey.generate(), b"secret")
    entries = {(f"SSH {path}", "u" if by_user else path): "secret"}
    keyring = types.ModuleType("keyring")
    keyring.get_password = lambda service, name: entries.get((service, name))
    monkeypatch.setitem(sys.modules, "keyring", keyring)
    metadata = {"privateKeyFile": path, "passphraseFromKeyring": True}
    dialing(metadata, "u")
    listening(metadata, auth=Credentials("u"))
    entries.clear()
    with pytest.raises(ConfigError, match="keyring has no passphrase"):
        dialing(metadata, "u")


def test_a_keyring_that_is_not_installed(files, monkeypatch):
    monkeypatch.setitem(sys.modules, "keyring", None)
    path = files.private("key", ed25519.Ed25519PrivateKey.generate(), b"secret")
    with pytest.raises(ConfigError, match="pip install keyring"):
        dialing({"privateKeyFile": path, "passphraseFromKeyring": True})


WRONG = [
    pytest.param("privateKeyFile", None, "cannot read", id="no file"),
    pytest.param("privateKeyFile", "nonsense", "not a private key", id="no key"),
    pytest.param("authorizedKeys", None, "cannot read", id="no authorized keys"),
    pytest.param("authorizedKeys", "nonsense here", "line 1", id="no public key"),
    pytest.param("knownHosts", None, "cannot read", id="no known hosts"),
    pytest.param("knownHosts", "nonsense here", "line 1", id="no known host"),
]


@pytest.mark.parametrize(("option", "text", "said"), WRONG)
def test_files_that_are_wrong(files, option, text, said):
    path = files.text("f", text) if text is not None else str(files.folder / "missing")
    make = dialing if option == "knownHosts" else listening
    with pytest.raises(ConfigError, match=said) as caught:
        make({option: path})
    assert caught.value.where == option


# -- login -----------------------------------------------------------------------------------------


@pytest.mark.effect("listener:ssh", "authorizedKeys")
@pytest.mark.effect("dialer:ssh", "privateKeyFile", "passphrase")
def test_login_with_a_key(files):
    keys = [ec.generate_private_key(ec.SECP256R1()) for _ in range(2)]
    allowed = files.text("allowed", f"# users\n{line(keys[0])} u@here\n")
    paths = [files.private(f"key{n}", key, b"secret") for n, key in enumerate(keys)]
    server = listening({"authorizedKeys": allowed})
    shake(server, dialing({"privateKeyFile": paths[0], "passphrase": "secret"}, "u"))
    with pytest.raises(AuthFailed, match="the server takes publickey"):
        shake(server, dialing({"privateKeyFile": paths[1], "passphrase": "secret"}, "u"))
    with pytest.raises(AuthFailed):
        shake(server, dialing(user="u", password="pw"))


def test_a_file_without_a_key_lets_nobody_in(files):
    server = listening({"authorizedKeys": files.text("allowed", "# nobody yet\n")})
    with pytest.raises(AuthFailed, match="the server takes publickey"):
        shake(server, dialing(user="u"))


def test_login_with_a_password():
    asked = []

    def authenticate(user, password, client):
        asked.append((user, password, client))
        return "id" if password == "pw" else None

    server = listening(authenticate=authenticate)
    shake(server, dialing(user="u", password="pw"))
    assert asked == [("u", "pw", "127.0.0.1:5")]
    with pytest.raises(AuthFailed) as caught:
        shake(server, dialing(user="u", password="guess"))
    assert "guess" not in str(caught.value)


def test_login_with_an_agent(monkeypatch):
    key = PrivateKey(ed25519.Ed25519PrivateKey.generate())
    other = PrivateKey(ed25519.Ed25519PrivateKey.generate())
    server = listening()
    server._keys = frozenset({key.public})
    monkeypatch.setattr(sshlogin, "agent_signers", lambda: iter([other.signer, key.signer]))
    shake(server, dialing(user="u"))


@pytest.mark.parametrize("path", ["", "/nonexistent/agent"])
def test_no_agent(monkeypatch, path):
    monkeypatch.setenv("SSH_AUTH_SOCK", path)
    assert not list(agent.agent_signers())


@pytest.mark.effect("dialer:ssh", "knownHosts")
def test_known_hosts(files):
    key = ed25519.Ed25519PrivateKey.generate()
    server = listening({"privateKeyFile": files.private("host", key)})
    known = files.text("known", f"[127.0.0.1]:2222 {line(key)}\n")
    shake(server, dialing({"knownHosts": known}, address="127.0.0.1:2222"))
    with pytest.raises(HandshakeFailed, match="not among the known"):
        shake(server, dialing({"knownHosts": known}, address="127.0.0.1:2223"))
    stale = files.text("stale", f"127.0.0.1 {line(ed25519.Ed25519PrivateKey.generate())}\n")
    with pytest.raises(HandshakeFailed, match="not the known one"):
        shake(server, dialing({"knownHosts": stale}))


def test_the_known_kind_of_key_is_asked_for_first(files):
    key = ec.generate_private_key(ec.SECP384R1())
    known = files.text("known", f"127.0.0.1 {line(key)}\n")
    assert dialing({"knownHosts": known})._host_algorithms()[0] == "ecdsa-sha2-nistp384"


# -- sessions --------------------------------------------------------------------------------------


@pytest.mark.effect("dialer:ssh", "keepalive", "ttl", "keepalive.timeout", "keepalive.retries")
@pytest.mark.parametrize("retries", [1, 2])
def test_pings(retries):
    server, client = links()
    metadata = {
        "keepalive": True,
        "ttl": "20ms",
        "keepalive.timeout": "30ms",
        "keepalive.retries": retries,
    }
    mux = ssh.Mux(parse(ssh.DialOptions, metadata), Context("", SilentLog()))
    session = mux.connect(client)
    heard = [server.read() for _ in range(retries)]
    assert heard == [global_request("ping", True)] * retries
    with gevent.Timeout(5):
        while session.alive:
            gevent.sleep(0.002)
    assert "silent for 0.03 s" in str(session.error)


def test_no_pings_unless_asked_for():
    _, client = links()
    session = ssh.Mux(parse(ssh.DialOptions, {"ttl": "1ms"}), Context("", SilentLog())).connect(
        client
    )
    gevent.sleep(0.02)
    assert not session._asked


def test_pings_have_gosts_defaults():
    for module in (ssh, sshd):
        options = parse(module.DialOptions, {"ttl": 0, "keepalive.retries": -1})
        assert (options.ping_interval, options.ping_timeout, options.ping_retries) == (30, 15, 1)


@pytest.mark.effect("dialer:ssh", "handshakeTimeout")
def test_a_silent_server():
    options = parse(sshlogin.DialOptions, {"handshakeTimeout": "50ms"})
    context = Context("127.0.0.1:1", SilentLog(), node="n")
    layer = sshlogin.Layer(options, context)
    dialer = StackDialer(
        Carrier(DialOptions(), context),
        (layer,),
        ssh.Mux(ssh.DialOptions(), context),
        context,
        options.handshake_timeout,
    )
    here, there = socket_pair()
    with pytest.raises(DialFailed, match="handshake timed out"):
        dialer.dial(lambda *_: there, ())
    here.close()


def test_one_login_for_many_conns():
    logins = []

    def authenticate(user, password, client):
        logins.append(user)
        return user

    context = Context("127.0.0.1:0", SilentLog(), listening=True, authenticate=authenticate)
    listener = StackListener(
        Carrier(ListenOptions(), context),
        (sshlogin.Layer(sshlogin.ListenOptions(), context),),
        ssh.Mux(ssh.ListenOptions(), context),
        FakeGuards(),
        context,
    )
    listener.listen()
    listener.start(lambda conn: conn.sendall(conn.recv()))
    port = listener.address[1]
    client = Context(f"127.0.0.1:{port}", SilentLog(), auth=Credentials("u", "pw"))
    dialer = StackDialer(
        Carrier(DialOptions(), client),
        (sshlogin.Layer(sshlogin.DialOptions(), client),),
        ssh.Mux(ssh.DialOptions(), client),
        client,
    )
    for _ in range(3):
        conn = dialer.dial(lambda _, address: dial_tcp(address), ())
        conn.sendall(b"x")
        assert conn.recv() == b"x"
        assert conn.info.peer == ("127.0.0.1", port)
    assert logins == ["u"]
    dialer.close()
    listener.close()


def test_the_requests_of_pings_are_gosts():
    fields = Fields(global_request("ping", True), 1)
    assert (fields.text(), fields.boolean(), fields.rest) == ("ping", True, b"")
    assert HOST_KEY.kind == "ssh-ed25519"
