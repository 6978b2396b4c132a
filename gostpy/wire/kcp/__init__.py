"""KCP as kcp-go speaks it: reliable bytes over datagrams.

A datagram, from the outside in:

    packet.py   NONCE(16) | CRC32(4), encrypted with what follows by one of ciphers.py
    fec.py      SEQID(4) | TYPE(2) | SIZE(2), where forward error correction is on
    segment.py  segments with a header of 24 bytes each: data, acknowledgements, window probes

Integers are little-endian. What the segments carry is a byte stream, of which snappy.py is the
usual outermost part.
"""

from gostpy.wire.kcp.fec import Decoder, Encoder
from gostpy.wire.kcp.segment import Core, Settings

__all__ = ["Core", "Decoder", "Encoder", "Settings"]
