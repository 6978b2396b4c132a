"""Chains of hops, node selection, filters, bypass: through real sockets and a real config."""

import pytest

from tests.engine.running import Stage, ask, eventually, fetch

# a service that forwards to whatever node its chain's only hop picks
PICK = """
services:
- name: in
  addr: 127.0.0.1:0
  handler: {{type: tcp, chain: way, retries: {retries}}}
  forwarder: {{nodes: [{{name: t, addr: "127.0.0.1:9"}}]}}
chains:
- name: way
  hops:
  - name: hop
    selector: {{strategy: {strategy}, maxFails: 1, failTimeout: 60s}}
    nodes:
"""


def node(name: str, port: int, extra: str = "") -> str:
    return f"""    - name: {name}
      addr: 127.0.0.1:{port}
      connector: {{type: forward}}
      dialer: {{type: tcp}}
{extra}"""


def picking(stage: Stage, words: str, strategy: str = "round", retries: int = 0, **extra: str):
    """A node whose chain has one greeter per letter; capitals are dead."""
    text = PICK.format(strategy=strategy, retries=retries)
    for word in words:
        port = stage.dead_port() if word.isupper() else stage.greeter(word)
        text += node(word, port, extra.get(word, ""))
    return stage.run(text)


def test_round(stage: Stage) -> None:
    port = picking(stage, "abc").port("in")
    assert "".join(fetch(port) for _ in range(6)) == "abcabc"


def test_fifo(stage: Stage) -> None:
    port = picking(stage, "abc", "fifo").port("in")
    assert "".join(fetch(port) for _ in range(3)) == "aaa"


def test_random_obeys_weights(stage: Stage) -> None:
    extra = "      metadata: {weight: 1000000}\n"
    port = picking(stage, "ab", "random", b=extra).port("in")
    assert "".join(fetch(port) for _ in range(5)) == "bbbbb"


def test_hash_is_by_client(stage: Stage) -> None:
    port = picking(stage, "abcde", "hash").port("in")
    assert len({fetch(port) for _ in range(5)}) == 1


def test_failed_node_is_left_out(stage: Stage) -> None:
    running = picking(stage, "Ab", "fifo")
    assert [fetch(running.port("in")) for _ in range(3)] == ["", "b", "b"]


def test_retries_hide_a_failed_node(stage: Stage) -> None:
    running = picking(stage, "Ab", "fifo", retries=1)
    assert [fetch(running.port("in")) for _ in range(3)] == ["b", "b", "b"]


def test_one_dead_node_keeps_failing(stage: Stage) -> None:
    running = picking(stage, "A")
    assert [fetch(running.port("in")) for _ in range(3)] == ["", "", ""]
    assert len(running.messages("error")) == 3


def test_backup_waits_for_the_others(stage: Stage) -> None:
    backup = "      metadata: {backup: true}\n"
    running = picking(stage, "bA", "fifo", b=backup)
    assert [fetch(running.port("in")) for _ in range(3)] == ["", "b", "b"]


def test_own_max_fails(stage: Stage) -> None:
    extra = "      metadata: {maxFails: 2}\n"
    running = picking(stage, "Ab", "fifo", A=extra)
    assert [fetch(running.port("in")) for _ in range(4)] == ["", "", "b", "b"]


def test_matcher_priority_wins_over_the_strategy(stage: Stage) -> None:
    rule = '      matcher: {rule: "ClientIP(`127.0.0.0/8`)", priority: 7}\n'
    running = picking(stage, "abc", c=rule)
    assert "".join(fetch(running.port("in")) for _ in range(3)) == "ccc"


PROXY = """
services:
- name: in
  addr: 127.0.0.1:0
  handler: {type: socks5, chain: way}
  metadata: {dialTimeout: 3s}
"""


def two_dead(stage: Stage, strict: bool) -> int:
    text = PROXY + "chains:\n- name: way\n  hops:\n  - name: h\n    nodes:\n"
    text += node("x", stage.dead_port()) + node("y", stage.dead_port())
    return stage.run(text, strict=strict).port("in")


def test_all_nodes_failed_is_refused(stage: Stage) -> None:
    target, port = stage.greeter("direct"), two_dead(stage, False)
    assert {ask(port, "127.0.0.1", target) for _ in range(4)} == {"reply 3"}


def test_all_nodes_failed_is_direct_in_strict_mode(stage: Stage) -> None:
    target, port = stage.greeter("direct"), two_dead(stage, True)
    answers = [ask(port, "127.0.0.1", target) for _ in range(3)]
    assert answers == ["reply 3", "reply 3", "direct"]


FILTERS = [
    pytest.param("filter: {host: a.test}", "a.test", "x", id="exact"),
    pytest.param("filter: {host: a.test}", "b.test", "y", id="other"),
    pytest.param("filter: {host: '*.test'}", "b.test", "x", id="wildcard"),
    pytest.param("filter: {host: .test}", "b.test", "x", id="suffix"),
    pytest.param("filter: {protocol: tls}", "a.test", "y", id="protocol"),
    pytest.param('matcher: {rule: "Host(`a.test`)"}', "a.test", "x", id="rule"),
    pytest.param('matcher: {rule: "!Host(`a.test`)"}', "a.test", "y", id="rule-not"),
    pytest.param("bypass: local", "a.test", "y", id="bypass"),
    pytest.param("bypass: local", "b.test", "x", id="bypass-other"),
    pytest.param("bypass: gone", "b.test", "reply 2", id="bypass-missing"),
]


