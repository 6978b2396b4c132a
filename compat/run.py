"""Runs a configuration: start, signals, reload, workers."""

from __future__ import annotations

import gc
import os
import resource
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import gevent
from gevent.event import Event

from compat.build.hooks import run_hooks
from compat.build.logs import Outputs, build_log
from compat.build.remarks import parse_path, remarks
from compat.build.world import World, build
from compat.hints import why_not_listening
from compat.settings import Settings, load_settings
from gostpy.errors import ConfigError, GostError
from gostpy.observe.log import Logger
from gostpy.service import Service

__all__ = ["Node", "run", "run_workers"]

WORKER_VARIABLE = "_GOST_ID"
_AWAKE = 3600.0


def run(settings: Settings, started: Callable[[Node], None] | None = None) -> int:
    """Serve until a signal ends it; returns the exit status.

    Args:
        started: called once every service is up.

    Raises: GostError: the start failed; nothing is left behind.
    """
    _raise_file_limit()
    node = Node(settings)
    node.watch_signals()
    node.start()
    # what exists now lives as long as the process: keep it out of collections, and make these
    # rarer; conns and pipes break their cycles themselves
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)
    if started is not None:
        started(node)
    return node.wait()


def _raise_file_limit() -> None:
    """Use all the open files that the system grants, as a Go program does by itself."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    except (OSError, ValueError):
        pass  # a system that grants less than it says: the usual limit must do


class Node:
    """A running configuration and its log.

    Args:
        environment: read again by every reload.
    """

    def __init__(self, settings: Settings, environment: Mapping[str, str] | None = None) -> None:
        self.settings = settings
        self._outputs = Outputs()
        self.log = build_log(settings.config.log, self._outputs)
        self.world: World | None = None
        self._environment = os.environ if environment is None else environment
        self._stopped = Event()
        self._status = 0
        self._reloading = False
        self._watchers: list[Any] = []

    # -- start and stop --------------------------------------------------------------------------

    def start(self) -> None:
        """Build, bind and serve. Raises GostError: nothing is left bound."""
        world = self._build(self.settings, self.log)
        services = list(world.runtime.services.values())
        if not services:
            self.log.warn("the configuration has no services")
        try:
            _bind(services, self.settings)
        except GostError:
            world.runtime.close()
            raise
        self.world = world
        for service in services:
            _up(service)
        period = self.settings.reload.seconds if self.settings.reload else 0.0
        if period > 0:
            self._watchers.append(gevent.spawn(self._reload_every, period))

    def wait(self) -> int:
        """Until stopped."""
        while not self._stopped.wait(_AWAKE):
            pass  # a loop without listeners and timers would end
        self.close()
        from gostpy.net.lasting import end_everything  # not needed before

        end_everything()
        return self._status

    def stop(self, status: int = 0) -> None:
        self._status = status
        self._stopped.set()

    def close(self) -> None:
        """Close every listener; conns end with the process."""
        for watcher in self._watchers:
            watcher.cancel() if hasattr(watcher, "cancel") else watcher.kill()
        self._watchers.clear()
        if self.world is not None:
            for service in self.world.runtime.services.values():
                _down(service)
            self.world.runtime.close()
            self.world = None

    def watch_signals(self) -> None:
        """SIGTERM and SIGINT stop, SIGHUP reloads."""
        for number in (signal.SIGTERM, signal.SIGINT):
            self._watchers.append(gevent.signal_handler(number, self.stop))
        self._watchers.append(gevent.signal_handler(signal.SIGHUP, self.reload))

    def _reload_every(self, period: float) -> None:
        while True:
            gevent.sleep(period)
            self.reload()

    # -- building --------------------------------------------------------------------------------

    def _build(self, settings: Settings, log: Logger) -> World:
        try:
            world = build(settings.config, log, self._outputs, strict=settings.strict)
        except ConfigError as error:
            raise _placed(settings, error) from error.__cause__
        for line in remarks(settings, world.warnings):
            log.warn(line)
        return world

    # -- reload ----------------------------------------------------------------------------------

    def reload(self) -> bool:
        """Read the same command line again and swap. False: something was wrong, nothing changed.

        Services are matched by name and frozen listener options: where both are equal the bound
        socket and its conns stay, and only what new conns get is replaced.
        """
        if self._reloading or self.world is None:
            return False
        self._reloading = True
        old = self.settings
        try:
            settings = load_settings(old.arguments, self._environment, old.stdin)
            self._outputs.reopen()
            log = build_log(settings.config.log, self._outputs)
            world = self._build(settings, log)
            try:
                self._swap(world, settings)
            except BaseException:
                world.runtime.close()
                raise
        except (GostError, OSError) as error:
            self.log.error(f"reload failed, nothing changed: {error}")
            return False
        finally:
            self._reloading = False
        self.settings, self.log = settings, log
        log.info("config reloaded")
        return True

    def _swap(self, world: World, settings: Settings) -> None:
        """Bind what is new, then replace, then close what is gone. Raises OSError, GostError."""
        assert self.world is not None
        before, after = self.world.runtime, world.runtime
        kept = {
            name: service
            for name, service in before.services.items()
            if name in after.services and after.services[name].key == service.key
        }
        fresh = [service for name, service in after.services.items() if name not in kept]
        gone = [service for name, service in before.services.items() if name not in kept]
        freed = _in_the_way(gone, fresh)
        for service in freed:
            service.close()
        try:
            _bind(fresh, settings)
        except (GostError, OSError):
            for service in freed:
                service.listen()
                service.start()
            raise
        for name, service in kept.items():
            service.replace(after.services[name])
            after.services[name] = service
        self.world = world
        for service in fresh:
            _up(service)
        for service in gone:
            _down(service)
        before.retire()


def _in_the_way(gone: Sequence[Service], fresh: Sequence[Service]) -> list[Service]:
    """Old listeners on a port that a new one needs; everything else stays up meanwhile."""
    wanted = {_port(service) for service in fresh} - {"0"}
    return [service for service in gone if _port(service) in wanted]


def _port(service: Service) -> str:
    """The port of the configured address, or all of an address without one."""
    return str(service.key[1]).rpartition(":")[2]


def _bind(services: Sequence[Service], settings: Settings) -> None:
    """Bind all or none. Raises ConfigError."""
    bound: list[Service] = []
    try:
        for service in services:
            service.listen()
            bound.append(service)
    except (GostError, OSError) as error:
        for other in bound:
            other.close()
        raise _not_bound(service, settings, error) from error


def _not_bound(service: Service, settings: Settings, error: Exception) -> ConfigError:
    """The error of a listener with its place in the configuration."""
    names = [item.name if item is not None else "" for item in settings.config.services or ()]
    index = names.index(service.name) if service.name in names else -1
    where = f"services[{index}].addr" if index >= 0 else f"service {service.name}"
    message = why_not_listening(error, str(service.key[1]) if service.key else "")
    if index >= 0 and service.name != f"service-{index}":
        message = f"{service.name}: {message}"
    return _placed(settings, ConfigError(message, where))


def _up(service: Service) -> None:
    run_hooks("preUp", service.hooks.get("preUp", ()), service.log)
    service.start()
    run_hooks("postUp", service.hooks.get("postUp", ()), service.log)


def _down(service: Service) -> None:
    run_hooks("preDown", service.hooks.get("preDown", ()), service.log)
    service.close()
    run_hooks("postDown", service.hooks.get("postDown", ()), service.log)


def _placed(settings: Settings, error: ConfigError) -> ConfigError:
    """The same error with its position in the file, if it has none."""
    if error.position is None and error.where:
        error.position = settings.position(parse_path(error.where))
    return error


def run_workers(workers: Sequence[Sequence[str]]) -> int:
    """One child process per list of arguments; when one ends, the others are ended.

    Returns: 1, as gost's parent does however the first child ended.
    """
    from gevent import subprocess

    children = [
        subprocess.Popen(
            [sys.executable, "-m", "gostpy", *arguments],
            env={**os.environ, WORKER_VARIABLE: str(index)},
        )
        for index, arguments in enumerate(workers)
    ]
    over = Event()
    waiting = [gevent.spawn(_wait_child, child, over) for child in children]
    for number in (signal.SIGTERM, signal.SIGINT):
        gevent.signal_handler(number, over.set)
    gevent.signal_handler(signal.SIGHUP, _pass_on, children)
    over.wait()
    for child in children:
        if child.poll() is None:
            child.terminate()
    gevent.joinall(waiting, timeout=10)
    for child in children:
        if child.poll() is None:
            child.kill()
    return 1


def _pass_on(children: Sequence[Any]) -> None:
    """SIGHUP: every worker reloads."""
    for child in children:
        if child.poll() is None:
            child.send_signal(signal.SIGHUP)


def _wait_child(child: Any, over: Event) -> None:
    child.wait()
    over.set()
