"""Logs from their configuration: the default one and the named ones of services."""

from __future__ import annotations

from compat.build.world import World
from compat.schema import Config, LogConfig
from gostpy.errors import ConfigError
from gostpy.observe.log import Logger, Sink, combine, level_number
from gostpy.observe.output import Output, Rotation, open_output

__all__ = ["Outputs", "build_log", "build_loggers", "service_log"]


class Outputs:
    """What log lines are written to, opened once: a reload goes on in the same outputs.

    A file that was moved away meanwhile (logrotate) is opened anew by ``reopen``.
    """

    def __init__(self) -> None:
        self._made: dict[tuple[str, Rotation | None], Output] = {}

    def open(self, name: str, rotation: Rotation | None = None) -> Output:
        """Raises OSError."""
        key = name, rotation
        if key not in self._made:
            self._made[key] = open_output(name, rotation)
        return self._made[key]

    def reopen(self) -> None:
        """Raises OSError."""
        for output in self._made.values():
            output.reopen()


def build_log(config: LogConfig | None, outputs: Outputs, where: str = "log") -> Logger:
    """The log of a ``log`` section. Raises ConfigError: its file cannot be opened."""
    if config is None:
        return Logger(Sink(outputs.open("").write))
    rotation = None
    if config.rotation is not None:
        set_aside = config.rotation
        rotation = Rotation(
            max_size=set_aside.max_size,
            max_age=set_aside.max_age,
            max_backups=set_aside.max_backups,
            local_time=set_aside.local_time,
            compress=set_aside.compress,
        )
    try:
        output = outputs.open(config.output, rotation)
    except OSError as error:
        message = f"cannot open {config.output}: {error.strerror}"
        raise ConfigError(message, f"{where}.output") from error
    level = config.level if level_number(config.level) is not None else "info"
    color = config.format == "text" and output.terminal
    return Logger(Sink(output.write, level, config.format or "json", color=color))


def build_loggers(world: World, config: Config, outputs: Outputs) -> None:
    """Fill the runtime with named loggers."""
    for index, item in enumerate(config.loggers or ()):
        if item is not None and item.name:
            where = f"loggers[{index}]"
            made = build_log(item.log, outputs, f"{where}.log")
            world.runtime.add("logger", item.name, made, where)


def service_log(world: World, names: list[str], where: str) -> Logger | None:
    """The loggers that a service names, together; None: the default one."""
    found = []
    for name in names:
        world.refer("logger", name, f"{where}.logger")
        logger = world.runtime.get("logger", name)
        if logger is not None:
            found.append(logger)
    return combine(*found) if found else None
