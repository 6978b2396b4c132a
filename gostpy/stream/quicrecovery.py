"""QUIC: when packets are taken for lost, and what follows for the rate; deviations from aioquic.

Congestion   CUBIC that behaves like two connections, as quic-go's (and so gost's) does: a loss
             takes 15 % of the window, not 30 %, nor does it count what happens to be under way
Loss         packets that overtake each other on the way are not lost: only many later packets, or
             an eighth of the round trip, say so
Pacing       a burst may fill four milliseconds: a timer of the loop holds apart what is longer

Source       RFC 9002, RFC 9438; aioquic 1.7 for its private parts
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from aioquic.quic.congestion.base import register_congestion_control
from aioquic.quic.congestion.cubic import CubicCongestionControl
from aioquic.quic.recovery import QuicPacketPacer, QuicPacketRecovery

__all__ = ["CONGESTION_CONTROL", "Recovery"]

CONGESTION_CONTROL = "gostpy-cubic"

_REDUCTION = 0.85
_LEAST_WINDOW = 2
_PACKET_THRESHOLD = 32
_TIME_THRESHOLD = 9 / 8
_BURST_TIME = 0.004


class _Cubic(CubicCongestionControl):  # type: ignore[misc]
    """See the module's description."""

    _congestion_recovery_start_time: float
    congestion_window: int
    _W_max: int

    def on_packets_lost(self, *, now: float, packets: Iterable[Any]) -> None:
        newest = 0.0
        for packet in packets:
            self.bytes_in_flight -= packet.sent_bytes
            newest = packet.sent_time
        if newest <= self._congestion_recovery_start_time:
            return
        self._congestion_recovery_start_time = now
        window = self.congestion_window
        if window < self._W_max:  # make room for others sooner
            self._W_max = int(window * (1 + _REDUCTION) / 2)
        else:
            self._W_max = window
        least = _LEAST_WINDOW * self._max_datagram_size
        self.ssthresh = self.congestion_window = max(int(window * _REDUCTION), least)
        self._starting_congestion_avoidance = True


register_congestion_control(CONGESTION_CONTROL, _Cubic)


class _Pacer(QuicPacketPacer):  # type: ignore[misc]
    """aioquic's, with bursts that a timer can hold apart."""

    bucket_max: float

    def update_rate(self, congestion_window: int, smoothed_rtt: float) -> None:
        super().update_rate(congestion_window, smoothed_rtt)
        self.bucket_max = max(self.bucket_max, min(_BURST_TIME, smoothed_rtt / 2))


class Recovery(QuicPacketRecovery):  # type: ignore[misc]
    """See the module's description."""

    def __init__(self, **arguments: Any) -> None:
        super().__init__(**arguments)
        self._pacer = _Pacer(max_datagram_size=arguments["max_datagram_size"])

    def _detect_loss(self, *, now: float, space: Any) -> None:
        trip = self._rtt_initial
        if self._rtt_initialized:
            trip = max(self._rtt_latest, self._rtt_smoothed)
        delay = _TIME_THRESHOLD * trip
        too_old = now - delay
        acked = space.largest_acked_packet
        space.loss_time = None
        lost = []
        for number, packet in space.sent_packets.items():
            if number > acked:
                break
            if number <= acked - _PACKET_THRESHOLD or packet.sent_time <= too_old:
                lost.append(packet)
            else:  # the oldest one is due first
                space.loss_time = packet.sent_time + delay
                break
        if lost:
            self._on_packets_lost(
                now=now,
                packets=lost,
                persistent_congestion=self._in_persistent_congestion(packets=lost),
                space=space,
            )
