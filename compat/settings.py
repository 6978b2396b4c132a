"""The whole command line -> Settings: configuration files, flags and environment merged.

Order, later wins: files in the order of -C, objects of -L and -F appended, environment, -D and
-DD, -api, -metrics.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache

from compat.cmd import CommandConfig, build
from compat.cmd_node import normal_url
from compat.cmd_params import Params
from compat.decode import Path
from compat.flags import Flags, parse_flags
from compat.load import decode_document
from compat.positions import Places, path_text
from compat.schema import APIConfig, AuthConfig, Config, LogConfig, MetricsConfig, ProfilingConfig
from compat.schema.fields import fields_of
from compat.sources import find_default, read
from compat.url import URL
from compat.values import Duration
from compat.warning import ConfigWarning
from gostpy.errors import ConfigError, Position

__all__ = ["Settings", "is_strict", "load_settings", "merge"]


@dataclass(slots=True, kw_only=True)
class Settings:
    """Everything a start needs.

    Attributes:
        config: the merged configuration.
        flags: the command line; its -L, -F, -C are already part of ``config``.
        reload: period of reloading, 0 for never.
        strict: ``GOSTPY_COMPAT=strict``, gost's own behaviour.
        worker: number of this worker, empty outside worker mode.
        warnings: remarks, each with its position.
        places: where each part of ``config`` came from.
        files: configuration files that were read, in order.
        arguments: the command line that all this came from; a reload reads it again.
        stdin: gives the standard input, which can be read only once, as often as it is asked for.
    """

    config: Config
    flags: Flags
    reload: Duration = Duration(0)
    strict: bool = False
    worker: str = ""
    warnings: list[ConfigWarning] = field(default_factory=list)
    places: Places = field(default_factory=Places)
    files: list[str] = field(default_factory=list)
    arguments: tuple[str, ...] = ()
    stdin: Callable[[], bytes] = field(default=bytes, repr=False)

    @property
    def log_level(self) -> str:
        """``trace debug info warn error fatal``."""
        return (self.config.log and self.config.log.level) or "info"

    def position(self, path: Path, *, key: bool = False) -> Position | None:
        """Where a value of ``config`` (or its key) stands; None when it was never written."""
        return self.places.position(path, key=key)

    def error(self, message: str, path: Path) -> ConfigError:
        """A ConfigError about the value at ``path``, for later stages to raise."""
        return ConfigError(message, path_text(path), self.position(path))

    def warn(self, message: str, path: Path, *, key: bool = False) -> None:
        """Add a remark about the value (or the key) at ``path``."""
        place = self.position(path, key=key)
        self.warnings.append(ConfigWarning(message, path_text(path), place))


def is_strict(environment: Mapping[str, str]) -> bool:
    """Whether gost's own behaviour is asked for."""
    return environment.get("GOSTPY_COMPAT", "") == "strict"


@cache
def _read_stdin() -> bytes:
    """All of the standard input; a reload gets what the start read."""
    return sys.stdin.buffer.read()


def load_settings(
    arguments: Sequence[str],
    environment: Mapping[str, str],
    stdin: Callable[[], bytes] = _read_stdin,
) -> Settings:
    """Read everything that the arguments and the environment name.

    Args:
        arguments: without the program name.
        stdin: returns all of the standard input; called only for ``-C -``.

    Raises:
        FlagError: a flag is wrong.
        ConfigError: anything else is wrong.
    """
    flags = parse_flags(arguments)
    settings = Settings(config=Config(), flags=flags, reload=flags.reload)
    settings.arguments = tuple(arguments)
    stdin = settings.stdin = functools.cache(stdin)
    settings.strict = is_strict(environment)
    settings.worker = environment.get("_GOST_ID", "")
    if flags.extra:
        message = f"{flags.extra[0]!r} is no flag; it and everything after it is ignored"
        settings.warnings.append(ConfigWarning(message))
    _add_files(settings, stdin)
    made = build(flags.services, flags.nodes, strict=settings.strict, worker=settings.worker)
    _add_command(settings, made)
    config = settings.config
    if not config.services and not flags.api and config.api is None and _search(settings):
        _add_file(settings, _default(flags, environment), stdin)
    _apply_environment(settings, environment)
    _apply_flags(settings.config, flags, settings.strict)
    return settings


def _search(settings: Settings) -> bool:
    """Whether to look for gost.yml: 3.2.6 does even after a -C that has no services.

    It then reads a -C file again, which changes nothing, but searches after stdin and inline text.
    """
    given = [name.strip() for name in settings.flags.configs if name.strip()]
    if not given or not settings.strict:
        return not given
    return given[-1] == "-" or given[-1].startswith("{")


