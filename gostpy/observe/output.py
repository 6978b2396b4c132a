"""Where log lines and file records go: nowhere, a standard stream, a file, a rotated file.

A rotated file that would grow beyond its size is renamed to ``NAME-2006-01-02T15-04-05.000.EXT``
and a new one begun. Old ones are removed by number and age and compressed by a thread, so that
writing never waits for it. Names and rules are those of lumberjack, which gost uses.
"""

from __future__ import annotations

import contextlib
import datetime
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

__all__ = ["FileOutput", "Output", "RotatingFile", "Rotation", "open_output"]

_MEGABYTE = 1024 * 1024
_DAY = 86400.0
_STAMP = "%Y-%m-%dT%H-%M-%S"


@dataclass(frozen=True, slots=True)
class Rotation:
    """When to begin a new file and what to keep.

    Attributes:
        max_size: megabytes; 0 means 100.
        max_age: days after which old files are removed; 0 keeps them.
        max_backups: number of old files kept; 0 keeps all.
        local_time: names of old files carry local time instead of UTC.
        compress: old files are compressed with gzip.
    """

    max_size: int = 0
    max_age: int = 0
    max_backups: int = 0
    local_time: bool = False
    compress: bool = False


class Output(Protocol):
    """Takes whole lines or records. ``terminal``: lines may be coloured."""

    terminal: bool

    def write(self, data: bytes) -> None:
        """Raises OSError."""
        ...

    def reopen(self) -> None:
        """Go on in a file of the same name if this one was moved away. Raises OSError."""
        ...

    def close(self) -> None: ...


class _Nothing:
    terminal = False

    def write(self, data: bytes) -> None:
        pass

    def reopen(self) -> None:
        pass

    def close(self) -> None:
        pass


class _Descriptor:
    """A standard stream, written without a buffer and never closed."""

    def __init__(self, number: int) -> None:
        self._number = number
        self.terminal = os.isatty(number)

    def write(self, data: bytes) -> None:
        _write_all(self._number, data)

    def reopen(self) -> None:
        pass

    def close(self) -> None:
        pass


class FileOutput:
    """A file in append mode; its folders are made. Raises OSError when it cannot be opened."""

    terminal = False

    def __init__(self, path: str | Path, mode: int = 0o666) -> None:
        self._path = Path(path)
        self._mode = mode
        self._number = self._open()
        self.size = os.fstat(self._number).st_size

    def _open(self) -> int:
        self._path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
        return os.open(self._path, flags, self._mode)

    def reopen(self) -> None:
        number = self._open()
        os.dup2(number, self._number, inheritable=False)
        os.close(number)
        self.size = os.fstat(self._number).st_size

    def write(self, data: bytes) -> None:
        if self._number < 0:
            raise OSError("the log file is closed")
        _write_all(self._number, data)
        self.size += len(data)

    def close(self) -> None:
        if self._number >= 0:
            os.close(self._number)
            self._number = -1


