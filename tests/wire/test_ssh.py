"""SSH without sockets: fields, packets of every cipher, key exchange of every kind, key files."""

import base64
import hashlib
import hmac
import os

import pytest
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed25519, rsa
from hypothesis import given
from hypothesis import strategies as st

from gostpy.errors import (
    BadVersion,
    ConfigError,
    HandshakeFailed,
    MissingExtra,
    ProtocolError,
    Truncated,
)
from gostpy.wire.ssh import ciphers, keyexchange
from gostpy.wire.ssh.ciphers import CIPHERS, MACS, MAX_PACKET, PlainOpener, PlainSealer, protection
from gostpy.wire.ssh.fields import Fields, mpint, names, string, uint32
from gostpy.wire.ssh.keyexchange import KexInit, Secrets, negotiate
from gostpy.wire.ssh.keyfiles import KnownHosts, read_authorized_keys
from gostpy.wire.ssh.keys import ALGORITHMS, PrivateKey, algorithms_of, load_private, verify
from gostpy.wire.ssh.messages import Message, Open, Target
from gostpy.wire.ssh.transport import VERSION, Disconnected, Transport, disconnect

pytestmark = pytest.mark.timeout(30)

RSA = PrivateKey(rsa.generate_private_key(65537, 2048))
KEYS = {
    "ssh-ed25519": PrivateKey(ed25519.Ed25519PrivateKey.generate()),
    "ecdsa-sha2-nistp256": PrivateKey(ec.generate_private_key(ec.SECP256R1())),
    "ecdsa-sha2-nistp384": PrivateKey(ec.generate_private_key(ec.SECP384R1())),
    "ecdsa-sha2-nistp521": PrivateKey(ec.generate_private_key(ec.SECP521R1())),
    "rsa-sha2-256": RSA,
    "rsa-sha2-512": RSA,
}
KEY = KEYS["ssh-ed25519"]

# -- fields ----------------------------------------------------------------------------------------

# RFC 4251 section 5
NUMBERS = [
    (0, "00000000"),
    (0x9A378F9B2E332A7, "0000000809a378f9b2e332a7"),
    (0x80, "000000020080"),
    (-0x1234, "00000002edcc"),
    (-0xDEADBEEF, "00000005ff21524111"),
]


@pytest.mark.parametrize(("value", "wire"), NUMBERS)
def test_mpint(value, wire):
    assert mpint(value).hex() == wire
    assert Fields(bytes.fromhex(wire)).mpint() == value


def test_name_lists():
    assert names(()).hex() == "00000000"
    assert names(("zlib", "none")) == b"\0\0\0\x09zlib,none"
    assert Fields(names(("a", "b"))).names() == ("a", "b")
    assert Fields(names(())).names() == ()


@given(st.binary(max_size=40))
def test_any_bytes_as_fields(data):
    for read in ("byte", "boolean", "uint32", "string", "text", "names", "mpint"):
        try:
            getattr(Fields(data), read)()
        except ProtocolError:
            pass


MESSAGES = [
    pytest.param(Open("gost-tunnel", 1, 2, 3, b"x"), Open.read, 1, id="open"),
    pytest.param(Target("a.test", 80, "::1", 1234), Target.read, 0, id="target"),
]


@pytest.mark.parametrize(("message", "read", "skip"), MESSAGES)
def test_messages_both_ways_and_cut(message, read, skip):
    wire = message.encode()[skip:]
    assert read(Fields(wire) if skip else wire) == message
    for cut in range(len(wire) - (1 if skip else 0)):
        with pytest.raises(Truncated):
            read(Fields(wire[:cut]) if skip else wire[:cut])


# -- packets ---------------------------------------------------------------------------------------

PROTECTIONS = [
    pytest.param(cipher, mac, id=f"{cipher} {mac}".strip())
    for cipher in CIPHERS
    for mac in (MACS if cipher.endswith("-ctr") else ("",))
]


