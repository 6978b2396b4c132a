"""The transport of SSH as a machine: bytes in, payloads out, and key exchanges by itself.

Wire      a line ``SSH-2.0-Go`` each way, then packets (ciphers.py). Both sides send KEXINIT(20);
          the client its public value, the server its own with a signature; NEWKEYS(21) each way
          ends it. Either side begins another exchange at any time.
Source    RFC 4253; RFC 8308 (the server tells its signature algorithms); OpenSSH's PROTOCOL,
          section 1.10: strict key exchange (nothing but the exchange before the first NEWKEYS,
          and packet numbers that begin anew after each)
Differs   nothing known.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from gostpy.errors import BadVersion, HandshakeFailed, ProtocolError
from gostpy.wire.codec import Buffer
from gostpy.wire.ssh.ciphers import Opener, PlainOpener, PlainSealer, Sealer, protection
from gostpy.wire.ssh.fields import Fields, names, string, uint32
from gostpy.wire.ssh.keyexchange import (
    KEXINIT,
    Exchange,
    KexInit,
    Negotiated,
    Secrets,
    answer,
    exchange,
    exchange_hash,
    negotiate,
)
from gostpy.wire.ssh.keys import ALGORITHMS, PrivateKey, verify

__all__ = ["VERSION", "Disconnected", "Transport", "disconnect"]

VERSION = b"SSH-2.0-Go"
"""What gost says."""

DISCONNECT, IGNORE, UNIMPLEMENTED, DEBUG = 1, 2, 3, 4
EXT_INFO, NEWKEYS, KEX_INIT, KEX_REPLY = 7, 21, 30, 31

PROTOCOL_ERROR, NO_MORE_AUTH, BY_APPLICATION = 2, 14, 11

REKEY_BYTES = 16 << 30
"""After so much in either direction this side begins a key exchange; small packets count more."""

_LEAST = 64  # what a packet counts besides its bytes

_MAX_LINE = 255
_MAX_GREETING = 16384  # lines that a server may send before its version
_MAX_HELD = 16 << 20  # of memory, by what is sent during a key exchange
_HELD_EACH = 160  # memory of a message besides its bytes

_EMPTY = b""


class Disconnected(HandshakeFailed):
    """The peer said why it goes."""

    def __init__(self, reason: int, text: str) -> None:
        self.reason = reason
        super().__init__(f"SSH peer disconnected: {text or 'no reason given'} ({reason})")


def disconnect(reason: int, text: str) -> bytes:
    """Payload of the last message."""
    return bytes((DISCONNECT,)) + uint32(reason) + string(text[:200]) + string("")


class Transport:
    """One side.

    Args:
        host_key: the server's key; None makes this the client.
        check_host: the client's judgement of a host key as on the wire; raises HandshakeFailed.
        host_algorithms: signature algorithms that the client takes, most wanted first.
        rekey_bytes: see REKEY_BYTES.

    Attributes:
        emit: gets the parts of each packet to be sent, in order.
        receive: gets the payload of each message that is not the transport's own.
        resumed: called when a key exchange is over and what was held has been emitted.
        holding: a key exchange is under way, so what is sent now is kept until it is over.
        session_id: None before the first key exchange is over.
        server_algorithms: signature algorithms that the server takes from users; empty if untold.
        stopped: set it to end ``feed`` early.
    """

    def __init__(
        self,
        host_key: PrivateKey | None = None,
        *,
        check_host: Callable[[bytes], None] | None = None,
        host_algorithms: Sequence[str] = ALGORITHMS,
        rekey_bytes: int = REKEY_BYTES,
    ) -> None:
        self.client = host_key is None
        self.emit: Callable[[bytes, bytes], None] = _nowhere
        self.receive: Callable[[memoryview], None] = _nobody
        self.resumed: Callable[[], None] = _nothing
        self.holding = False
        self.session_id: bytes | None = None
        self.server_algorithms: tuple[str, ...] = ()
        self.stopped = False
        self._host_key = host_key
        self._host_algorithms = host_key.algorithms if host_key is not None else host_algorithms
        self._check_host = check_host
        self._rekey_bytes = rekey_bytes
        self._left_out = self._left_in = rekey_bytes
        # versions and offers, ours and the peer's
        self._peer_version = _EMPTY
        self._greeting = 0
        self._our_offer: KexInit | None = None
        self._our_init = self._peer_init = _EMPTY
        self._chosen: Negotiated | None = None
        self._secret: Exchange | None = None
        self._next: Secrets | None = None
        self._skip = False
        self._strict = False
        self._held: list[tuple[bytes, bytes]] = []
        self._held_size = 0
        # packets
        self._sealer: Sealer = PlainSealer()
        self._opener: Opener = PlainOpener()
        self._sent = self._taken = 0  # packet numbers
        self._part = bytearray()
        self._total = 0

    # -- out -------------------------------------------------------------------------------------

    def start(self) -> None:
        """Say the version and offer a key exchange."""
        self.emit(VERSION + b"\r\n", _EMPTY)
        self._offer()

    def send(self, head: bytes, data: Buffer = _EMPTY) -> None:
        """Send a message; during a key exchange it waits."""
        if self.holding:
            self._held.append((head, bytes(data)))
            self._held_size += len(head) + len(data) + _HELD_EACH
            if self._held_size > _MAX_HELD:
                raise ProtocolError("SSH peer does not end a key exchange")
            return
        self.emit(*self.seal(head, data))
        if self._left_out < 0:
            self.rekey()

    def seal(self, head: bytes, data: Buffer = _EMPTY) -> tuple[bytes, bytes]:
        """The packet of a message, in two parts; it must be sent next. Not while ``holding``."""
        number = self._sent
        self._sent = (number + 1) & 0xFFFFFFFF
        self._left_out -= len(data) + _LEAST
        return self._sealer.seal(number, head, data)

    @property
    def due(self) -> bool:
        """So much was sealed that a key exchange should begin."""
        return self._left_out < 0 and not self.holding

    def rekey(self) -> None:
        """Begin a key exchange, if none is under way."""
        if self._our_offer is None:
            self._offer()

    def _offer(self) -> None:
        offer = KexInit.make(self.client, self._host_algorithms, self.session_id is None)
        self._our_offer, self._our_init = offer, offer.encode()
        self.emit(*self.seal(self._our_init))
        self.holding = True

    # -- in --------------------------------------------------------------------------------------

    def feed(self, data: Buffer) -> None:
        """Take the next bytes. Raises ProtocolError; the machine is of no use afterwards."""
        view = memoryview(data)
        at = 0 if self._peer_version else self._read_version(view)
        if at < 0:
            return
        size = len(view)
        while at < size and not self.stopped:
            part, opener = self._part, self._opener
            if not part:
                if size - at >= opener.head:
                    total = opener.size(self._taken, view, at)
                    if total <= size - at:
                        self._packet(view[at : at + total])
                        at += total
                        continue
                    self._total = total
                part += view[at:]
                return
            wanted = (self._total or opener.head) - len(part)
            piece = view[at : at + wanted]
            part += piece
            at += len(piece)
            if len(piece) < wanted:
                return
            if not self._total:
                self._total = opener.size(self._taken, part, 0)
            if self._total == len(part):
                self._part, self._total = bytearray(), 0
                self._packet(memoryview(part))

    def _read_version(self, view: memoryview) -> int:
        """Where packets begin; -1 if the version is not complete."""
        self._part += view
        while True:
            end = self._part.find(b"\n")
            if end < 0:
                if len(self._part) > _MAX_LINE:
                    raise ProtocolError("SSH version line is too long")
                return -1
            line = bytes(self._part[:end]).removesuffix(b"\r")
            del self._part[: end + 1]
            if line.startswith(b"SSH-"):
                break
            self._greeting += end + 1
            if not self.client or self._greeting > _MAX_GREETING or end > _MAX_LINE:
                raise ProtocolError("SSH peer does not begin with its version")
        if not line.startswith((b"SSH-2.0-", b"SSH-1.99-")) or len(line) > _MAX_LINE:
            raise BadVersion(f"SSH version {line[:40]!r}")
        self._peer_version = line
        rest, self._part = bytes(self._part), bytearray()
        self.feed(rest)
        return -1

    def _packet(self, packet: memoryview) -> None:
        number = self._taken
        payload = self._opener.open(number, packet)
        self._taken = (number + 1) & 0xFFFFFFFF
        self._left_in -= len(packet) + _LEAST
        kind = payload[0]
        if kind >= 50:
            if self._peer_init or self.session_id is None:
                raise ProtocolError(f"SSH message {kind} inside a key exchange")
            self.receive(payload)
            if self._left_in < 0:
                self.rekey()
        else:
            self._own(kind, bytes(payload), number)

    def _own(self, kind: int, payload: bytes, number: int) -> None:
        """A message of the transport itself, or of the services (5 and 6)."""
        if kind == DISCONNECT:
            fields = Fields(payload, 1)
            reason = fields.uint32()
            raise Disconnected(reason, fields.string().decode("utf-8", "replace")[:200])
        if self._strict and self.session_id is None and kind not in _EXCHANGE:
            raise ProtocolError(f"SSH message {kind} before the first key exchange is over")
        if kind in (IGNORE, UNIMPLEMENTED, DEBUG):
            return
        if kind == KEXINIT:
            self._offered(payload, number)
        elif 30 <= kind < 50:
            self._exchanged(kind, payload)
        elif kind == NEWKEYS:
            self._new_keys(payload)
        elif self._peer_init or self.session_id is None:
            raise ProtocolError(f"SSH message {kind} inside a key exchange")
        elif kind == EXT_INFO:
            self._extensions(payload)
        elif kind in (5, 6):
            self.receive(memoryview(payload))
        else:
            self.send(bytes((UNIMPLEMENTED,)) + uint32(number))

    def _extensions(self, payload: bytes) -> None:
        fields = Fields(payload, 1)
        for _ in range(min(fields.uint32(), 64)):
            name, value = fields.string(), fields.string()
            if name == b"server-sig-algs":
                self.server_algorithms = tuple(value.decode("ascii", "replace").split(","))

    # -- key exchange ----------------------------------------------------------------------------

    def _offered(self, payload: bytes, number: int) -> None:
        if self._peer_init:
            raise ProtocolError("SSH peer offers a key exchange inside of one")
        if self._our_offer is None:
            self._offer()
        assert self._our_offer is not None
        theirs = KexInit.read(payload)
        chosen = negotiate(self._our_offer, theirs, self.client)
        if self.session_id is None:
            self._strict = chosen.strict
            if chosen.strict and number:
                raise ProtocolError("SSH peer said something before its offer")
        self._peer_init, self._chosen = payload, chosen
        self._skip = theirs.follows and not chosen.guessed
        if self.client:
            self._secret = exchange(chosen.method)
            self.emit(*self.seal(bytes((KEX_INIT,)) + string(self._secret.public)))

    def _exchanged(self, kind: int, payload: bytes) -> None:
        chosen = self._chosen
        if chosen is not None and self._skip:
            self._skip = False
            return
        expected = KEX_REPLY if self.client else KEX_INIT
        if chosen is None or self._next is not None or kind != expected:
            raise ProtocolError(f"SSH message {kind} out of turn")
        if self.client:
            self._replied(chosen, Fields(payload, 1))
        else:
            self._reply(chosen, Fields(payload, 1).string())

    def _reply(self, chosen: Negotiated, public: bytes) -> None:
        """The server's part."""
        host_key = self._host_key
        assert host_key is not None
        own, shared = answer(chosen.method, public)
        digest = self._hash(chosen, host_key.public, (public, own), shared)
        signature = host_key.sign(chosen.host_key, digest)
        message = bytes((KEX_REPLY,)) + string(host_key.public) + string(own)
        self.emit(*self.seal(message + string(signature)))
        self._agreed(chosen, shared, digest)

    def _replied(self, chosen: Negotiated, fields: Fields) -> None:
        """The client's part."""
        host_key, public, signature = fields.string(), fields.string(), fields.string()
        assert self._secret is not None
        shared = self._secret.shared(public)
        digest = self._hash(chosen, host_key, (self._secret.public, public), shared)
        verify(host_key, chosen.host_key, signature, digest)
        if self._check_host is not None:
            self._check_host(host_key)
        self._agreed(chosen, shared, digest)

    def _hash(
        self, chosen: Negotiated, host_key: bytes, publics: tuple[bytes, bytes], shared: bytes
    ) -> bytes:
        versions, offers = (VERSION, self._peer_version), (self._our_init, self._peer_init)
        if not self.client:
            versions, offers = versions[::-1], offers[::-1]
        return exchange_hash(chosen.digest, versions, offers, host_key, publics, shared)

    def _agreed(self, chosen: Negotiated, shared: bytes, digest: bytes) -> None:
        """Both have the secret: seal with its keys from now on."""
        session_id = self.session_id or digest
        self._next = Secrets(chosen.digest, shared, digest, session_id)
        self.emit(*self.seal(bytes((NEWKEYS,))))
        self._left_out = self._rekey_bytes
        direction = 0 if self.client else 1
        made = protection(chosen.ciphers[direction], chosen.macs[direction])
        letters = (b"A", b"C", b"E") if self.client else (b"B", b"D", b"F")
        key = self._next.key
        self._sealer = made.sealer(
            key(letters[1], made.key_size),
            key(letters[0], made.iv_size),
            key(letters[2], made.mac_size),
        )
        if self._strict:
            self._sent = 0
        if chosen.ext_info and self.session_id is None:
            listed = string("server-sig-algs") + names(ALGORITHMS)
            self.emit(*self.seal(bytes((EXT_INFO,)) + uint32(1) + listed))

    def _new_keys(self, payload: bytes) -> None:
        """The peer seals with the new keys from now on."""
        chosen, secrets = self._chosen, self._next
        if chosen is None or secrets is None or len(payload) != 1:
            raise ProtocolError("SSH NEWKEYS out of turn")
        direction = 1 if self.client else 0
        made = protection(chosen.ciphers[direction], chosen.macs[direction])
        letters = (b"B", b"D", b"F") if self.client else (b"A", b"C", b"E")
        key = secrets.key
        self._opener = made.opener(
            key(letters[1], made.key_size),
            key(letters[0], made.iv_size),
            key(letters[2], made.mac_size),
        )
        if self._strict:
            self._taken = 0
        self._left_in = self._rekey_bytes
        self.session_id = secrets.session_id
        self._our_offer = self._chosen = self._secret = self._next = None
        self._our_init = self._peer_init = _EMPTY
        self.holding = False
        held, self._held, self._held_size = self._held, [], 0
        for head, data in held:
            self.send(head, data)
        self.resumed()


_EXCHANGE = (KEXINIT, NEWKEYS, KEX_INIT, KEX_REPLY)


def _nowhere(head: bytes, body: bytes) -> None:
    """What is made before anybody wants it is lost."""


def _nobody(payload: memoryview) -> None:
    """Nobody listens yet."""


def _nothing() -> None:
    """Nobody waits."""
