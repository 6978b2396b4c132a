"""Datagrams in TCP segments on raw sockets: firewalls see a TCP connection, losses stay losses.

The system makes a real connection (its handshake gives the numbers to go on with) and is then kept
from seeing any data: a socket filter on the connection drops segments with PSH before the system
acknowledges them. A raw socket beside it gets the same segments and sends ours.

Needs     CAP_NET_RAW.
Differs   gost lets the system answer, and hides the answers with TTL 1 and an iptables rule; here
          no rule is made and none is needed. An idle flow ends, here, after one to two periods.
"""

from gostpy.net.faketcp.dial import FakeTCPSocket, dial_fake_tcp
from gostpy.net.faketcp.listen import FakeTCPListener, listen_fake_tcp

__all__ = ["FakeTCPListener", "FakeTCPSocket", "dial_fake_tcp", "listen_fake_tcp"]