def both(cipher, mac):
    made = protection(cipher, mac)
    keys = (os.urandom(made.key_size), os.urandom(made.iv_size), os.urandom(made.mac_size))
    return made.sealer(*keys), made.opener(*keys)


def opened(opener, number, wire):
    size = opener.size(number, wire, 0)
    assert size == len(wire)
    return bytes(opener.open(number, memoryview(wire)))


@pytest.mark.parametrize(("cipher", "mac"), PROTECTIONS)
def test_what_is_sealed_can_be_opened(cipher, mac):
    sealer, opener = both(cipher, mac)
    for number, size in enumerate([0, *range(1, 70), 32768, 65536]):
        data = os.urandom(size)
        wire = b"".join(sealer.seal(number, b"\x5e", data))
        assert opened(opener, number, wire) == b"\x5e" + data


@pytest.mark.parametrize(("cipher", "mac"), PROTECTIONS)
def test_every_flipped_bit_is_noticed(cipher, mac):
    for at in range(0, 60, 7):
        sealer, opener = both(cipher, mac)
        wire = bytearray(b"".join(sealer.seal(0, b"", b"hello world, this is it")))
        wire[at % len(wire)] ^= 1
        with pytest.raises((ProtocolError, AssertionError)):
            opened(opener, 0, bytes(wire))


def test_chacha_is_that_of_openssh():
    """The two keys: the second for the length only; the tag's key is the first block."""
    key = bytes(range(64))
    wire = b"".join(
        protection("chacha20-poly1305@openssh.com", "").sealer(key, b"", b"").seal(7, b"", b"abc")
    )
    stream = ciphers._Chacha(key)
    assert stream._length(7, wire[:4]) == uint32(len(wire) - 20)


@pytest.mark.parametrize("length", [0, 1, 4, 5, 13, MAX_PACKET + 5, 1 << 31, (1 << 32) - 1])
def test_lengths_that_cannot_be(length):
    with pytest.raises(ProtocolError):
        PlainOpener().size(0, uint32(length), 0)


@pytest.mark.parametrize("padding", [0, 3, 11, 12, 255])
def test_padding_that_cannot_be(padding):
    with pytest.raises(ProtocolError):
        PlainOpener().open(0, memoryview(uint32(12) + bytes((padding,)) + bytes(11)))


def test_plain_packets_are_whole_blocks():
    for size in range(40):
        wire = b"".join(PlainSealer().seal(0, bytes(size), b""))
        assert len(wire) % 8 == 0
        assert wire[4] >= 4


# -- a pair of transports --------------------------------------------------------------------------


class Side:
    """A transport and what came out of it."""

    def __init__(self, transport):
        self.transport = transport
        self.out = bytearray()
        self.got = []
        transport.emit = lambda head, body: self.out.extend(head + body)
        transport.receive = lambda payload: self.got.append(bytes(payload))
        transport.start()

    def take(self):
        data, self.out = bytes(self.out), bytearray()
        return data


def sides(key=KEY, **client):
    return Side(Transport(**client)), Side(Transport(key))


def talk(client, server, step=1 << 20):
    """Carry bytes until there are none; those of the client in pieces. All bytes it said."""
    said = b""
    while client.out or server.out:
        data = client.take()
        said += data
        for start in range(0, len(data), step):
            server.transport.feed(data[start : start + step])
        client.transport.feed(server.take())
    return said


def check(client, server):
    assert client.transport.session_id == server.transport.session_id is not None
    client.got.clear(), server.got.clear()
    client.transport.send(b"\x50up")
    server.transport.send(b"\x51", b"down" * 10000)
    talk(client, server)
    assert server.got[-1] == b"\x50up"
    assert client.got[-1] == b"\x51" + b"down" * 10000


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_host_keys(algorithm):
    seen = []
    key = KEYS[algorithm]
    client, server = sides(key, host_algorithms=(algorithm,), check_host=seen.append)
    talk(client, server)
    check(client, server)
    assert seen == [key.public]
    assert client.transport.server_algorithms == ALGORITHMS


