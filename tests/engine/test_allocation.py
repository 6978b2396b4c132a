"""A large transfer with counters and limits allocates no buffers: one is shared by all conns."""

import gc
import subprocess
import sys
import tracemalloc

import pytest

from gostpy.net import pipe
from tests.engine.running import Stage, fetch

SIZE = 192 << 20
ALLOWED = 2 * len(pipe._large)
"""Bytes that may be allocated at a time: what a short write could not send, and small change."""

# the peers run in a process of their own, so that only the relay is measured
PEERS = """
import socket, sys, threading
server = socket.create_server(("127.0.0.1", 0))
print(server.getsockname()[1], flush=True)
size = int(sys.stdin.readline())
def receive():
    conn, _ = server.accept()
    buffer, left = bytearray(1 << 20), size
    while left > 0:
        left -= conn.recv_into(buffer)
    conn.sendall(b"!")
    conn.close()
taking = threading.Thread(target=receive)
taking.start()
client = socket.create_connection(("127.0.0.1", int(sys.stdin.readline())))
block = bytes(1 << 20)
client.sendall(block)
print("begun", flush=True)
sys.stdin.readline()
for _ in range((size >> 20) - 1):
    client.sendall(block)
assert client.recv(1) == b"!"
taking.join()
"""

TEXT = """
services:
- name: in
  addr: 127.0.0.1:0
  handler: {{type: tcp}}
  {service}
  forwarder: {{nodes: [{{name: t, addr: "127.0.0.1:{target}"}}]}}
limiters: [{{name: l, limits: ['$ 90GB 90GB', '$$ 80GB 80GB']}}]
"""


@pytest.mark.parametrize(
    "service",
    [
        pytest.param("", id="plain"),
        pytest.param("limiter: l\n  metadata: {enableStats: true}", id="metered"),
    ],
)
def test_transfer_allocates_no_buffers(stage: Stage, service: str) -> None:
    peers = subprocess.Popen(
        [sys.executable, "-c", PEERS], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    stage.later(peers.kill)
    with peers:
        target = int(peers.stdout.readline())
        running = stage.run(TEXT.format(service=service, target=target))
        peers.stdin.write(f"{SIZE}\n{running.port('in')}\n")
        peers.stdin.flush()
        assert peers.stdout.readline() == "begun\n"
        gc.collect()
        tracemalloc.start()
        try:
            before = tracemalloc.get_traced_memory()[0]
            tracemalloc.reset_peak()
            peers.stdin.write("go\n")
            peers.stdin.flush()
            assert peers.wait(30) == 0
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
    assert peak - before < ALLOWED


def test_no_blocks_are_left(stage: Stage) -> None:
    """A thousand conns later there is no more memory in use than before."""
    port = stage.run(TEXT.format(service="limiter: l", target=stage.greeter("x"))).port("in")

    def visit(times: int) -> int:
        for _ in range(times):
            assert fetch(port) == "x"
        gc.collect()
        return sys.getallocatedblocks()

    visit(200)
    before = visit(1)
    assert visit(300) - before < 600  # a leak of two objects per conn would show
