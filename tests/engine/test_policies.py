"""Authers, admissions, bypass and the three kinds of limiters of services."""

import contextlib
import socket
import time

import pytest

from tests.engine.running import Stage, ask, dial, eventually, fetch, read_all, socks

SERVICE = """
services:
- name: in
  addr: 127.0.0.1:0
  handler: {{type: {handler}}}
  forwarder: {{nodes: [{{name: t, addr: "127.0.0.1:{target}"}}]}}
  {service}
"""


def forward(target: int, service: str, rest: str = "") -> str:
    return SERVICE.format(handler="tcp", target=target, service=service) + rest


def proxy(handler: str, service: str = "", rest: str = "") -> str:
    return SERVICE.format(handler=f"socks5, {handler}", target=9, service=service) + rest


# -- users ---------------------------------------------------------------------------------------

USERS = "authers:\n- {name: a, auths: [{username: ann, password: pw}]}\n"
USERS += "- {name: b, auths: [{username: bob, password: pw}]}\n"
LOGINS = [
    pytest.param("auther: a", "ann:pw", True, id="right"),
    pytest.param("auther: a", "ann:no", False, id="wrong-password"),
    pytest.param("auther: a", "bob:pw", False, id="of-another-auther"),
    pytest.param("authers: [a, b]", "bob:pw", True, id="group"),
    pytest.param("auther: a, authers: [b]", "bob:pw", True, id="both-spellings"),
    pytest.param("auth: {username: eve, password: pw}", "eve:pw", True, id="inline"),
    pytest.param("auth: {username: eve, password: pw}", "eve:no", False, id="inline-wrong"),
    pytest.param("auther: a, auth: {username: eve, password: pw}", "eve:pw", False, id="named-win"),
    pytest.param("auther: gone", "ann:pw", False, id="missing"),
    pytest.param("authers: [gone, a]", "ann:pw", True, id="one-missing"),
]


@pytest.mark.parametrize(("handler", "user", "enters"), LOGINS)
def test_users(stage: Stage, handler: str, user: str, enters: bool) -> None:
    port = stage.run(proxy(handler, "", USERS)).port("in")
    answer = ask(port, "127.0.0.1", stage.greeter("in"), user=user)
    assert (answer == "in") == enters, answer


def test_missing_auther_lets_in_as_gost_does(stage: Stage) -> None:
    port = stage.run(proxy("auther: gone"), strict=True).port("in")
    assert ask(port, "127.0.0.1", stage.greeter("in"), user="any:one") == "in"


def test_auther_that_appears_later_is_used(stage: Stage) -> None:
    running = stage.run(proxy("auther: later"))
    target = stage.greeter("in")
    assert ask(running.port("in"), "127.0.0.1", target, user="ann:pw") != "in"
    running.rewrite(running.path.read_text() + USERS.replace("{name: a", "{name: later"))
    assert running.node.reload()
    assert ask(running.port("in"), "127.0.0.1", target, user="ann:pw") == "in"


def test_password_is_never_logged(stage: Stage) -> None:
    running = stage.run(proxy("auther: a", "", USERS))
    ask(running.port("in"), "127.0.0.1", 9, user="ann:s3cret-guess")
    eventually(lambda: running.messages("info", "error"))
    assert "s3cret" not in running.log_path.read_text()


SKIPPED = [
    pytest.param("127.0.0.1", "in", id="address"),
    pytest.param("'10.0.0.1, 127.0.0.0/8'", "in", id="text-with-commas"),
    pytest.param("[10.0.0.1]", "refused: login refused", id="another"),
]


@pytest.mark.parametrize(("clients", "answer"), SKIPPED)
def test_clients_that_need_no_login(stage: Stage, clients: str, answer: str) -> None:
    handler = f"auther: a, metadata: {{skipauth: {clients}}}"
    running = stage.run(proxy(handler, "", USERS))
    target = stage.greeter("in")
    assert ask(running.port("in"), "127.0.0.1", target) == answer
    assert ask(running.port("in"), "127.0.0.1", target, user="ann:pw") == "in"
    assert not running.messages("warning")


# -- who may come, and where to ------------------------------------------------------------------

ADMISSIONS = [
    pytest.param("matchers: [127.0.0.0/8]", "", id="blacklisted"),
    pytest.param("matchers: [10.0.0.0/8]", "in", id="not-blacklisted"),
    pytest.param("whitelist: true, matchers: [127.0.0.1]", "in", id="whitelisted"),
    pytest.param("whitelist: true, matchers: [10.0.0.1]", "", id="not-whitelisted"),
]