@pytest.mark.parametrize("method", list(keyexchange._METHODS))
def test_key_exchanges(method, monkeypatch):
    monkeypatch.setattr(keyexchange, "_METHODS", {method: keyexchange._METHODS[method]})
    client, server = sides()
    talk(client, server)
    check(client, server)


@pytest.mark.parametrize(("cipher", "mac"), PROTECTIONS)
def test_sessions_with_every_cipher(cipher, mac, monkeypatch):
    monkeypatch.setattr(keyexchange, "CIPHERS", {cipher: CIPHERS[cipher]})
    monkeypatch.setattr(keyexchange, "MACS", {mac: MACS[mac]} if mac else MACS)
    client, server = sides()
    talk(client, server, 7)
    check(client, server)


@pytest.mark.parametrize("method", list(keyexchange._METHODS))
@given(data=st.data())
def test_any_value_of_a_peer(method, data):
    value = data.draw(st.one_of(st.binary(max_size=80), st.binary(min_size=1216, max_size=1216)))
    for use in (keyexchange.exchange(method).shared, lambda peer: keyexchange.answer(method, peer)):
        try:
            use(value)
        except ProtocolError:
            pass


def test_without_mlkem(monkeypatch):
    monkeypatch.setattr(keyexchange, "_has_mlkem", lambda: False)
    client, server = sides()
    talk(client, server)
    check(client, server)
    assert KexInit.make(True, ALGORITHMS, True).methods[0] == "curve25519-sha256"


def test_rekeying_by_either_side_and_both():
    client, server = sides()
    talk(client, server)
    first = client.transport.session_id
    for begins in ((client,), (server,), (client, server)):
        for side in begins:
            side.transport.rekey()
            side.transport.send(b"\x60held")
        talk(client, server)
        assert not client.transport.holding
        check(client, server)
    assert client.transport.session_id == first
    assert (b"\x60held" in server.got) is False  # cleared by check, so it came before


def test_rekeying_after_so_many_bytes():
    client, server = sides(rekey_bytes=1 << 20)
    talk(client, server)
    inits = []
    send = client.transport._offer
    client.transport._offer = lambda: (inits.append(1), send())
    for _ in range(40):
        client.transport.send(b"\x5e", bytes(65536))
        talk(client, server)
    assert len(inits) in (2, 3)
    assert len(server.got) == 40


def test_what_is_sent_during_a_key_exchange_waits_in_order():
    client, server = sides()
    talk(client, server)
    client.transport.rekey()
    for number in range(5):
        client.transport.send(b"\x5e%d" % number)
    talk(client, server)
    assert server.got == [b"\x5e%d" % number for number in range(5)]


def test_too_much_held_back_is_an_error():
    client, server = sides()
    talk(client, server)
    client.transport.rekey()
    with pytest.raises(ProtocolError):
        client.transport.send(b"\x5e", bytes(65 << 20))


def test_greeting_lines_before_a_servers_version():
    client, server = sides()
    server.out[:0] = b"Welcome\r\nto this server\r\n"
    talk(client, server)
    check(client, server)


@pytest.mark.parametrize(
    ("line", "error"),
    [
        (b"GET / HTTP/1.1\r\n", ProtocolError),
        (b"SSH-1.5-old\r\n", BadVersion),
        (b"SSH-2.0-" + b"x" * 300 + b"\r\n", ProtocolError),
        (b"x" * 300, ProtocolError),
    ],
)
def test_versions_that_end_it(line, error):
    _, server = sides()
    with pytest.raises(error):
        server.transport.feed(line)


def test_endless_greetings_end_it():
    client, _ = sides()
    with pytest.raises(ProtocolError):
        client.transport.feed((b"x" * 100 + b"\n") * 1000)


def test_nothing_in_common():
    client, server = sides(host_algorithms=("rsa-sha2-512",))
    with pytest.raises(HandshakeFailed, match="no common SSH host key"):
        talk(client, server)


