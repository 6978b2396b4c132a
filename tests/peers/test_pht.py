"""PHT through nginx as a reverse proxy, and gRPC through nginx and beside sing-box.

sing-box is looked for in SING_BOX and on the PATH.
"""

from __future__ import annotations

import json
import os

import pytest

from tests.peers.stage import Stage, free_port, program

NGINX = """
daemon off; worker_processes 1; pid {folder}/pid; error_log /dev/null;
events {{ }}
http {{
  access_log off; client_body_buffer_size 1m;
  client_body_temp_path {folder}; proxy_temp_path {folder};
  fastcgi_temp_path {folder}; uwsgi_temp_path {folder}; scgi_temp_path {folder};
  {upstream}
  server {{
    listen 127.0.0.1:{port}{http2}; {settings}
    location / {{ {location} }}
  }}
}}
"""
UUID = "b831381d-6324-4d53-ad4f-8cda48b30811"


def nginx(stage: Stage, location: str, *, settings: str = "", http2: str = "") -> int:
    """Port of a reverse proxy."""
    port = free_port()
    text = NGINX.format(
        folder=stage.folder,
        port=port,
        location=location,
        settings=settings,
        http2=http2,
        upstream="",
    )
    config = stage.file("nginx.conf", text)
    stage.start(program("nginx"), "-e", "/dev/null", "-c", config, port=port)
    return port


def check(stage: Stage, node: str) -> None:
    port = stage.node("-L", "auto://127.0.0.1:0", "-F", node)
    stage.check("-x", f"http://127.0.0.1:{port}", "-p")
    stage.check("-x", f"socks5h://127.0.0.1:{port}")


@pytest.mark.parametrize(
    "more", ["", "proxy_http_version 1.1; proxy_set_header Connection '';"], ids=["1.0", "1.1"]
)
def test_pht_behind_nginx(stage: Stage, more: str) -> None:
    """nginx keeps answers back and sends its own requests; pulls say that they want none of it."""
    server = stage.node("-L", "relay+pht://127.0.0.1:0")
    port = nginx(stage, f"proxy_pass http://127.0.0.1:{server}; {more}")
    check(stage, f"relay+pht://127.0.0.1:{port}")


def test_phts_behind_nginx(stage: Stage) -> None:
    """A browser-like way: HTTP/2 up to nginx, HTTP/1.1 behind it."""
    both = stage.certificate()
    server = stage.node("-L", "relay+pht://127.0.0.1:0")
    settings = f"ssl_certificate {both}; ssl_certificate_key {both};"
    location = f"proxy_pass http://127.0.0.1:{server}; proxy_http_version 1.1;"
    port = nginx(stage, location, settings=settings, http2=" ssl http2")
    check(stage, f"relay+phts://127.0.0.1:{port}")


def test_grpc_behind_nginx(stage: Stage) -> None:
    both = stage.certificate()
    server = stage.node("-L", "relay+grpc://127.0.0.1:0?insecure=true")
    settings = f"ssl_certificate {both}; ssl_certificate_key {both}; client_max_body_size 0;"
    port = nginx(
        stage, f"grpc_pass grpc://127.0.0.1:{server};", settings=settings, http2=" ssl http2"
    )
    check(stage, f"relay+grpc://127.0.0.1:{port}")


def sing_box(stage: Stage, name: str, port: int, **config: object) -> None:
    text = json.dumps({"log": {"level": "warn"}, **config})
    found = os.environ.get("SING_BOX") or program("sing-box")
    stage.start(found, "run", "-c", stage.file(f"{name}.json", text), port=port)


def vless(kind: str, port: int, transport: bool, tag: str) -> dict[str, object]:
    """An inbound or outbound of sing-box."""
    made: dict[str, object] = {"type": "vless", "tag": tag}
    if kind == "in":
        made |= {"listen": "127.0.0.1", "listen_port": port, "users": [{"uuid": UUID}]}
    else:
        made |= {"server": "127.0.0.1", "server_port": port, "uuid": UUID}
    if transport:
        made["transport"] = {"type": "grpc", "service_name": "svc"}
    return made


def proxy(port: int) -> dict[str, object]:
    return {"type": "mixed", "tag": "in", "listen": "127.0.0.1", "listen_port": port}


DIRECT = [{"type": "direct", "tag": "out"}]


def test_sing_box_calls(stage: Stage) -> None:
    """Its gRPC transport in, plain VLESS behind the tunnel."""
    behind, entry = free_port(), free_port()
    sing_box(stage, "server", behind, inbounds=[vless("in", behind, False, "in")], outbounds=DIRECT)
    node = stage.node(
        "-L", f"tcp+grpc://127.0.0.1:0/127.0.0.1:{behind}?insecure=true&path=/svc/Tun"
    )
    sing_box(
        stage, "client", entry, inbounds=[proxy(entry)], outbounds=[vless("out", node, True, "out")]
    )
    stage.check("-x", f"socks5h://127.0.0.1:{entry}")


def test_sing_box_is_called(stage: Stage) -> None:
    behind, entry = free_port(), free_port()
    sing_box(stage, "server", behind, inbounds=[vless("in", behind, True, "in")], outbounds=DIRECT)
    node = stage.node(
        "-L",
        "tcp://127.0.0.1:0/127.0.0.1:1",
        "-F",
        f"forward+grpc://127.0.0.1:{behind}?insecure=true&path=/svc/Tun",
    )
    sing_box(
        stage,
        "client",
        entry,
        inbounds=[proxy(entry)],
        outbounds=[vless("out", node, False, "out")],
    )
    stage.check("-x", f"socks5h://127.0.0.1:{entry}")