class RotatingFile:
    """A file that is renamed when it is full. New files are readable by the owner only.

    Args:
        background: runs the housekeeping; by default in a thread of gevent's pool.
        clock: seconds since 1970.
    """

    terminal = False

    def __init__(
        self,
        path: str | Path,
        rotation: Rotation,
        *,
        background: Callable[[Callable[[], None]], object] | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._path = Path(path)
        self._rotation = rotation
        self._background = background or _in_thread
        self._clock = clock
        self._busy = False
        self._most = (rotation.max_size or 100) * _MEGABYTE
        self._file = FileOutput(self._path, 0o600)
        self._tidy()

    def write(self, data: bytes) -> None:
        if self._file.size and self._file.size + len(data) > self._most:
            self.rotate()
        self._file.write(data)

    def reopen(self) -> None:
        self._file.reopen()

    def close(self) -> None:
        self._file.close()

    def rotate(self) -> None:
        """Begin a new file now."""
        self._file.close()
        mode = 0o600
        with contextlib.suppress(FileNotFoundError):
            mode = self._path.stat().st_mode & 0o777
            self._path.rename(self._backup_path())
        self._file = FileOutput(self._path, mode)
        self._tidy()

    def _backup_path(self) -> Path:
        moment = self._clock()
        while True:
            path = self._path.with_name(
                f"{self._path.stem}-{self._stamp(moment)}{self._path.suffix}"
            )
            if not path.exists() and not path.with_name(path.name + ".gz").exists():
                return path
            moment += 0.001

    def _stamp(self, moment: float) -> str:
        zone = None if self._rotation.local_time else datetime.UTC
        date = datetime.datetime.fromtimestamp(moment, zone)
        return f"{date.strftime(_STAMP)}.{date.microsecond // 1000:03d}"

    def _tidy(self) -> None:
        rotation = self._rotation
        if not (rotation.max_age or rotation.max_backups or rotation.compress) or self._busy:
            return
        self._busy = True
        self._background(self._tidy_now)

    def _tidy_now(self) -> None:
        """Remove and compress. Errors are left for the next time: there is no place to log them."""
        try:
            for path in self._outdated():
                with contextlib.suppress(OSError):
                    path.unlink()
            if self._rotation.compress:
                for _, path in self._backups():
                    if path.suffix != ".gz":
                        with contextlib.suppress(OSError):
                            _compress(path)
        finally:
            self._busy = False

    def _backups(self) -> list[tuple[float, Path]]:
        """Old files with their times, newest first."""
        found = []
        for path in self._path.parent.iterdir():
            name = path.name.removesuffix(".gz")
            stamp = name.removeprefix(f"{self._path.stem}-").removesuffix(self._path.suffix)
            if name != f"{self._path.stem}-{stamp}{self._path.suffix}":
                continue
            with contextlib.suppress(ValueError):
                date = datetime.datetime.strptime(stamp, f"{_STAMP}.%f")
                if not self._rotation.local_time:
                    date = date.replace(tzinfo=datetime.UTC)
                found.append((date.timestamp(), path))
        return sorted(found, reverse=True)

    def _outdated(self) -> list[Path]:
        backups = self._backups()
        outdated = []
        if self._rotation.max_backups > 0:
            kept = list(dict.fromkeys(moment for moment, _ in backups))
            kept = kept[: self._rotation.max_backups]
            outdated = [path for moment, path in backups if moment not in kept]
        if self._rotation.max_age > 0:
            oldest = self._clock() - self._rotation.max_age * _DAY
            outdated += [path for moment, path in backups if moment < oldest]
        return outdated


def open_output(name: str, rotation: Rotation | None = None) -> Output:
    """The output behind a configured name: ``none``, ``stdout``, ``stderr`` (or empty), a path.

    Raises OSError: the file cannot be opened (gost warns and writes to standard error).
    """
    if name in ("none", "null"):
        return _Nothing()
    if name == "stdout":
        return _Descriptor(1)
    if name in ("stderr", ""):
        return _Descriptor(2)
    return FileOutput(name) if rotation is None else RotatingFile(name, rotation)


def _write_all(number: int, data: bytes) -> None:
    while data:
        data = data[os.write(number, data) :]


def _compress(path: Path) -> None:
    """Replace a file by its compressed form; an unfinished one is never taken for it."""
    import gzip
    import shutil

    target = path.with_name(path.name + ".gz")
    unfinished = path.with_name(path.name + ".gz.tmp")
    descriptor = os.open(
        unfinished,
        os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC,
        path.stat().st_mode & 0o777,
    )
    with (
        os.fdopen(descriptor, "wb") as raw,
        path.open("rb") as source,
        gzip.GzipFile(filename=path.name, fileobj=raw, mode="wb") as packed,
    ):
        shutil.copyfileobj(source, packed, _MEGABYTE)
    unfinished.rename(target)
    path.unlink()


def _in_thread(work: Callable[[], None]) -> object:
    from gevent import get_hub  # only when a file is rotated: importing gostpy costs nothing

    return get_hub().threadpool.spawn(work)