def test_a_host_key_that_is_refused():
    def refuse(key):
        raise HandshakeFailed("not that one")

    client, server = sides(check_host=refuse)
    with pytest.raises(HandshakeFailed, match="not that one"):
        talk(client, server)


def test_a_server_that_has_not_the_key_it_shows():
    client, server = sides()
    server.transport._host_key = PrivateKey(ed25519.Ed25519PrivateKey.generate())
    server.transport._host_key.public = KEY.public
    with pytest.raises(HandshakeFailed, match="signature is wrong"):
        talk(client, server)


def test_a_wrong_guess_is_skipped():
    """first_kex_packet_follows with a method that is not chosen."""
    client, server = sides()
    offer = KexInit.make(True, ALGORITHMS, True)
    guess = KexInit(
        ("something-else", *offer.methods),
        offer.host_keys,
        offer.ciphers,
        offer.macs,
        offer.compressions,
        True,
        offer.cookie,
    )
    client.take()
    client.transport._our_offer, client.transport._our_init = guess, guess.encode()
    server.transport.feed(VERSION + b"\r\n" + b"".join(PlainSealer().seal(0, guess.encode(), b"")))
    server.transport.feed(b"".join(PlainSealer().seal(1, b"\x1e", b"\0\0\0\x01x")))
    client.transport.feed(server.take())
    talk(client, server)
    check(client, server)


@pytest.mark.parametrize("kind", [2, 3, 4, 5, 6, 7, 21, 30, 31, 49, 50, 80, 94, 200])
def test_strict_key_exchange_takes_nothing_else_first(kind):
    """CVE-2023-48795."""
    _, server = sides()
    offer = KexInit.make(True, ALGORITHMS, True).encode()
    server.transport.feed(VERSION + b"\r\n" + b"".join(PlainSealer().seal(0, offer, b"")))
    with pytest.raises(ProtocolError):
        server.transport.feed(b"".join(PlainSealer().seal(1, bytes((kind,)), bytes(20))))


def test_strict_key_exchange_takes_nothing_before_the_offer():
    _, server = sides()
    server.transport.feed(VERSION + b"\r\n" + b"".join(PlainSealer().seal(0, b"\x02", bytes(4))))
    offer = KexInit.make(True, ALGORITHMS, True).encode()
    with pytest.raises(ProtocolError):
        server.transport.feed(b"".join(PlainSealer().seal(1, offer, b"")))


def test_an_unknown_message_is_said_to_be_so():
    client, server = sides()
    talk(client, server)
    client.transport.send(b"\x13what")
    talk(client, server)
    client.transport.send(b"\x50")
    talk(client, server)
    assert server.got == [b"\x50"]


def test_disconnect_has_a_reason():
    client, server = sides()
    talk(client, server)
    client.transport.send(disconnect(11, "bye"))
    with pytest.raises(Disconnected, match=r"bye \(11\)") as caught:
        talk(client, server)
    assert caught.value.reason == 11


def test_cut_at_every_byte_nothing_comes_of_it():
    client, server = sides()
    said = talk(client, server)
    for cut in range(len(said) - 1):
        half = Side(Transport(KEY))
        try:
            half.transport.feed(said[:cut])
        except ProtocolError:  # another server has other secrets
            assert cut > 700
        assert half.transport.session_id is None
        assert not half.got


@given(st.integers(0, 5000), st.integers(1, 255), st.integers(1, 3000))
def test_flipped_bytes_are_protocol_errors(at, change, step):
    client, server = sides()
    try:
        while client.out or server.out:
            data = bytearray(client.take())
            if 0 <= at < len(data):
                data[at] ^= change
            at -= len(data)
            for start in range(0, len(data), step):
                server.transport.feed(bytes(data[start : start + step]))
            client.transport.feed(server.take())
    except ProtocolError:
        pass


@given(st.lists(st.binary(max_size=60), max_size=8))
def test_any_packets_after_the_first_keys(payloads):
    client, server = sides()
    talk(client, server)
    try:
        for payload in payloads:
            client.transport.emit(*client.transport.seal(payload or b"\x50"))
        talk(client, server)
    except ProtocolError:
        pass


