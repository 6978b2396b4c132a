"""tungo: ends the TCP connections and UDP flows that come out of a TUN device, and dials their
targets by way of the chain; pings are answered here, whoever they are for.

TCP is the kernel's (translate.py), UDP and ICMP echo are small enough to be done here. There is no
wire of its own.

Source    go-gost/x handler/tungo
Differs   gost has a TCP of its own (gVisor's). Here a local firewall sees connections from a
          neighbour to the device's own address, and has to let them in; rules of the service for
          requests and bypass apply to UDP too; a DNS flow does not end with its first answer.
"""

from gostpy.processing.tungo.handler import Handler
from gostpy.processing.tungo.options import HandlerOptions

__all__ = ["Handler", "HandlerOptions"]