@pytest.mark.parametrize(("rule", "word"), ADMISSIONS)
def test_admission(stage: Stage, rule: str, word: str) -> None:
    rest = f"admissions: [{{name: a, {rule}}}]\n"
    port = stage.run(forward(stage.greeter("in"), "admission: a", rest)).port("in")
    assert fetch(port) == word


def test_all_admissions_must_admit(stage: Stage) -> None:
    rest = "admissions: [{name: a, matchers: [10.0.0.1]}, {name: b, matchers: [127.0.0.1]}]\n"
    text = forward(stage.greeter("in"), "admissions: [a, b]", rest)
    assert fetch(stage.run(text).port("in")) == ""


@pytest.mark.parametrize("strict", [False, True])
def test_missing_admission_refuses(stage: Stage, strict: bool) -> None:
    """As in gost."""
    running = stage.run(forward(stage.greeter("in"), "admission: gone"), strict=strict)
    assert fetch(running.port("in")) == ""
    assert "refused" in running.messages("warning")[0]


BYPASSES = [
    pytest.param("matchers: [a.test]", "a.test", "reply 2", id="blacklisted"),
    pytest.param("matchers: [b.test]", "localhost", "in", id="other"),
    pytest.param("whitelist: true, matchers: [localhost]", "localhost", "in", id="whitelisted"),
    pytest.param("whitelist: true, matchers: [b.test]", "a.test", "reply 2", id="not-whitelisted"),
]


@pytest.mark.parametrize(("rule", "host", "word"), BYPASSES)
def test_bypass(stage: Stage, rule: str, host: str, word: str) -> None:
    text = proxy("", "bypass: b", f"bypasses: [{{name: b, {rule}}}]\n")
    assert ask(stage.run(text).port("in"), host, stage.greeter("in")) == word


@pytest.mark.parametrize(("strict", "word"), [(False, "reply 2"), (True, "in")])
def test_missing_bypass(stage: Stage, strict: bool, word: str) -> None:
    port = stage.run(proxy("", "bypass: gone"), strict=strict).port("in")
    assert ask(port, "localhost", stage.greeter("in")) == word


# -- limits --------------------------------------------------------------------------------------

RATES = [
    pytest.param("$ 400KB 0", True, False, id="service-in"),
    pytest.param("$ 0 400KB", False, True, id="service-out"),
    pytest.param("$$ 400KB 400KB", True, True, id="connection"),
    pytest.param("127.0.0.1 400KB 0", True, False, id="ip-in"),
    pytest.param("127.0.0.0/8 0 400KB", False, True, id="network-out"),
    pytest.param("10.0.0.1 1KB 1KB", False, False, id="another-ip"),
]
SIZE = 600 * 1024


def push(sock: socket.socket, size: int) -> float:
    """Seconds until the other side has taken ``size`` bytes."""
    started = time.monotonic()
    sock.sendall(bytes(size))
    sock.shutdown(socket.SHUT_WR)
    assert read_all(sock) == str(size).encode()
    return time.monotonic() - started


def pull(sock: socket.socket, size: int) -> float:
    started = time.monotonic()
    assert len(read_all(sock)) == size
    return time.monotonic() - started


def count(sock: socket.socket) -> None:
    total = 0
    while data := sock.recv(65536):
        total += len(data)
    sock.sendall(str(total).encode())


@pytest.mark.parametrize(("line", "slow_in", "slow_out"), RATES)
def test_traffic(stage: Stage, line: str, slow_in: bool, slow_out: bool) -> None:
    """600 KB at 400 KB/s with a burst of 400 KB take half a second."""
    rest = f"limiters: [{{name: l, limits: ['{line}']}}]\n"
    into = stage.run(forward(stage.serve(count), "limiter: l", rest)).port("in")
    out_of = stage.serve(lambda sock: sock.sendall(bytes(SIZE)))
    out = stage.run(forward(out_of, "limiter: l", rest)).port("in")
    with dial(into) as sock:
        assert (0.35 < push(sock, SIZE) < 1.5) == slow_in
    with dial(out) as sock:
        assert (0.35 < pull(sock, SIZE) < 1.5) == slow_out