def _default(flags: Flags, environment: Mapping[str, str]) -> str:
    """The file to read when nothing else is given. Raises ConfigError."""
    try:
        return find_default(environment)
    except ConfigError:
        if not flags.extra:
            raise
        word = flags.extra[0]
        message = f"{word!r} is no flag; to listen there write -L {word} (gostpy -h tells more)"
        raise ConfigError(message) from None


def _add_files(settings: Settings, stdin: Callable[[], bytes]) -> None:
    names = [name.strip() for name in settings.flags.configs if name.strip()]
    if settings.strict:
        names = [name.strip() for name in settings.flags.configs[-1:] if name.strip()]
    for name in names:
        _add_file(settings, name, stdin)


def _add_file(settings: Settings, name: str, stdin: Callable[[], bytes]) -> None:
    document = read(name, stdin, strict=settings.strict)
    config, warnings = decode_document(document)
    _note_document(settings, document, config)
    settings.warnings += warnings
    settings.config = merge(settings.config, config)
    if document.path:
        settings.files.append(document.path)


def _note_document(settings: Settings, document: object, config: Config) -> None:
    from compat.sources import Document

    assert isinstance(document, Document)
    settings.places.add_document(document, _lengths(settings.config), config)


def _lengths(config: Config) -> dict[str, int]:
    """Length of each list of a configuration, by key."""
    return {
        declared.key: len(getattr(config, declared.name) or ())
        for declared in fields_of(Config)
        if declared.kind == "many"
    }


def _add_command(settings: Settings, made: CommandConfig) -> None:
    start = _lengths(settings.config)
    for path, label in made.origins.items():
        key, index = path[0], path[1]
        assert isinstance(key, str)
        assert isinstance(index, int)
        settings.places.add_argument((key, start[key] + index, *path[2:]), label)
    settings.warnings += made.warnings
    settings.config = merge(settings.config, made.config)


def merge(first: Config, second: Config) -> Config:
    """Lists are appended, sections of the second replace those of the first."""
    merged = Config()
    for declared in fields_of(Config):
        one, two = getattr(first, declared.name), getattr(second, declared.name)
        if declared.kind == "many":
            value = [*(one or ()), *(two or ())] if one is not None or two is not None else None
        else:
            value = one if two is None else two
        setattr(merged, declared.name, value)
    return merged


def _apply_environment(settings: Settings, environment: Mapping[str, str]) -> None:
    """Levels and addresses from the environment; 3.2.6 drops the rest of the section, 3.3 not."""
    config = settings.config
    fresh = settings.strict
    if level := environment.get("GOST_LOGGER_LEVEL"):
        config.log = LogConfig() if fresh or config.log is None else config.log
        config.log.level = level
    if address := environment.get("GOST_API"):
        config.api = APIConfig() if fresh or config.api is None else config.api
        config.api.addr = address
    if address := environment.get("GOST_METRICS"):
        config.metrics = MetricsConfig() if fresh or config.metrics is None else config.metrics
        config.metrics.addr = address
    if address := environment.get("GOST_PROFILING"):
        config.profiling = ProfilingConfig(addr=address)


def _apply_flags(config: Config, flags: Flags, strict: bool) -> None:
    if flags.debug or flags.trace:
        config.log = config.log or LogConfig()
        config.log.level = "trace" if flags.trace else "debug"
    if flags.api:
        url = _address(flags.api, strict)
        config.api = APIConfig(addr=flags.api)
        if url is not None:
            params = Params(dict(url.query))
            config.api = APIConfig(
                addr=url.host,
                auth=_auth(url),
                path_prefix=params.text("pathPrefix"),
                accesslog=params.truth("accesslog"),
            )
    if flags.metrics:
        url = _address(flags.metrics, strict)
        config.metrics = MetricsConfig(addr=flags.metrics)
        if url is not None:
            path = Params(dict(url.query)).text("path")
            config.metrics = MetricsConfig(addr=url.host, auth=_auth(url), path=path)


def _address(text: str, strict: bool) -> URL | None:
    """The URL of -api or -metrics; None when it cannot be parsed and is an address as it is."""
    try:
        url = normal_url(text)
    except ConfigError:
        return None
    if url.scheme == "unix" and not strict:
        url.host = f"unix://{url.host}{url.path}"
    return url


def _auth(url: URL) -> AuthConfig | None:
    if url.user is None:
        return None
    return AuthConfig(username=url.user, password=url.password or "")