# -- negotiation and keys --------------------------------------------------------------------------


def offer(**changes):
    made = KexInit.make(True, ALGORITHMS, True)
    fields = {name: getattr(made, name) for name in made.__dataclass_fields__}
    return KexInit(**{**fields, **changes})


def test_the_clients_order_counts():
    ours = offer(ciphers=(("aes256-ctr", "aes128-ctr"),) * 2, macs=(("hmac-sha2-512",),) * 2)
    chosen = negotiate(ours, KexInit.make(False, ALGORITHMS, True), True)
    assert chosen.ciphers == ("aes256-ctr", "aes256-ctr")
    assert chosen.macs == ("hmac-sha2-512", "hmac-sha2-512")
    assert chosen.strict


def test_directions_are_negotiated_apart():
    ours = offer(ciphers=(("aes128-ctr",), ("aes256-gcm@openssh.com",)))
    chosen = negotiate(ours, KexInit.make(False, ALGORITHMS, True), True)
    assert chosen.ciphers == ("aes128-ctr", "aes256-gcm@openssh.com")
    assert chosen.macs[1] == ""


def test_markers_are_no_methods():
    marked = offer(methods=("kex-strict-c-v00@openssh.com",))
    with pytest.raises(ProtocolError):
        negotiate(marked, marked, True)


def test_offers_both_ways():
    made = KexInit.make(False, ("ssh-ed25519",), True)
    wire = made.encode()
    assert KexInit.read(wire) == made
    for cut in range(1, len(wire)):
        with pytest.raises(Truncated):
            KexInit.read(wire[:cut])


def test_long_keys_are_made_of_several_digests():
    made = Secrets("sha256", mpint(5), b"h" * 32, b"s" * 32)
    first = hashlib.sha256(mpint(5) + b"h" * 32 + b"C" + b"s" * 32).digest()
    assert made.key(b"C", 64) == first + hashlib.sha256(mpint(5) + b"h" * 32 + first).digest()


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_signatures(algorithm):
    key = KEYS[algorithm]
    signature = key.sign(algorithm, b"data")
    verify(key.public, algorithm, signature, b"data")
    with pytest.raises(HandshakeFailed):
        verify(key.public, algorithm, signature, b"other")
    for cut in range(len(signature)):
        with pytest.raises(ProtocolError):
            verify(key.public, algorithm, signature[:cut], b"data")
    for cut in range(len(key.public)):
        with pytest.raises(ProtocolError):
            verify(key.public[:cut], algorithm, signature, b"data")


def test_rsa_does_not_sign_with_sha1():
    signature = string("ssh-rsa") + string(bytes(256))
    with pytest.raises(HandshakeFailed):
        verify(RSA.public, "ssh-rsa", signature, b"data")
    assert algorithms_of("ssh-dss") == ()


@given(st.binary(max_size=100), st.binary(max_size=100), st.sampled_from(ALGORITHMS))
def test_any_signature_of_any_key(public, signature, algorithm):
    kind = KEYS[algorithm].kind
    with pytest.raises(ProtocolError):
        verify(string(kind) + public, algorithm, string(algorithm) + string(signature), b"data")


# -- files -----------------------------------------------------------------------------------------


def pem(key, form, password=None):
    cover = (
        serialization.BestAvailableEncryption(password)
        if password
        else serialization.NoEncryption()
    )
    return key.private_bytes(serialization.Encoding.PEM, form, cover)


OWN, PKCS8, OLD = (
    serialization.PrivateFormat.OpenSSH,
    serialization.PrivateFormat.PKCS8,
    serialization.PrivateFormat.TraditionalOpenSSL,
)