def test_service_rate_is_shared_and_connection_rate_is_not(stage: Stage) -> None:
    target = stage.serve(lambda sock: sock.sendall(bytes(300 * 1024)))
    for line, least, most in (("$ 0 400KB", 0.35, 1.5), ("$$ 0 400KB", 0.0, 0.3)):
        rest = f"limiters: [{{name: l, limits: ['{line}']}}]\n"
        port = stage.run(forward(target, "limiter: l", rest)).port("in")
        started = time.monotonic()
        with dial(port) as first, dial(port) as second:
            assert len(read_all(first)) == len(read_all(second)) == 300 * 1024
        assert least <= time.monotonic() - started < most, line


def test_scope_of_the_limiter(stage: Stage) -> None:
    target = stage.serve(lambda sock: sock.sendall(bytes(SIZE)))
    rest = "limiters: [{name: l, limits: ['$ 0 400KB']}]\n"
    service = "limiter: l\n  metadata: {limiter.scope: conn}"
    with dial(stage.run(forward(target, service, rest)).port("in")) as sock:
        assert pull(sock, SIZE) < 0.35


@pytest.mark.parametrize("kind", ["limiter", "climiter", "rlimiter"])
@pytest.mark.parametrize(("strict", "word"), [(False, ""), (True, "in")])
def test_missing_limiter(stage: Stage, kind: str, strict: bool, word: str) -> None:
    running = stage.run(forward(stage.greeter("in"), f"{kind}: gone"), strict=strict)
    assert fetch(running.port("in")) == word
    assert len(running.messages("warning")) == 1


def entered(port: int) -> socket.socket | None:
    """A conn to an echo server behind a limit, None when it was refused."""
    sock = dial(port)
    with contextlib.suppress(OSError):
        sock.sendall(b"x")
        if sock.recv(1) == b"x":
            return sock
    sock.close()
    return None


@pytest.mark.parametrize("line", ["$ 2", "$$ 2", "127.0.0.1 2", "127.0.0.0/8 2"])
def test_connections(stage: Stage, line: str) -> None:
    rest = f"climiters: [{{name: c, limits: ['{line}']}}]\n"
    port = stage.run(forward(stage.echo(), "climiter: c", rest)).port("in")
    held = [dial(port), dial(port)]
    for sock in held:
        sock.sendall(b"x")
        assert sock.recv(1) == b"x"
    with dial(port) as third:
        assert read_all(third) == b""
    held.pop().close()
    eventually(lambda: entered(port)).close()
    held.pop().close()


def test_requests(stage: Stage) -> None:
    rest = "rlimiters: [{name: r, limits: ['$ 1']}]\n"
    port = stage.run(forward(stage.greeter("in"), "rlimiter: r", rest)).port("in")
    assert [fetch(port) for _ in range(4)] == ["in", "in", "", ""]
    assert eventually(lambda: fetch(port) == "in", 3)


def test_limited_client_leaves_others_alone(stage: Stage) -> None:
    """A refused conn is no reason for the listener to end."""
    rest = "climiters: [{name: c, limits: ['$ 1']}]\n"
    port = stage.run(forward(stage.echo(), "climiter: c", rest)).port("in")
    for _ in range(3):
        sock = eventually(lambda: entered(port))
        with sock:
            for _ in range(3):
                assert fetch(port) == ""
            sock.sendall(b"x")
            assert sock.recv(1) == b"x"


def test_limit_of_a_plain_proxy_holds_for_its_handler(stage: Stage) -> None:
    """What a handler moves by itself, without a pipe, is limited as well."""
    body = bytes(SIZE)

    def answer(sock: socket.socket) -> None:
        sock.recv(65536)
        sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % SIZE + body)

    target = stage.serve(answer)
    rest = "limiters: [{name: l, limits: ['$$ 0 400KB']}]\n"
    text = SERVICE.format(handler="http", target=9, service="limiter: l") + rest
    with dial(stage.run(text).port("in")) as sock:
        sock.sendall(f"GET http://127.0.0.1:{target}/ HTTP/1.1\r\nHost: a\r\n\r\n".encode())
        sock.settimeout(10)
        started = time.monotonic()
        data = b""
        while len(data) < SIZE:
            data += sock.recv(65536)
        assert 0.35 < time.monotonic() - started < 1.5


def test_login_of_two_clients_at_once(stage: Stage) -> None:
    port = stage.run(proxy("auther: a", "", USERS)).port("in")
    target = stage.echo()
    first = socks(port, "127.0.0.1", target, user="ann:pw")
    second = socks(port, "127.0.0.1", target, user="ann:pw")
    for sock in (first, second):
        with sock:
            sock.sendall(b"x")
            assert sock.recv(1) == b"x"
