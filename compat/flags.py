"""The flags, parsed as gost parses them.

One or two dashes; ``-x value`` or ``-x=value``; flags without a value need ``=`` to be given one;
parsing stops at the first word that is no flag, and at ``--``. A lone ``--`` between arguments
starts one worker process per part.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from compat.values import Duration, parse_bool, parse_duration
from gostpy.errors import ConfigError

__all__ = ["USAGE", "FlagError", "Flags", "parse_flags", "split_workers"]

USAGE = """\
Usage: gostpy [flags]

Services and chain:
  -L URL        listen; may be repeated.   SCHEME://[USER:PASS@][HOST]:PORT[/TARGET,...][?OPTIONS]
  -F URL        forward through; each one is a hop of the chain.
                                           SCHEME://[USER:PASS@]HOST:PORT[,HOST:PORT...][?OPTIONS]
                SCHEME is HANDLER+LISTENER or CONNECTOR+DIALER: http, socks5+tls, relay+wss ...

Configuration:
  -C FILE       YAML, JSON or TOML file, - for stdin, inline JSON or an http(s) URL;
                may be repeated. Without -L and -C: gost.yml in /etc/gost, ~/.gost or here.
  -O yaml|json  print the resulting configuration and exit
  -R DURATION   reload the configuration at this interval (10s, 1m30s)

Program:
  -api ADDR     web API:  [USER:PASS@]HOST:PORT[?pathPrefix=/p&accesslog=true]
  -metrics ADDR Prometheus metrics:  [USER:PASS@]HOST:PORT[?path=/p]
  -D, -DD       log level debug, trace
  -V            print the version and exit
  -h            print this text and exit

A lone -- between arguments starts one process per part.

Environment:
  GOST_LOGGER_LEVEL, GOST_API, GOST_METRICS, GOST_PROFILING
                log level (debug, info ...) and addresses, over those of files
  GOSTPY_COMPAT=strict
                gost's own behaviour where gostpy repairs it (docs/differences.md)

Examples:
  gostpy -L http://:8080
  gostpy -L socks5://user:pass@:1080 -F relay+tls://server:8443
  gostpy -L tcp://:8080/192.168.1.1:80
  gostpy -C gost.yml
"""


class FlagError(ConfigError):
    """The flags themselves are wrong; the program ends with status 2."""


@dataclass(slots=True, kw_only=True)
class Flags:
    """Values of the flags.

    Attributes:
        extra: arguments after the first word that is no flag; they are ignored.
    """

    services: list[str] = field(default_factory=list)
    nodes: list[str] = field(default_factory=list)
    configs: list[str] = field(default_factory=list)
    output: str = ""
    api: str = ""
    metrics: str = ""
    reload: Duration = Duration(0)
    debug: bool = False
    trace: bool = False
    version: bool = False
    help: bool = False
    extra: list[str] = field(default_factory=list)


_LISTS = {"L": "services", "F": "nodes", "C": "configs"}
_TEXTS = {"O": "output", "api": "api", "metrics": "metrics"}
_SWITCHES = {"D": "debug", "DD": "trace", "V": "version"}


def parse_flags(arguments: Sequence[str]) -> Flags:
    """Parse the arguments after the program name. Raises FlagError."""
    flags = Flags()
    rest = list(arguments)
    while rest:
        word = rest[0]
        if len(word) < 2 or word[0] != "-":
            break
        del rest[0]
        if word == "--":
            break
        name, equals, value = word.lstrip("-").partition("=")
        dashes = len(word) - len(word.lstrip("-"))
        if dashes > 2 or not name:
            raise FlagError(f"bad flag syntax: {word}")
        if name in ("h", "help"):
            flags.help = True
            return flags
        _set(flags, name, value if equals else None, rest)
    flags.extra = rest
    return flags


def _set(flags: Flags, name: str, value: str | None, rest: list[str]) -> None:
    if name in _SWITCHES:
        try:
            setattr(flags, _SWITCHES[name], True if value is None else parse_bool(value))
        except ValueError:
            raise FlagError(f"invalid value {value!r} for flag -{name}: true or false") from None
        return
    if name not in _LISTS and name not in _TEXTS and name != "R":
        raise FlagError(f"flag provided but not defined: -{name}")
    if value is None:
        if not rest:
            raise FlagError(f"flag needs an argument: -{name}")
        value = rest.pop(0)
    if name in _LISTS:
        getattr(flags, _LISTS[name]).append(value)
    elif name == "R":
        try:
            flags.reload = parse_duration(value)
        except ValueError as error:
            raise FlagError(f"invalid value {value!r} for flag -R: {error}") from None
    else:
        setattr(flags, _TEXTS[name], value)


def split_workers(arguments: Sequence[str], *, strict: bool = False) -> list[list[str]]:
    """The arguments of each worker; empty when there is no ``--`` between arguments.

    Args:
        strict: as gost, which joins all arguments with two blanks and splits them again, so that
            blanks inside arguments count too.
    """
    if strict:
        joined = "  ".join(arguments)
        if " -- " not in joined:
            return []
        return [part.strip().split("  ") for part in f" {joined} ".split(" -- ")]
    inner = [at for at, word in enumerate(arguments) if word == "--"]
    if not any(0 < at < len(arguments) - 1 for at in inner):
        return []
    parts: list[list[str]] = [[]]
    for word in arguments:
        if word == "--":
            parts.append([])
        else:
            parts[-1].append(word)
    return [part for part in parts if part]