@pytest.mark.parametrize(
    ("key", "form"),
    [
        (KEY._key, OWN),
        (KEY._key, PKCS8),
        (RSA._key, OWN),
        (RSA._key, OLD),
        (KEYS["ecdsa-sha2-nistp256"]._key, OLD),
        (KEYS["ecdsa-sha2-nistp384"]._key, OWN),
    ],
)
def test_key_files(key, form):
    public = PrivateKey(key).public
    assert load_private(pem(key, form)).public == public
    assert load_private(pem(key, form), "not needed").public == public
    covered = pem(key, form, b"secret")
    assert load_private(covered, "secret").public == public
    for passphrase, said in (("", "encrypted"), ("wrong", "passphrase")):
        with pytest.raises(ConfigError, match=said):
            load_private(covered, passphrase)


def test_files_that_are_no_keys():
    for data in (b"", b"nonsense", b"-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n"):
        with pytest.raises(ConfigError):
            load_private(data)
    with pytest.raises(ConfigError, match="Ed25519"):
        load_private(pem(dsa.generate_private_key(1024), PKCS8))


def test_an_encrypted_key_needs_bcrypt(monkeypatch):
    def fail(*_):
        raise UnsupportedAlgorithm("Need bcrypt module")

    monkeypatch.setattr(serialization, "load_ssh_private_key", fail)
    with pytest.raises(MissingExtra, match=r"gostpy\[ssh\]"):
        load_private(b"-----BEGIN OPENSSH PRIVATE KEY-----", "secret")


def line(key):
    return f"{key.kind} {base64.b64encode(key.public).decode()}"


def test_authorized_keys():
    other = KEYS["rsa-sha2-256"]
    text = f'# comment\n\n{line(KEY)} me@here\nfrom="*.test",no-pty {line(other)}\n'
    assert read_authorized_keys(text) == {KEY.public, other.public}
    with pytest.raises(ConfigError, match="line 2"):
        read_authorized_keys(f"{line(KEY)}\nnonsense here\n")


def hashed(name):
    salt = b"0123456789abcdefghij"
    digest = hmac.digest(salt, name.encode(), "sha1")
    return "|1|" + "|".join(base64.b64encode(part).decode() for part in (salt, digest))


KNOWN = [
    pytest.param("a.test", "a.test", 22, True, id="name"),
    pytest.param("a.test", "A.TEST", 22, True, id="capital letters"),
    pytest.param("a.test", "a.test", 2222, False, id="another port"),
    pytest.param("[a.test]:2222", "a.test", 2222, True, id="port"),
    pytest.param("*.test,!b.test", "a.test", 22, True, id="pattern"),
    pytest.param("*.test,!b.test", "b.test", 22, False, id="not that one"),
    pytest.param(hashed("a.test"), "a.test", 22, True, id="hashed"),
    pytest.param(hashed("[a.test]:2222"), "a.test", 2222, True, id="hashed with a port"),
    pytest.param(hashed("a.test"), "b.test", 22, False, id="another hash"),
    pytest.param("|1|x", "a.test", 22, False, id="no hash"),
]


@pytest.mark.parametrize(("hosts", "host", "port", "known"), KNOWN)
def test_known_hosts(hosts, host, port, known):
    hosts_file = KnownHosts(f"# c\n{hosts} {line(KEY)} comment\n")
    if not known:
        with pytest.raises(HandshakeFailed, match="not among the known"):
            hosts_file.check(host, port, KEY.public)
        return
    hosts_file.check(host, port, KEY.public)
    with pytest.raises(HandshakeFailed, match="not the known one"):
        hosts_file.check(host, port, RSA.public)


def test_revoked_and_unknown_lines():
    text = f"@revoked * {line(RSA)}\na.test {line(RSA)}\na.test {line(KEY)}\n"
    with pytest.raises(HandshakeFailed, match="revoked"):
        KnownHosts(text).check("a.test", 22, RSA.public)
    KnownHosts(text).check("a.test", 22, KEY.public)
    with pytest.raises(ConfigError, match="line 1"):
        KnownHosts("a.test nonsense")


def test_numbers_of_messages():
    assert (Message.CHANNEL_OPEN, Message.DATA, Message.CHANNEL_FAILURE) == (90, 94, 100)
