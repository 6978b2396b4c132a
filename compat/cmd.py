"""-L and -F together -> a Config.

Every -F is one hop of the chain ``chain-0``, which every -L uses. Names are numbered over all
arguments: service-0, hop-0, bypass-0 ...
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from compat.cmd_node import normal_url, parse_node
from compat.cmd_params import Lists
from compat.cmd_service import apply_policies, parse_service, service_url
from compat.decode import Path
from compat.names import CONNECTORS, DIALERS, HANDLERS, LISTENERS
from compat.schema import ChainConfig, Config, HopConfig, ServiceConfig
from compat.url import URL
from compat.warning import ConfigWarning
from gostpy.errors import ConfigError, Position

__all__ = ["CommandConfig", "build"]

_REVERSE = frozenset({"rtcp", "rudp", "runix"})


@dataclass(slots=True)
class CommandConfig:
    """What -L and -F say.

    Attributes:
        config: the objects.
        origins: path of an object -> the argument it came from, ``-L 1``.
        warnings: remarks.
    """

    config: Config
    origins: dict[Path, str] = field(default_factory=dict)
    warnings: list[ConfigWarning] = field(default_factory=list)


def build(
    services: Sequence[str], nodes: Sequence[str], *, strict: bool = False, worker: str = ""
) -> CommandConfig:
    """Read the values of -L and -F.

    Args:
        strict: as gost 3.2.6, without the repairs listed among the differences from gost.
        worker: number of this worker, empty outside worker mode; becomes part of target names.

    Raises:
        ConfigError: names the argument (``-L 2``: the second -L) that is wrong.
    """
    made = CommandConfig(Config())
    lists = Lists(made.config, strict=strict)
    chain = _chain(nodes, lists, made) if nodes else None
    found: list[ServiceConfig] = []
    for number, text in enumerate(services, start=1):
        text = text.strip()
        if not text:
            continue
        label = f"-L {number}"
        try:
            url = service_url(text)
            parsed = parse_service(url, strict=strict, prefix=f"go-{worker}@" if worker else "")
        except ConfigError as error:
            raise ConfigError(error.message, error.where, Position(label)) from None
        _note_scheme(url, HANDLERS, LISTENERS, "handler", "listener", label, made)
        for service in parsed:
            made.origins[("services", len(found))] = label
            found.append(service)
    for number, service in enumerate(found):
        service.name = f"service-{number}"
        _attach(service, chain)
        apply_policies(service, lists)
    made.config.services = list(found) or None
    return made


def _chain(nodes: Sequence[str], lists: Lists, made: CommandConfig) -> ChainConfig:
    hops: list[HopConfig | None] = []
    for number, text in enumerate(nodes):
        label = f"-F {number + 1}"
        try:
            url = normal_url(text)
            hop = parse_node(url, lists)
        except ConfigError as error:
            raise ConfigError(error.message, error.where, Position(label)) from None
        hop.name = f"hop-{number}"
        hops.append(hop)
        made.origins[("chains", 0, "hops", number)] = label
        _note_scheme(url, CONNECTORS, DIALERS, "connector", "dialer", label, made)
    chain = ChainConfig(name="chain-0", hops=hops)
    made.config.chains = [chain]
    return chain


def _attach(service: ServiceConfig, chain: ChainConfig | None) -> None:
    if chain is None or service.handler is None or service.listener is None:
        return
    part = service.listener if service.listener.type in _REVERSE else service.handler
    part.chain = chain.name


def _note_scheme(
    url: URL,
    firsts: frozenset[str],
    seconds: frozenset[str],
    first: str,
    second: str,
    label: str,
    made: CommandConfig,
) -> None:
    """Say which part of a scheme is not known; gost takes a default without a word."""
    if url.scheme == "auto":
        return
    parts = url.scheme.split("+")
    if len(parts) > 2:
        problem = f"{url.scheme!r} has more than two parts, the defaults are used"
    elif len(parts) == 1 and parts[0] not in firsts and parts[0] not in seconds:
        problem = f"{parts[0]!r} is not a known {first} or {second}"
        problem += _instead(parts[0], firsts | seconds, "the defaults are")
    elif len(parts) == 2 and parts[0] not in firsts:
        problem = f"{parts[0]!r} is not a known {first}"
        problem += _instead(parts[0], firsts, "the default is")
    elif len(parts) == 2 and parts[1] not in seconds:
        problem = f"{parts[1]!r} is not a known {second}"
        problem += _instead(parts[1], seconds, "the default is")
    else:
        problem = ""
    if problem:
        made.warnings.append(ConfigWarning(problem, position=Position(label)))
    if url.dropped:
        name = url.dropped[0].partition("=")[0]
        message = f"the query parameter {name!r} is malformed and ignored"
        made.warnings.append(ConfigWarning(message, position=Position(label)))


def _instead(word: str, known: frozenset[str], used: str) -> str:
    """The end of such a message: what happens, and what was probably meant."""
    from difflib import get_close_matches

    likely = get_close_matches(word.lower(), known, 1)
    return f", {used} used" + (f"; did you mean {likely[0]!r}?" if likely else "")
