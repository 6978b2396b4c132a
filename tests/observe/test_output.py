"""Outputs and rotation, on a fake clock and without threads."""

import gzip
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from gostpy.observe.output import FileOutput, RotatingFile, Rotation, open_output

MEGABYTE = 1024 * 1024
START = 1795389435.828


class Clock:
    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> float:
        return self.now


def rotating(path: Path, clock: Clock, **rotation: int) -> RotatingFile:
    options = Rotation(**{"max_size": 1, **rotation})  # type: ignore[arg-type]
    return RotatingFile(path, options, background=lambda work: work(), clock=clock)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("name", ["none", "null"])
def test_nothing(name: str) -> None:
    output = open_output(name)
    output.write(b"x")
    output.close()


@pytest.mark.parametrize(("name", "stream"), [("stdout", 0), ("stderr", 1), ("", 1)])
def test_streams(name: str, stream: int, capfd: pytest.CaptureFixture[str]) -> None:
    output = open_output(name)
    output.write(b"line\n")
    output.close()
    assert capfd.readouterr()[stream] == "line\n"
    assert not output.terminal


def test_file_is_appended_to(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "gost.log"
    for text in (b"one\n", b"two\n"):
        output = open_output(str(path))
        output.write(text)
        output.close()
    assert path.read_bytes() == b"one\ntwo\n"
    with pytest.raises(OSError, match="closed"):
        output.write(b"three")


def test_file_that_cannot_be_opened(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="directory"):
        open_output(str(tmp_path))


def test_rotation_by_size(tmp_path: Path) -> None:
    path, clock = tmp_path / "gost.log", Clock()
    output = rotating(path, clock)
    output.write(b"a" * MEGABYTE)
    assert names(tmp_path) == ["gost.log"]
    output.write(b"b")
    assert names(tmp_path) == ["gost-2026-11-22T23-17-15.828.log", "gost.log"]
    assert path.read_bytes() == b"b"
    assert path.stat().st_mode & 0o777 == 0o600
    output.close()


def test_a_full_file_is_rotated_after_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "gost.log"
    path.write_bytes(b"a" * MEGABYTE)
    path.chmod(0o640)
    output = rotating(path, Clock())
    output.write(b"b")
    assert path.read_bytes() == b"b"
    assert path.stat().st_mode & 0o777 == 0o640
    output.close()


def test_a_record_larger_than_the_file_is_written(tmp_path: Path) -> None:
    output = rotating(tmp_path / "gost", Clock())
    output.write(b"a" * 2 * MEGABYTE)
    output.write(b"b")
    assert names(tmp_path) == ["gost", "gost-2026-11-22T23-17-15.828"]
    output.close()


def test_two_rotations_in_one_moment_lose_nothing(tmp_path: Path) -> None:
    output = rotating(tmp_path / "gost.log", Clock())
    for text in (b"1", b"2", b"3"):
        output.write(text)
        output.rotate()
    contents = sorted(path.read_bytes() for path in tmp_path.iterdir())
    assert contents == [b"", b"1", b"2", b"3"]
    output.close()


def test_number_of_backups(tmp_path: Path) -> None:
    clock = Clock()
    (tmp_path / "gost-other.log").write_bytes(b"kept")
    output = rotating(tmp_path / "gost.log", clock, max_backups=2)
    for number in range(5):
        clock.now += 1
        output.write(str(number).encode())
        output.rotate()
    output.close()
    kept = [path.read_bytes() for path in sorted(tmp_path.glob("gost-2026*"))]
    assert kept == [b"3", b"4"]
    assert (tmp_path / "gost-other.log").exists()


def test_age_of_backups(tmp_path: Path) -> None:
    clock = Clock()
    output = rotating(tmp_path / "gost.log", clock, max_age=2)
    output.rotate()
    clock.now += 86400
    output.rotate()
    clock.now += 86400 * 1.5
    output.rotate()
    output.close()
    assert len(names(tmp_path)) == 3
    output = rotating(tmp_path / "gost.log", clock, max_age=2)
    clock.now += 86400 * 3
    output.close()
    rotating(tmp_path / "gost.log", clock, max_age=2).close()
    assert names(tmp_path) == ["gost.log"]


def test_compression(tmp_path: Path) -> None:
    clock = Clock()
    output = rotating(tmp_path / "gost.log", clock, compress=1, max_backups=1)
    for text in (b"one", b"two"):
        clock.now += 1
        output.write(text)
        output.rotate()
    output.close()
    (packed,) = tmp_path.glob("*.gz")
    assert packed.name == "gost-2026-11-22T23-17-17.828.log.gz"
    assert gzip.decompress(packed.read_bytes()) == b"two"
    assert packed.stat().st_mode & 0o777 == 0o600
    assert len(names(tmp_path)) == 2


def test_housekeeping_is_handed_over_once(tmp_path: Path) -> None:
    waiting: list[Callable[[], None]] = []
    output = RotatingFile(
        tmp_path / "gost.log", Rotation(max_backups=1), background=waiting.append, clock=Clock()
    )
    for _ in range(3):
        output.rotate()
    assert len(waiting) == 1
    waiting.pop()()
    output.rotate()
    assert len(waiting) == 1
    output.close()


def test_local_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import time

    monkeypatch.setenv("TZ", "XXX-02")
    time.tzset()
    output = rotating(tmp_path / "gost.log", Clock(), local_time=1)
    output.write(b"x")
    output.rotate()
    output.close()
    monkeypatch.undo()
    time.tzset()
    assert names(tmp_path) == ["gost-2026-11-23T01-17-15.828.log", "gost.log"]


def test_open_files_are_not_inherited(tmp_path: Path) -> None:
    output = FileOutput(tmp_path / "gost.log")
    assert not os.get_inheritable(output._number)
    output.close()


def test_housekeeping_runs_in_a_thread_by_default(tmp_path: Path) -> None:
    import gevent

    path = tmp_path / "gost.log"
    output = RotatingFile(path, Rotation(compress=True), clock=Clock())
    output.write(b"x")
    output.rotate()
    with gevent.Timeout(10):
        while not list(tmp_path.glob("*.gz")):
            gevent.get_hub().threadpool.join()
    output.close()
