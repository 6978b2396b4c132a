"""SSH over conns: the link (handshake), login, sessions of channels, port forwarding.

Data channels ``ssh`` and ``sshd`` and the sshd handler and connector are made of these.
"""

from gostpy.stream.ssh.forwarding import ForwardingClient, ForwardingServer
from gostpy.stream.ssh.link import Link, accept_link, connect_link
from gostpy.stream.ssh.login import Admission, Identity, accept_login, connect_login
from gostpy.stream.ssh.session import Session
from gostpy.stream.ssh.tunnel import TunnelClient, TunnelServer

__all__ = [
    "Admission",
    "ForwardingClient",
    "ForwardingServer",
    "Identity",
    "Link",
    "Session",
    "TunnelClient",
    "TunnelServer",
    "accept_link",
    "accept_login",
    "connect_link",
    "connect_login",
]
