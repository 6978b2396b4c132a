"""Hosts tables and resolvers of services, hops and nodes."""

import pytest

from tests.engine.dnsserver import Names
from tests.engine.running import Stage, ask

PROXY = """
services:
- name: in
  addr: 127.0.0.1:0
  handler: {{type: socks5{chain}}}
  {names}
"""


def proxy(names: str, chain: str = "") -> str:
    return PROXY.format(names=names, chain=chain)


def resolving(address: str, **extra: object) -> str:
    more = "".join(f", {key}: {value}" for key, value in extra.items())
    return f"resolvers: [{{name: r, nameservers: [{{addr: '{address}', timeout: 2s{more}}}]}}]\n"


@pytest.mark.parametrize(
    ("mapping", "host"),
    [
        pytest.param("{ip: 127.0.0.1, hostname: a.test}", "a.test", id="exact"),
        pytest.param("{ip: 127.0.0.1, hostname: x, aliases: [a.test]}", "a.test", id="alias"),
        pytest.param("{ip: 127.0.0.1, hostname: .test}", "deep.a.test", id="parent"),
    ],
)
def test_hosts(stage: Stage, mapping: str, host: str) -> None:
    text = proxy("hosts: h") + f"hosts: [{{name: h, mappings: [{mapping}]}}]\n"
    assert ask(stage.run(text).port("in"), host, stage.greeter("here")) == "here"


@pytest.mark.parametrize("scheme", ["udp", "tcp", "tls", "https"])
def test_resolver(stage: Stage, scheme: str) -> None:
    names = Names({"a.test": "127.0.0.1"})
    port = stage.run(proxy("resolver: r") + resolving(names.start(stage, scheme))).port("in")
    target = stage.greeter("here")
    assert [ask(port, "a.test", target) for _ in range(3)] == ["here"] * 3
    assert names.asked == ["a.test/A"]


def test_resolver_without_cache(stage: Stage) -> None:
    names = Names({"a.test": "127.0.0.1"})
    running = stage.run(proxy("resolver: r") + resolving(names.start(stage, "udp"), ttl="-1s"))
    target = stage.greeter("here")
    for _ in range(2):
        assert ask(running.port("in"), "a.test", target) == "here"
    assert names.asked == ["a.test/A"] * 2


def test_resolver_prefers(stage: Stage) -> None:
    names = Names({"a.test": "127.0.0.1"})
    running = stage.run(proxy("resolver: r") + resolving(names.start(stage, "udp"), prefer="ipv6"))
    assert ask(running.port("in"), "a.test", stage.greeter("here")) == "here"
    assert names.asked == ["a.test/AAAA", "a.test/A"]


def test_resolver_asks_the_next_server(stage: Stage) -> None:
    first, second = Names({}), Names({"a.test": "127.0.0.1"})
    servers = [f"{{addr: '{each.start(stage, 'udp')}'}}" for each in (first, second)]
    text = proxy("resolver: r") + f"resolvers: [{{name: r, nameservers: [{', '.join(servers)}]}}]\n"
    assert ask(stage.run(text).port("in"), "a.test", stage.greeter("here")) == "here"
    assert first.asked == ["a.test/A", "a.test/AAAA"]


def test_unknown_name_is_not_tried_again(stage: Stage) -> None:
    names = Names({})
    text = proxy("resolver: r", ", retries: 3") + resolving(names.start(stage, "udp"))
    assert ask(stage.run(text).port("in"), "a.test", 80) == "reply 3"
    assert names.asked == ["a.test/A", "a.test/AAAA"]


def test_hosts_go_before_the_resolver(stage: Stage) -> None:
    names = Names({"a.test": "127.0.0.9"})
    text = proxy("hosts: h\n  resolver: r") + resolving(names.start(stage, "udp"))
    text += "hosts: [{name: h, mappings: [{ip: 127.0.0.1, hostname: a.test}]}]\n"
    assert ask(stage.run(text).port("in"), "a.test", stage.greeter("here")) == "here"
    assert not names.asked


def test_proxy_behind_gets_the_address(stage: Stage) -> None:
    """With hosts at the service, a proxy behind the chain is asked for the IP."""
    behind = stage.run("services: [{name: p, addr: '127.0.0.1:0', handler: {type: socks5}}]")
    text = proxy("hosts: h", ", chain: way") + (
        "hosts: [{name: h, mappings: [{ip: 127.0.0.1, hostname: a.test}]}]\n"
        "chains: [{name: way, hops: [{name: h, nodes: [{name: n, connector: {type: socks5},"
        f" addr: '127.0.0.1:{behind.port('p')}'}}]}}]}}]\n"
    )
    target = stage.greeter("here")
    assert ask(stage.run(text).port("in"), "a.test", target) == "here"


@pytest.mark.parametrize("level", ["hop", "node"])
def test_address_of_a_node(stage: Stage, level: str) -> None:
    """Hosts of a hop or node are for the node's own address."""
    target = stage.greeter("node")
    at_hop, at_node = ("hosts: h, ", "") if level == "hop" else ("", "hosts: h, ")
    text = proxy("", ", chain: way") + (
        "hosts: [{name: h, mappings: [{ip: 127.0.0.1, hostname: n.test}]}]\n"
        f"chains: [{{name: way, hops: [{{name: h, {at_hop}nodes: [{{name: n, {at_node}"
        f"connector: {{type: forward}}, addr: 'n.test:{target}'}}]}}]}}]\n"
    )
    assert ask(stage.run(text).port("in"), "x.test", 80) == "node"


def test_server_is_asked_through_its_chain(stage: Stage) -> None:
    behind = stage.run("services: [{name: p, addr: '127.0.0.1:0', handler: {type: socks5}}]")
    names = Names({"a.test": "127.0.0.1"})
    text = proxy("resolver: r") + resolving(names.start(stage, "tcp"), chain="way")
    text += (
        "chains: [{name: way, hops: [{name: h, nodes: [{name: n, connector: {type: socks5},"
        f" addr: '127.0.0.1:{behind.port('p')}'}}]}}]}}]\n"
    )
    assert ask(stage.run(text).port("in"), "a.test", stage.greeter("here")) == "here"
    assert names.asked == ["a.test/A"]


def test_async_answers_with_what_expired(stage: Stage) -> None:
    names = Names({"a.test": "127.0.0.1"})
    address = names.start(stage, "udp")
    running = stage.run(
        proxy("resolver: r") + resolving(address, ttl="10ms").replace("ttl", "async: true, ttl")
    )
    target = stage.greeter("here")
    for _ in range(3):
        assert ask(running.port("in"), "a.test", target) == "here"


def test_missing_resolver_leaves_names_alone(stage: Stage) -> None:
    running = stage.run(proxy("resolver: gone\n  hosts: gone"))
    assert ask(running.port("in"), "localhost", stage.greeter("here")) == "here"
    assert len(running.messages("warning")) == 2
