"""Keep-alive in the time of the test: when a peer is asked, and when it is given up."""

from types import SimpleNamespace

import pytest

from gostpy.net import keepalive
from gostpy.net.keepalive import KeepAlive


class Clock:
    """One deadline at a time."""

    def __init__(self):
        self.now = 0.0
        self.due = None

    def after(self, seconds, callback):
        self.due = due = (self.now + seconds, callback)

        def cancel():
            if self.due is due:
                self.due = None

        return SimpleNamespace(cancel=cancel)

    def turn(self):
        (self.now, callback), self.due = self.due, None
        callback()


class Peer:
    """Is asked, and given up."""

    def __init__(self):
        self.clock = Clock()
        self.asked = []
        self.lost = None
        self.heard_at = set()
        self.wanted = True

    def heard(self):
        return self.clock.now in self.heard_at

    def probe(self):
        if self.wanted:
            self.asked.append(self.clock.now)
        return self.wanted

    def fail(self, silence):
        self.lost = (self.clock.now, silence)

    def run(self, until=100.0):
        while self.clock.due is not None and self.clock.due[0] <= until:
            self.clock.turn()


@pytest.fixture
def peer(monkeypatch):
    made = Peer()
    monkeypatch.setattr(keepalive, "timers", made.clock)
    return made


CASES = [
    pytest.param({"limit": 20.0}, {10}, [10, 20], (30, 20), id="steady"),
    pytest.param({"limit": 15.0}, {10}, [10, 20], (30, 20), id="limit between two looks"),
    pytest.param({"limit": 20.0}, {20}, [10, 20, 30], (40, 20), id="silence begins anew"),
    pytest.param({}, set(), [10, 20, 30, 40, 50], None, id="without a limit"),
    pytest.param({"lazy": True}, {10, 30}, [20, 40, 50], None, id="only the silent are asked"),
    pytest.param({"answer": 3.0}, set(), [10], (13, 3), id="no answer"),
    pytest.param({"answer": 3.0}, {13, 26}, [10, 23, 36], (39, 3), id="heard in time"),
    pytest.param({"answer": 3.0, "retries": 2}, set(), [10, 23], (26, 3), id="retries"),
    pytest.param(
        {"answer": 3.0, "retries": 2}, {26}, [10, 23, 36, 49], (52, 3), id="retries begin anew"
    ),
    pytest.param({"answer": 3.0, "lazy": True}, {10}, [20], (23, 3), id="lazy, with an answer"),
]


@pytest.mark.parametrize(("options", "heard", "asked", "lost"), CASES)
def test_when(peer, options, heard, asked, lost):
    peer.heard_at = heard
    KeepAlive(10.0, peer.heard, peer.probe, peer.fail, **options)
    peer.run(59.0)
    assert (peer.asked, peer.lost) == (asked, lost)
    assert (peer.clock.due is None) == (lost is not None)


def test_an_answer_in_time_is_followed_by_a_whole_interval(peer):
    keep = KeepAlive(10.0, peer.heard, peer.probe, peer.fail, answer=3.0)
    peer.clock.turn()
    peer.clock.now = 11.0
    keep.answered(1)
    assert peer.clock.due[0] == 21.0
    keep.answered(1)  # twice means nothing
    assert peer.clock.due[0] == 21.0
    peer.run()
    assert (peer.asked, peer.lost) == ([10, 21], (24, 3))


def test_a_late_answer_does_not_count(peer):
    keep = KeepAlive(10.0, peer.heard, peer.probe, peer.fail, answer=3.0, retries=2)
    for _ in range(3):  # asked, missed, asked again
        peer.clock.turn()
    keep.answered(1)
    peer.run()
    assert peer.lost == (26, 3)


def test_who_need_not_be_asked_is_not_waited_for(peer):
    KeepAlive(10.0, peer.heard, peer.probe, peer.fail, answer=3.0)
    peer.wanted = False
    peer.run(49.0)
    assert peer.clock.due[0] == 50.0
    peer.wanted = True
    peer.run()
    assert (peer.asked, peer.lost) == ([50], (53, 3))


@pytest.mark.parametrize("when", ["before", "while it is asked", "waiting for an answer"])
def test_cancelled(peer, when):
    def probe():
        if when == "while it is asked":
            keep.cancel()

    keep = KeepAlive(10.0, peer.heard, probe, peer.fail, answer=3.0)
    if when != "before":
        peer.clock.turn()
    keep.cancel()
    keep.answered(1)
    assert peer.clock.due is None
    assert peer.lost is None
