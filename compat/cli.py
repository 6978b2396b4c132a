"""The command ``gostpy``: reads the command line, prints or runs.

Exit status as gost's: 0, 1 when the start fails, 2 for a bad flag.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from compat.flags import USAGE, FlagError, parse_flags
from gostpy import __version__
from gostpy.errors import ConfigError, GostError

if TYPE_CHECKING:
    from compat.settings import Settings

__all__ = ["main"]


def main(
    arguments: Sequence[str] | None = None,
    environment: Mapping[str, str] | None = None,
    stdin: Callable[[], bytes] | None = None,
) -> int:
    """Run the command and return its exit status.

    Args:
        arguments: without the program name; those of the process when None.
        environment: that of the process when None.
        stdin: returns all of the standard input.
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    environment = os.environ if environment is None else environment
    try:
        return _main(arguments, environment, stdin)
    except FlagError as error:
        _say(f"gostpy: {error} (gostpy -h lists the flags)")
        return 2
    except GostError as error:
        for one in getattr(error, "all", [error]):
            _say(f"gostpy: {one}")
        return 1
    except BrokenPipeError:
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115 - nothing more can be said
        return 1


def _main(
    arguments: Sequence[str],
    environment: Mapping[str, str],
    stdin: Callable[[], bytes] | None,
) -> int:
    from compat.flags import split_workers

    strict = environment.get("GOSTPY_COMPAT", "") == "strict"
    workers = split_workers(arguments, strict=strict)
    if workers:
        from compat.run import run_workers

        return int(run_workers(workers))
    flags = parse_flags(arguments)
    if flags.help:
        _say(USAGE.rstrip())
        return 0
    if flags.version:
        version = ".".join(map(str, sys.version_info[:3]))
        print(f"gostpy {__version__} (Python {version} {_platform()})")
        return 0
    return _load_and_run(arguments, environment, stdin)


def _load_and_run(
    arguments: Sequence[str],
    environment: Mapping[str, str],
    stdin: Callable[[], bytes] | None,
) -> int:
    from compat.settings import load_settings

    if stdin is None:
        settings = load_settings(arguments, environment)
    else:
        settings = load_settings(arguments, environment, stdin)
    if not settings.strict:
        for warning in settings.warnings:
            _say(f"gostpy: warning: {warning}")
    if settings.flags.output:
        return _print(settings)
    from compat.run import run

    return int(run(settings))


def _print(settings: Settings) -> int:
    """``-O``. A number that JSON cannot write ends it; gost then prints nothing, with status 0."""
    from compat.dump import dump

    try:
        text = dump(settings.config, settings.flags.output)
    except ValueError as error:
        if settings.strict:
            return 0
        raise ConfigError(str(error)) from None
    raw = getattr(sys.stdout, "buffer", None)
    if raw is None:
        sys.stdout.write(text)
    else:  # UTF-8 whatever the locale is
        raw.write(text.encode("utf-8", "surrogateescape"))
        raw.flush()
    return 0


def _platform() -> str:
    import platform

    machine = platform.machine().lower()
    names = {"x86_64": "amd64", "aarch64": "arm64", "i686": "386", "armv7l": "arm"}
    return f"{sys.platform}/{names.get(machine, machine)}"


def _say(text: str) -> None:
    print(text, file=sys.stderr)
