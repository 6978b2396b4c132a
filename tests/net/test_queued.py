"""Packet conns with a queue: who gets a datagram, when one is held back, and what is lost."""

import gevent
import pytest

from gostpy.errors import ConnectionClosed
from gostpy.net.queued import CallbackPackets, QueuedPackets


class Sink:
    def __init__(self):
        self.found = []
        self.over = []

    def datagram(self, data, address):
        self.found.append((data, address))

    def ended(self, error):
        self.over.append(error)


class Meter:
    """Holds for ``delay`` seconds after each datagram; drops what is larger than 10 bytes."""

    def __init__(self, delay=0.0):
        self.delay = delay

    def admits(self, size, outgoing):
        return size <= 10

    def received(self, size):
        return self.delay

    sent = received


class Source(CallbackPackets):
    """Hands over what ``come`` says."""

    def start(self, sink):
        self.sink = sink

    def come(self, data):
        if self.meter is None or self._received(len(data)):
            self.sink.datagram(data, "peer:1")


def numbered(count):
    return [(b"%d" % number, "peer:1") for number in range(count)]


def test_a_sink_gets_what_waited_and_what_comes():
    packets, sink = QueuedPackets(), Sink()
    for datagram in numbered(2):
        packets.deliver(*datagram)
    packets.start(sink)
    assert sink.found == numbered(2)
    packets.deliver(b"2", "peer:1")
    assert sink.found == numbered(3)


def test_a_paused_one_keeps_its_datagrams():
    packets, sink = QueuedPackets(), Sink()
    packets.start(sink)
    packets.pause()
    for datagram in numbered(3):
        packets.deliver(*datagram)
    assert not sink.found
    packets.resume()
    assert sink.found == numbered(3)


def test_a_sink_that_pauses_gets_no_more():
    packets, sink = QueuedPackets(), Sink()
    for datagram in numbered(3):
        packets.deliver(*datagram)
    sink.datagram = lambda *found: (sink.found.append(found), packets.pause())
    packets.start(sink)
    assert sink.found == numbered(1)
    packets.resume()
    assert sink.found == numbered(2)


def test_more_than_fit_are_lost():
    packets, sink = QueuedPackets(), Sink()
    for datagram in numbered(packets.most_waiting + 5):
        packets.deliver(*datagram)
    packets.start(sink)
    assert sink.found == numbered(packets.most_waiting)


def test_a_meter_holds_what_comes_after_a_datagram():
    packets, sink = QueuedPackets(), Sink()
    packets.meter = Meter(0.01)
    packets.start(sink)
    for datagram in [*numbered(2), (b"larger than a burst", "peer:1")]:
        packets.deliver(*datagram)
    assert sink.found == numbered(1)
    with gevent.Timeout(5):
        while len(sink.found) < 2:
            gevent.sleep(0.001)
    assert sink.found == numbered(2)


def test_two_reasons_hold_until_both_are_gone():
    packets, sink = QueuedPackets(), Sink()
    packets.meter = Meter(0.01)
    packets.start(sink)
    for datagram in numbered(2):
        packets.deliver(*datagram)
    packets.pause()
    gevent.sleep(0.05)
    assert sink.found == numbered(1)
    packets.resume()
    assert sink.found == numbered(2)


@pytest.mark.parametrize("delay", [0.0, 0.01], ids=["free", "metered"])
@pytest.mark.parametrize("kind", [QueuedPackets, Source])
def test_a_green_thread_waits(kind, delay):
    packets = kind()
    packets.meter = Meter(delay)
    packets.settimeout(5)
    reading = gevent.spawn(lambda: [packets.recv_from() for _ in range(3)])
    gevent.sleep(0)
    for datagram in numbered(3):
        if kind is Source:
            packets.come(datagram[0])
        else:
            packets.deliver(*datagram)
    assert reading.get(timeout=5) == numbered(3)


@pytest.mark.parametrize("kind", [QueuedPackets, Source])
def test_ends_of_waiting(kind):
    packets = kind()
    packets.settimeout(0.01)
    with pytest.raises(TimeoutError):
        gevent.spawn(packets.recv_from).get(timeout=5)
    packets.settimeout(None)
    reading = gevent.spawn(packets.recv_from)
    gevent.sleep(0)
    packets.close()
    with pytest.raises(ConnectionClosed):
        reading.get(timeout=5)
    with pytest.raises(ConnectionClosed):
        packets.recv_from()
