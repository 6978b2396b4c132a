"""The beginning of ssh and sshd: key exchange, host key and login, on a connection of its own.

Serving, passwords are those of the listener's ``auth`` or auther, keys those of an OpenSSH
``authorized_keys`` file; with neither everybody is let in. The host key is that of the TLS
certificate unless there is a file. Dialing, what can be shown is tried in turn: the password of
the dialer's ``auth``, the key file, the keys of a running agent.

Differs   an ``authorized_keys`` file without a key lets nobody in (gost: everybody).
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from gostpy.errors import ConfigError, ProtocolError
from gostpy.interfaces import Context, TLSSettings
from gostpy.net.conn import Conn
from gostpy.net.dial import split_address
from gostpy.options import opt
from gostpy.stream.certificates import server_pair
from gostpy.stream.ssh import (
    Admission,
    Identity,
    Link,
    accept_link,
    accept_login,
    connect_link,
    connect_login,
)
from gostpy.stream.ssh.agent import agent_signers
from gostpy.wire.ssh.keyfiles import KnownHosts, read_authorized_keys
from gostpy.wire.ssh.keys import (
    ALGORITHMS,
    PrivateKey,
    Signer,
    algorithms_of,
    key_type,
    load_private,
)

__all__ = ["DialOptions", "Layer", "ListenOptions"]


@dataclass(frozen=True)
class _KeyOptions:
    """A key of this side."""

    private_key_file: str = opt(
        "", "privateKeyFile", unit="path", doc="Private key of this side; ~ is the home folder."
    )
    passphrase_from_keyring: bool = opt(
        False,
        "passphraseFromKeyring",
        doc="Take the passphrase from the desktop keyring (Python package keyring).",
    )
    passphrase: str = opt("", "passphrase", doc="Passphrase of the private key.")


@dataclass(frozen=True)
class ListenOptions(_KeyOptions):
    """Options of the listening side."""

    authorized_keys: str = opt(
        "", "authorizedKeys", unit="path", doc="OpenSSH file of the keys that are let in."
    )


@dataclass(frozen=True)
class DialOptions(_KeyOptions):
    """Options of the dialing side."""

    handshake_timeout: float = opt(
        0.0, "handshakeTimeout", kind="duration", doc="Time for key exchange and login; 0 = 15 s."
    )
    known_hosts: str = opt(
        "",
        "knownHosts",
        unit="path",
        doc="OpenSSH file of the host keys to trust, only in gostpy; empty = any host key.",
    )


class Layer:
    """Makes a link of a conn. Raises ConfigError: a file is missing or wrong."""

    def __init__(self, options: Any, context: Context) -> None:
        self.options = options
        self.context = context
        key = _own_key(options, context)
        if context.listening:
            self._host_key = key or _certificate_key(context.tls)
            self._keys = _read(options.authorized_keys, "authorizedKeys", read_authorized_keys)
        else:
            self._signers = (key.signer,) if key is not None else ()
            self._known = _read(options.known_hosts, "knownHosts", KnownHosts)
            self._where = split_address(context.address, 22)

    # -- listening -----------------------------------------------------------------------------

    def accept(self, conn: Conn) -> Link:
        """Raises AuthFailed, ProtocolError, OSError."""
        link = accept_link(conn, self._host_key)
        password: Callable[[str, str], bool] | None = None
        authenticate = self.context.authenticate
        if authenticate is not None:
            client = conn.info.client_address

            def password(user: str, word: str) -> bool:
                return authenticate(user, word, client) is not None

        admission = Admission(password, self._keys)
        return _complaining(link, lambda: accept_login(link, admission))

    # -- dialing -------------------------------------------------------------------------------

    def connect(self, conn: Conn) -> Link:
        """Raises HandshakeFailed: the host key is not a known one; AuthFailed, ProtocolError,
        OSError."""
        link = connect_link(conn, self._check_host(), self._host_algorithms())
        auth = self.context.auth
        identity = Identity(auth.username, auth.password, self._all_signers)
        return _complaining(link, lambda: connect_login(link, identity))

    def _all_signers(self) -> Iterable[Signer]:
        yield from self._signers
        yield from agent_signers()

    def _check_host(self) -> Callable[[bytes], None] | None:
        known = self._known
        if known is None:
            return None
        return lambda key: known.check(*self._where, key)

    def _host_algorithms(self) -> Sequence[str]:
        """Those of the known keys first, so that the host shows one that can be compared."""
        if self._known is None:
            return ALGORITHMS
        keys = self._known.keys(*self._where)
        known = {name for key in keys for name in algorithms_of(key_type(key))}
        return sorted(ALGORITHMS, key=lambda name: name not in known)


def _complaining(link: Link, step: Callable[[], Any]) -> Link:
    try:
        step()
    except ProtocolError as error:
        link.complain(error)
        raise
    return link


def _own_key(options: _KeyOptions, context: Context) -> PrivateKey | None:
    """The key of the options, if there is one."""
    path = os.path.expanduser(options.private_key_file)
    if not path:
        return None
    passphrase = options.passphrase
    if options.passphrase_from_keyring:
        passphrase = _from_keyring(path, context.auth.username)
    try:
        with open(path, "rb") as file:
            return load_private(file.read(), passphrase)
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}", "privateKeyFile") from error
    except ConfigError as error:
        error.where = error.where or "privateKeyFile"
        raise


def _from_keyring(path: str, user: str) -> str:
    """gost's entries: service ``SSH PATH``, of the user to log in or (sshd dialer) of the path."""
    try:
        keyring = importlib.import_module("keyring")
    except ModuleNotFoundError:
        raise ConfigError(
            "needs the Python package keyring: pip install keyring", "passphraseFromKeyring"
        ) from None
    for name in (user, path):
        found = keyring.get_password(f"SSH {path}", name) if name else None
        if found:
            return str(found)
    raise ConfigError(f"the keyring has no passphrase of {path}", "passphraseFromKeyring")


def _certificate_key(tls: TLSSettings | None) -> PrivateKey:
    """The host key that gost uses when there is no file."""
    return load_private(server_pair(tls or TLSSettings()).key)


def _read(path: str, option: str, parse: Callable[[str], Any]) -> Any:
    """What a file of keys says, None without one."""
    if not path:
        return None
    path = os.path.expanduser(path)
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return parse(file.read())
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}", option) from error
    except ConfigError as error:
        raise ConfigError(f"{path}: {error.message}", option) from error
