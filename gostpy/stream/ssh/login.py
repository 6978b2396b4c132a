"""Login to the connection service, both sides (RFC 4252): none, password, publickey.

The server counts failures: after six the client is sent away, as in gost; asking whether a key
would do counts when it would not. The client tries what it has in gost's order: password, its key
file, the keys of its agent.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial

from gostpy.errors import AuthFailed, HandshakeFailed, ProtocolError
from gostpy.stream.ssh.link import Link
from gostpy.wire.ssh.fields import Fields, string
from gostpy.wire.ssh.keys import Signer, algorithms_of, key_type, verify
from gostpy.wire.ssh.messages import CONNECTION, Message, failure, signed_request
from gostpy.wire.ssh.transport import NO_MORE_AUTH

__all__ = ["MOST_FAILURES", "Admission", "Identity", "accept_login", "connect_login"]

MOST_FAILURES = 6
_MOST_REQUESTS = 64  # of all kinds in one login

_USERAUTH = b"ssh-userauth"


@dataclass(frozen=True, slots=True)
class Admission:
    """Whom a server lets in; nothing set lets everybody in.

    Attributes:
        password: (user, password) -> whether it is right; may block.
        keys: public keys as on the wire, of any user; an empty set lets nobody in by a key.
    """

    password: Callable[[str, str], bool] | None = None
    keys: frozenset[bytes] | None = None

    @property
    def methods(self) -> tuple[str, ...]:
        named = (("password", self.password is not None), ("publickey", self.keys is not None))
        return tuple(name for name, offered in named if offered)


@dataclass(frozen=True, slots=True)
class Identity:
    """What a client can show; ``signers`` are asked for when the server takes keys."""

    user: str = ""
    password: str = field(default="", repr=False)
    signers: Callable[[], Iterable[Signer]] | None = None


def accept_login(link: Link, admission: Admission) -> str:
    """Let a client log in; the user's name. Raises AuthFailed, ProtocolError, OSError."""
    fields = Fields(link.read())
    if fields.byte() != Message.SERVICE_REQUEST or fields.string() != _USERAUTH:
        raise ProtocolError("SSH client does not ask for a login")
    link.send(bytes((Message.SERVICE_ACCEPT,)) + string(_USERAUTH))
    methods = admission.methods
    failures = 0
    for _ in range(_MOST_REQUESTS):
        fields = Fields(link.read())
        if fields.byte() != Message.USERAUTH_REQUEST:
            raise ProtocolError("SSH client does not log in")
        user, service, method = fields.text(), fields.string(), fields.text()
        if service != CONNECTION:
            raise ProtocolError(f"SSH client asks for service {service[:40]!r}")
        answer = _judge(link, admission, user, method, fields)
        if answer is None:
            failures += method != "none"
            if failures >= MOST_FAILURES:
                break
            answer = failure(methods)
        link.send(answer)
        if answer[0] == Message.USERAUTH_SUCCESS:
            link.flush()
            return user
    link.complain(ProtocolError("too many authentication failures"), NO_MORE_AUTH)
    raise AuthFailed(f"too many SSH login failures of {user!r}")


_SUCCESS = bytes((Message.USERAUTH_SUCCESS,))


def _judge(
    link: Link, admission: Admission, user: str, method: str, fields: Fields
) -> bytes | None:
    """The answer to one request, None to refuse it."""
    if method == "none":
        return None if admission.methods else _SUCCESS
    if method == "password" and admission.password is not None:
        changes, password = fields.boolean(), fields.text()
        return _SUCCESS if not changes and admission.password(user, password) else None
    if method == "publickey" and admission.keys is not None:
        return _judge_key(link, admission.keys, user, fields)
    return None


def _judge_key(link: Link, keys: frozenset[bytes], user: str, fields: Fields) -> bytes | None:
    signed, algorithm, public = fields.boolean(), fields.text(), fields.string()
    if public not in keys or algorithm not in algorithms_of(key_type(public)):
        return None
    if not signed:
        return bytes((Message.USERAUTH_PK_OK,)) + string(algorithm) + string(public)
    session_id = link.transport.session_id
    assert session_id is not None
    try:
        covered = string(session_id) + signed_request(user, algorithm, public)
        verify(public, algorithm, fields.string(), covered)
    except HandshakeFailed:
        return None
    return _SUCCESS


def connect_login(link: Link, identity: Identity) -> None:
    """Log in. Raises AuthFailed: nothing that we have is taken; ProtocolError, OSError."""
    link.send(bytes((Message.SERVICE_REQUEST,)) + string(_USERAUTH))
    link.send(_request(identity.user, "none"))
    if link.read() != bytes((Message.SERVICE_ACCEPT,)) + string(_USERAUTH):
        raise ProtocolError("SSH server does not offer a login")
    methods = _answer(link)
    if methods is None:
        return
    for method, request in _attempts(link, identity):
        if method in methods:
            link.send(request())
            left = _answer(link)
            if left is None:
                return
            methods = left
    offered = ", ".join(methods) or "nothing"
    raise AuthFailed(f"SSH login as {identity.user!r} was refused; the server takes {offered}")


def _request(user: str, method: str, fields: bytes = b"") -> bytes:
    start = bytes((Message.USERAUTH_REQUEST,)) + string(user) + string(CONNECTION)
    return start + string(method) + fields


def _attempts(link: Link, identity: Identity) -> Iterator[tuple[str, Callable[[], bytes]]]:
    """(method, what makes its request), in order."""
    user = identity.user
    if identity.password:
        fields = b"\0" + string(identity.password)
        yield "password", partial(_request, user, "password", fields)
    for signer in identity.signers() if identity.signers is not None else ():
        accepted = link.transport.server_algorithms
        for algorithm in signer.algorithms:
            if not accepted or algorithm in accepted:
                yield "publickey", partial(_signed, link, user, signer, algorithm)
                break


def _signed(link: Link, user: str, signer: Signer, algorithm: str) -> bytes:
    session_id = link.transport.session_id
    assert session_id is not None
    request = signed_request(user, algorithm, signer.public)
    return request + string(signer.sign(algorithm, string(session_id) + request))


def _answer(link: Link) -> tuple[str, ...] | None:
    """The methods that can continue, None after success."""
    for _ in range(_MOST_REQUESTS):
        message = link.read()
        kind = message[0]
        if kind == Message.USERAUTH_SUCCESS:
            return None
        if kind == Message.USERAUTH_FAILURE:
            return Fields(message, 1).names()
        if kind != Message.USERAUTH_BANNER:
            raise ProtocolError(f"SSH message {kind} during the login")
    raise ProtocolError("SSH server sends banners without end")