@pytest.mark.parametrize(("rule", "host", "word"), FILTERS)
def test_nodes_by_rule(stage: Stage, rule: str, host: str, word: str) -> None:
    text = PROXY + "bypasses: [{name: local, matchers: [a.test]}]\n"
    text += (
        "chains:\n- name: way\n  hops:\n  - name: h\n    selector: {strategy: fifo}\n    nodes:\n"
    )
    text += node("x", stage.greeter("x"), f"      {rule}\n") + node("y", stage.greeter("y"))
    assert ask(stage.run(text).port("in"), host, 80) == word


def hops(stage: Stage, first: str = "", second: str = "") -> list[str]:
    """Two hops of real proxies in front of a target that tells who came."""
    behind = stage.run("services: [{name: p, addr: '127.0.0.1:0', handler: {type: socks5}}]")
    front = stage.run("services: [{name: p, addr: '127.0.0.1:0', handler: {type: relay}}]")
    text = (
        PROXY
        + f"""
bypasses:
- {{name: all, matchers: ['*', 0.0.0.0/0]}}
- {{name: none, matchers: [nobody.test]}}
chains:
- name: way
  hops:
  - name: one
    {first}
    nodes:
    - {{name: f, addr: '127.0.0.1:{front.port("p")}', connector: {{type: relay}}}}
  - name: two
    {second}
    nodes:
    - {{name: b, addr: '127.0.0.1:{behind.port("p")}', connector: {{type: socks5}}}}
"""
    )
    running = stage.run(text)
    target = stage.greeter("hello")
    assert ask(running.port("in"), "127.0.0.1", target) == "hello"
    done = eventually(lambda: [line for line in running.log() if "inputBytes" in line])
    return [line.get("route", "") for line in done]


def test_two_hops(stage: Stage) -> None:
    assert hops(stage, "bypass: none") == ["f > b"]


def test_first_hop_bypassed_is_direct(stage: Stage) -> None:
    assert hops(stage, "bypass: all") == [""]


def test_second_hop_bypassed_ends_the_route(stage: Stage) -> None:
    assert hops(stage, "", "bypass: all") == ["f"]


def test_hop_by_name(stage: Stage) -> None:
    text = PROXY + "chains: [{name: way, hops: [{name: h}]}]\nhops:\n- name: h\n  nodes:\n"
    text += node("x", stage.greeter("x")).replace("    -", "  -", 1).replace("      ", "    ")
    assert ask(stage.run(text).port("in"), "a.test", 80) == "x"


@pytest.mark.parametrize("strict", [False, True])
@pytest.mark.parametrize(
    "chains",
    [
        pytest.param("", id="chain"),
        pytest.param("chains: [{name: way, hops: [{name: gone}]}]", id="hop"),
    ],
)
def test_missing_way(stage: Stage, chains: str, strict: bool) -> None:
    """What is referred to and missing is refused; gost dials direct."""
    target = stage.greeter("direct")
    running = stage.run(PROXY + chains, strict=strict)
    expected = "direct" if strict else "reply 3"
    assert ask(running.port("in"), "127.0.0.1", target) == expected
    assert any("there is no" in message for message in running.messages("warning"))


def test_empty_hop_is_refused(stage: Stage) -> None:
    target = stage.greeter("direct")
    running = stage.run(PROXY + "chains: [{name: way, hops: [{name: h, nodes: []}]}]")
    assert ask(running.port("in"), "127.0.0.1", target) == "reply 3"


def test_ignore_chain(stage: Stage) -> None:
    target = stage.greeter("direct")
    text = PROXY.replace("dialTimeout: 3s", "ignoreChain: true")
    assert ask(stage.run(text).port("in"), "127.0.0.1", target) == "direct"


GROUP = """
services:
- name: in
  addr: 127.0.0.1:0
  handler:
    type: socks5
    chainGroup:
      selector: {{strategy: {strategy}, maxFails: 1, failTimeout: 60s}}
      chains: [{chains}]
chains:
"""


def group(stage: Stage, words: str, strategy: str = "round") -> int:
    text = GROUP.format(strategy=strategy, chains=", ".join(words))
    for word in words:
        port = stage.dead_port() if word.isupper() else stage.greeter(word)
        text += f"- name: {word}\n  hops:\n  - name: h{word}\n    nodes:\n" + node(word, port)
    return stage.run(text).port("in")


def test_chain_group_takes_turns(stage: Stage) -> None:
    port = group(stage, "abc")
    assert "".join(ask(port, "a.test", 80) for _ in range(4)) == "abca"


def test_failed_chain_is_left_out(stage: Stage) -> None:
    port = group(stage, "Ab", "fifo")
    assert [ask(port, "a.test", 80) for _ in range(3)] == ["reply 3", "b", "b"]


def test_direct_and_virtual_nodes(stage: Stage) -> None:
    target = stage.greeter("direct")
    for kind in ("direct", "virtual"):
        text = PROXY + "chains:\n- name: way\n  hops:\n  - name: h\n    nodes:\n"
        text += f"    - {{name: d, connector: {{type: {kind}}}, dialer: {{type: {kind}}}}}\n"
        assert ask(stage.run(text).port("in"), "127.0.0.1", target) == "direct"


def test_reject(stage: Stage) -> None:
    target = stage.greeter("direct")
    text = PROXY + "chains:\n- name: way\n  hops:\n  - name: h\n    nodes:\n"
    text += "    - {name: d, dialer: {type: virtual}, connector: {type: virtual, "
    text += "metadata: {action: reject}}}\n"
    assert ask(stage.run(text).port("in"), "127.0.0.1", target) == ""
