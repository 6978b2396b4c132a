"""sshd: port forwarding of standard SSH, for OpenSSH's ``ssh -L -R -D`` and ``sshd`` as peers. It
begins as sshlogin says; the handler and connector of the same name do the rest.

The listener delivers a conn per direct-tcpip channel, not yet accepted, and requests for forwarded
ports; the dialer's conns stand for the session until the connector says where to.
"""

from __future__ import annotations

from gostpy.channel import ssh
from gostpy.channel.ssh import DialOptions, ListenOptions
from gostpy.stream.ssh import ForwardingClient, ForwardingServer

__all__ = ["DialOptions", "ListenOptions", "Mux"]


class Mux(ssh.Mux):
    """Makes sessions of links."""

    server = ForwardingServer
    client = ForwardingClient
