"""Requests that another site's page could make a browser send are not answered, and nobody can fill the disk."""

from __future__ import annotations

import asyncio
import socket

import pytest

from neuronscope.errors import InvalidOption
from neuronscope.explorer import guard
from neuronscope.explorer.address import FIRST_PORT, InvalidHost, free_port
from neuronscope.explorer.guard import HEADERS, Guard, allowed_host, bytes_below, is_loopback, own_names


def ask(app, *pairs, path="/config", method="GET", body=(), kind="http"):
    """Status, headers and body of the answer to a request."""
    told = []
    messages = [{"type": "http.request", "body": part, "more_body": True} for part in body]
    coming = iter([*messages, {"type": "http.request", "body": b"", "more_body": False}])

    async def receive():
        return next(coming)

    async def send(message):
        told.append(message)

    headers = [(name.encode(), value.encode()) for name, value in pairs]
    scope = {"type": kind, "method": method, "path": path, "headers": headers}
    asyncio.run(app(scope, receive, send))
    if kind == "websocket":
        return told[0]["type"], {}, b""
    return told[0]["status"], dict(told[0]["headers"]), b"".join(one.get("body", b"") for one in told)


async def inner(scope, receive, send):
    """Reads everything and says how much that was."""
    came = 0
    if scope["type"] == "websocket":
        await send({"type": "websocket.accept"})
        return
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            break
        came += len(message["body"])
        if not message["more_body"]:
            break
    await send({"type": "http.response.start", "status": 200, "headers": [(b"X-Frame-Options", b"ALLOW")]})
    await send({"type": "http.response.body", "body": str(came).encode()})


def made(host, folder):
    return Guard(inner, host=host, folder=folder)


REBOUND = [
    *(
        "evil.example",
        "evil.example:7860",
        "localhost.evil.example",
        "127.0.0.1.evil.example:7860",
        "127.1",
        "2130706433",
    ),
    *(
        "0x7f.0.0.1",
        "",
        "a@localhost",
        "localhost:port",
        "[::1",
        "localhost@evil.example",
        "xn--lcalhost-54a",
        "localh\u043est",
    ),
    *("127.0.0.1, evil.example", "rbndr.us", "7f000001.c0a80001.rbndr.us", "localtest.me", "169.254.169.254"),
]


@pytest.mark.parametrize("name", REBOUND)
def test_a_name_that_is_made_to_mean_this_machine_is_not_answered(tmp_path, name):
    status, headers, body = ask(made("127.0.0.1", tmp_path), ("host", name))
    assert status == 403
    assert b"use the address that it printed" in body
    assert headers[b"x-frame-options"] == b"DENY"
    assert ask(made("127.0.0.1", tmp_path), ("host", name), kind="websocket")[0] == "websocket.close"


@pytest.mark.parametrize(
    "name", ["127.0.0.1:7860", "localhost", "LOCALHOST:1", "[::1]:7860", "127.0.0.2", "localhost."]
)
def test_the_names_of_this_machine_are_answered(tmp_path, name):
    assert ask(made("127.0.0.1", tmp_path), ("host", name))[0] == 200


def test_a_server_for_others_is_asked_for_by_address_or_by_its_own_name(tmp_path):
    everywhere = made("0.0.0.0", tmp_path)
    for name in ("192.168.1.5:7860", "[fe80::1]:7860", "localhost", socket.gethostname()):
        assert ask(everywhere, ("host", name))[0] == 200
    assert ask(everywhere, ("host", "evil.example"))[0] == 403
    assert "box" in own_names("box")
    assert allowed_host("box:80", own_names("box"), loopback=False)


@pytest.mark.parametrize("hosts", [(), ("localhost", "localhost"), ("localhost", "evil.example")])
def test_a_request_has_one_host(tmp_path, hosts):
    assert ask(made("127.0.0.1", tmp_path), *(("host", name) for name in hosts))[0] == 403


FOREIGN = [
    *(
        "http://evil.example",
        "null",
        "https://localhost.evil.example",
        "http://localhost:1",
        "file://",
        "",
        "localhost:7860",
    ),
    *(
        "http://127.0.0.1:7860",
        "chrome-extension://abc",
        "http://localhost:7860.evil.example",
        "http://x@localhost:7860",
    ),
]


