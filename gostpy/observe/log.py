"""Loggers: bound fields, levels, and sinks that write lines as gost does (see formats.py).

A logger carries fields; ``bind`` makes another one with more of them. Ask ``log.debug_on`` before
building an expensive message. Values of fields named like a secret are masked, and so are the
secrets of addresses in messages and values.

    log = Logger(Sink(open_output("stderr").write, level="info"))
    log = log.bind(kind="service", service="service-0", listener="tcp", handler="http")
    log.info("listening on [::]:8080/tcp")
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from gostpy.observe.formats import Duration, json_line, text_line
from gostpy.observe.redact import MASK, SECRET_FIELDS, redact

__all__ = ["LEVELS", "Duration", "Logger", "Sink", "combine", "level_number", "silent"]

LEVELS = ("trace", "debug", "info", "warn", "error", "fatal")
"""Configured names, from the most to the least talkative."""

_TRACE, _DEBUG, _INFO, _WARN, _ERROR, _FATAL, _NEVER = range(7)
_SHOWN = ("trace", "debug", "info", "warning", "error", "fatal")


def level_number(name: str) -> int | None:
    """Position of a configured level; None when gost would silently take ``info``."""
    if name == "warning":
        return _WARN
    return LEVELS.index(name) if name in LEVELS else None


class Sink:
    """Where lines go: one output with its level and format.

    Args:
        write: takes an encoded line with its newline; an OSError loses the line, see ``lost``.
        level: least level that is written; unknown names mean ``info``.
        format: ``text``, or anything else for JSON.
        name: of a named logger, written as the field ``logger``.
        color: text lines are for a terminal.
        clock: seconds since 1970.
    """

    def __init__(
        self,
        write: Callable[[bytes], object],
        level: str = "info",
        format: str = "json",
        *,
        name: str = "",
        color: bool = False,
        clock: Callable[[], float] = time.time,
    ) -> None:
        number = level_number(level)
        self.level = _INFO if number is None else number
        self.name = name
        self.lost = 0
        self._write = write
        self._text = format == "text"
        self._color = color
        self._clock = clock

    def emit(self, level: int, message: str, fields: Mapping[str, Any], caller: str) -> None:
        """Write one line; never fails."""
        if self.name or self.level <= _DEBUG:
            fields = dict(fields)
            if self.name:
                fields["logger"] = self.name
            if self.level <= _DEBUG:
                fields["caller"] = caller
        shown = _SHOWN[level]
        try:
            if self._text:
                line = text_line(self._clock(), shown, message, fields, color=self._color)
            else:
                line = json_line(self._clock(), shown, message, fields)
            self._write(f"{line}\n".encode(errors="replace"))
        except (OSError, TypeError, ValueError):
            self.lost += 1  # a full disk or an odd value must not end connections


class Logger:
    """Fields and sinks. Immutable; ``trace_on``, ``debug_on`` and ``info_on`` tell what is written.

    Args:
        sinks: outputs; none means silence.
        fields: bound to every line.
    """

    __slots__ = ("_fields", "_level", "_sinks", "debug_on", "info_on", "trace_on")

    def __init__(self, *sinks: Sink, fields: Mapping[str, Any] | None = None) -> None:
        self._sinks = sinks
        self._fields: dict[str, Any] = _safe(fields or {})
        self._level = min((sink.level for sink in sinks), default=_NEVER)
        self.trace_on: bool = self._level <= _TRACE
        self.debug_on: bool = self._level <= _DEBUG
        self.info_on: bool = self._level <= _INFO

    @property
    def fields(self) -> Mapping[str, Any]:
        return self._fields

    @property
    def sinks(self) -> Sequence[Sink]:
        return self._sinks

    def bind(self, **fields: Any) -> Logger:
        """A logger with more fields; the same names are replaced."""
        new = object.__new__(Logger)
        new._sinks = self._sinks
        new._fields = {**self._fields, **_safe(fields)}
        new._level = self._level
        new.trace_on = self.trace_on
        new.debug_on = self.debug_on
        new.info_on = self.info_on
        return new

    def trace(self, message: str, **fields: Any) -> None:
        if self._level <= _TRACE:
            self._log(_TRACE, message, fields)

    def debug(self, message: str, **fields: Any) -> None:
        if self._level <= _DEBUG:
            self._log(_DEBUG, message, fields)

    def info(self, message: str, **fields: Any) -> None:
        if self._level <= _INFO:
            self._log(_INFO, message, fields)

    def warn(self, message: str, **fields: Any) -> None:
        if self._level <= _WARN:
            self._log(_WARN, message, fields)

    def error(self, message: str, **fields: Any) -> None:
        if self._level <= _ERROR:
            self._log(_ERROR, message, fields)

    def fatal(self, message: str, **fields: Any) -> None:
        """The last line before the process ends; ending it is the caller's business."""
        if self._level <= _FATAL:
            self._log(_FATAL, message, fields)

    def _log(self, level: int, message: str, fields: dict[str, Any]) -> None:
        bound = {**self._fields, **_safe(fields)} if fields else self._fields
        message = redact(message)
        caller = _caller() if self._level <= _DEBUG else ""
        for sink in self._sinks:
            if level >= sink.level:
                sink.emit(level, message, bound, caller)


def combine(*loggers: Logger) -> Logger:
    """A logger that writes to the sinks of all, with the fields of all (later ones win)."""
    sinks = dict.fromkeys(sink for logger in loggers for sink in logger.sinks)
    fields: dict[str, Any] = {}
    for logger in loggers:
        fields.update(logger.fields)
    return Logger(*sinks, fields=fields)


def silent() -> Logger:
    """A logger that writes nothing."""
    return Logger()


def _safe(fields: Mapping[str, Any]) -> dict[str, Any]:
    """The fields without secrets."""
    safe = dict(fields)
    for key, value in fields.items():
        if key.lower() in SECRET_FIELDS:
            safe[key] = MASK if value else ""
        elif isinstance(value, str) and ("@" in value or "=" in value or "://" in value):
            safe[key] = redact(value)
    return safe


def _caller() -> str:
    """``FOLDER/FILE:LINE`` of whoever called the logger's method."""
    frame = sys._getframe(3)
    parts = frame.f_code.co_filename.replace("\\", "/").rsplit("/", 2)
    return f"{'/'.join(parts[-2:])}:{frame.f_lineno}"
