"""The packet conn of a device, without a device; tests/netns has real ones."""

from __future__ import annotations

import gevent
import pytest

from gostpy.errors import ConnectionClosed
from gostpy.net.device import DeviceSettings, open_device
from tests.processing.playeddevice import PlayedDevice


class Sink:
    def __init__(self) -> None:
        self.found: list[bytes] = []
        self.over: list[BaseException | None] = []

    def datagram(self, data: bytes, address: str) -> None:
        self.found.append(data)

    def ended(self, error: BaseException | None) -> None:
        self.over.append(error)

    def wait(self, count: int) -> list[bytes]:
        with gevent.Timeout(10):
            while len(self.found) < count:
                gevent.sleep(0.001)
        return self.found


class Meter:
    """Lets packets of 100 bytes through, and waits after each."""

    def __init__(self, delay: float = 0.0) -> None:
        self.delay = delay
        self.counts = [0, 0]

    def admits(self, size: int, outgoing: bool) -> bool:
        return size <= 100

    def received(self, size: int) -> float:
        self.counts[0] += size
        return self.delay

    def sent(self, size: int) -> float:
        self.counts[1] += size
        return self.delay


@pytest.mark.parametrize("tap", [False, True])
def test_bursts_and_pause(tap: bool) -> None:
    device, sink = PlayedDevice(tap=tap), Sink()
    for number in range(100):
        device.says(b"%d" % number)
    device.conn.start(sink)
    assert sink.wait(100) == [b"%d" % number for number in range(100)]
    device.conn.pause()
    device.says(b"held")
    gevent.sleep(0.01)
    assert len(sink.found) == 100
    device.conn.resume()
    assert sink.wait(101)[-1] == b"held"
    device.conn.send_now(b"out")
    assert device.hears() == b"out"
    device.conn.close()
    assert sink.over == [None]
    with pytest.raises(ConnectionClosed):
        device.conn.send_now(b"late")


def test_in_a_green_thread() -> None:
    device = PlayedDevice()
    device.says(b"one")
    device.says(b"two")
    assert [device.conn.recv_from()[0] for _ in range(2)] == [b"one", b"two"]
    device.conn.settimeout(0.01)
    with pytest.raises(TimeoutError):
        device.conn.recv_from()
    device.conn.settimeout(None)
    waiting = gevent.spawn(device.conn.recv_from)
    gevent.sleep(0)
    device.conn.close()
    with pytest.raises(ConnectionClosed):
        waiting.get(timeout=5)


def test_meter() -> None:
    device, sink = PlayedDevice(), Sink()
    meter = device.conn.meter = Meter()
    device.conn.start(sink)
    device.says(bytes(101))  # larger than a burst: it could never pass
    device.says(bytes(60))
    assert sink.wait(1) == [bytes(60)]
    assert device.conn.send_now(bytes(101)) == 0.0
    device.conn.send_now(bytes(50))
    assert device.hears() == bytes(50)
    assert meter.counts == [60, 50]


def test_rate() -> None:
    device, sink = PlayedDevice(), Sink()
    device.conn.meter = Meter(0.02)
    for _ in range(5):
        device.says(bytes(10))
    device.conn.start(sink)
    started = gevent.get_hub().loop.now()
    sink.wait(5)
    gevent.get_hub().loop.update_now()
    assert gevent.get_hub().loop.now() - started >= 0.07
    assert device.conn.send_now(bytes(10)) == 0.02


def test_a_sink_that_fails_ends_the_device() -> None:
    class Broken(Sink):
        def datagram(self, data: bytes, address: str) -> None:
            raise RuntimeError("bug")

    device, sink = PlayedDevice(), Broken()
    device.conn.start(sink)
    device.says(b"x")
    with gevent.Timeout(10):
        while not sink.over:
            gevent.sleep(0.001)
    assert device.conn.closed and isinstance(sink.over[0], RuntimeError)


def test_a_device_that_is_gone() -> None:
    device, sink = PlayedDevice(), Sink()
    device.conn.start(sink)
    device.kernel.close()
    device.conn.send_now(b"x")  # a packet that is not taken is lost
    assert device.conn.lost == 1


def test_names_are_short() -> None:
    with pytest.raises(OSError, match="too long"):
        open_device(DeviceSettings(name="a-name-of-16-byt"))