@pytest.mark.parametrize("origin", FOREIGN)
@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
def test_a_request_of_another_origin_is_not_answered(tmp_path, origin, method):
    status, _, body = ask(
        made("127.0.0.1", tmp_path), ("host", "localhost:7860"), ("origin", origin), method=method, path="/x"
    )
    assert (status, body) == (403, b"requests of other sites are not answered\n")


@pytest.mark.parametrize(
    ("site", "mode", "path", "status"),
    [
        ("cross-site", "no-cors", "/gradio_api/file=a", 403),
        ("same-site", "cors", "/config", 403),
        ("cross-site", "navigate", "/", 200),  # a link to the page
        ("cross-site", "navigate", "/gradio_api/file=a", 403),
        ("cross-site", "no-cors", "/", 403),
        ("same-origin", "cors", "/config", 200),
        ("none", "navigate", "/", 200),
    ],
)
def test_what_the_browser_says_of_a_request_counts(tmp_path, site, mode, path, status):
    pairs = (("host", "localhost"), ("sec-fetch-site", site), ("sec-fetch-mode", mode))
    assert ask(made("127.0.0.1", tmp_path), *pairs, path=path)[0] == status


def test_every_answer_tells_the_browser_what_it_may_do(tmp_path):
    _, headers, _ = ask(made("127.0.0.1", tmp_path), ("host", "localhost"), ("origin", "http://localhost"))
    assert {name.decode(): value.decode() for name, value in headers.items()}.items() >= HEADERS.items()
    assert len(headers) == len(HEADERS)  # the application's own are replaced
    assert "http" not in HEADERS["content-security-policy"]
    assert "frame-ancestors 'none'" in HEADERS["content-security-policy"]


def upload(app, *body, length=None, path="/gradio_api/upload"):
    pairs = [("host", "localhost")] + ([("content-length", str(length))] if length is not None else [])
    return ask(app, *pairs, path=path, method="POST", body=body)


def test_all_uploads_together_have_a_limit(tmp_path, monkeypatch):
    monkeypatch.setattr(guard, "MOST_KEPT", 10 * 2**20)
    app = made("127.0.0.1", tmp_path)
    assert upload(app, b"x" * 1000, length=1000)[::2] == (200, b"1000")
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "kept.png").write_bytes(b"x" * (9 * 2**20))
    assert upload(app, length=2 * 2**20)[0] == 413
    assert upload(app, b"x" * 1000, length=1000)[0] == 200
    assert int(upload(app, *[b"x" * 2**18] * 20)[2]) <= 2**20  # without a length it is cut where the room ends
    (tmp_path / "b.png").write_bytes(b"x" * 2**20)
    assert upload(app, length=1)[0] == 413
    (tmp_path / "b.png").unlink()
    assert upload(app, b"x", length=1)[0] == 200


@pytest.mark.parametrize("length", [guard.MOST_SENT + 1, 10**17, 10**30, "-1", "²", "1e9"])
def test_no_request_brings_more_than_its_limit(tmp_path, length):
    app = made("127.0.0.1", tmp_path)
    for path in ("/gradio_api/upload", "/gradio_api/queue/join"):
        status, _, body = upload(app, *[b"x" * 2**22] * 9, length=length, path=path)
        assert status == 413 or int(body) <= guard.MOST_SENT


def test_many_empty_files_take_room_too(tmp_path):
    for number in range(100):
        (tmp_path / f"{number}").touch()
    assert bytes_below(tmp_path) == 100 * 4096
    assert bytes_below(tmp_path / "missing") == 0


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1", "127.9.9.9"])
def test_this_machine_only(host):
    assert is_loopback(host)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "box", ""])
def test_others_too(host):
    assert not is_loopback(host)


@pytest.mark.parametrize(
    "host",
    [
        "192.0.2.1",
        "",
        " ",
        "no such host",
        "256.1.1.1",
        "2001:db8::1",
        "http://localhost",
        "a" * 300,
        "a\0b",
        "..",
        "[]",
    ],
)
def test_an_address_that_is_not_ours_is_refused_at_once(host):
    with pytest.raises(InvalidHost, match=r"^--host .* (cannot be listened on: .|is no address)") as caught:
        free_port(host)
    assert "\n" not in str(caught.value)


def test_a_port_is_the_one_asked_for_or_the_first_that_is_free():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        number = taken.getsockname()[1]
        with pytest.raises(InvalidOption, match=f"port {number} on 127.0.0.1 cannot be listened on"):
            free_port("127.0.0.1", number)
    assert free_port("127.0.0.1", number) == number
    assert free_port("127.0.0.1") >= FIRST_PORT
