"""Who may talk to the page, how much they may send, and what a browser may do with it: between the network and Gradio.

A page of another site must not reach a server on this machine through the visitor's browser. Two ways lead there. Its
scripts may send requests here: their Origin and Sec-Fetch-Site say so. And its name may be made to mean this machine
("DNS rebinding"), after which its scripts are of the same origin, and only the Host header tells. A name can be made to
mean any address, an address cannot: so Host has to be an address, or one of the machine's own names.
"""

from __future__ import annotations

import ipaddress
import os
import socket
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from pathlib import Path
from typing import Any, TypeAlias
from urllib.parse import urlsplit

Scope: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send: TypeAlias = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]

#: All files that uploads and results may take at one time, and all that one request may bring, in bytes.
MOST_KEPT, MOST_SENT = 512 * 2**20, 24 * 2**20
#: What a request counts as at least: small files take room on a disk, too.
_LEAST = 2**16

#: Gradio's own scripts are inline and make functions of text; nothing is taken from, or sent to, another host, and the
#: page stands in no frame.
POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; media-src 'self' data: blob:; font-src 'self' data:; connect-src 'self'; "
    "worker-src 'self' blob:; object-src 'none'; base-uri 'self'; form-action 'self'; frame-ancestors 'none'"
)
HEADERS: Mapping[str, str] = {
    "content-security-policy": POLICY,
    "x-frame-options": "DENY",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
}


def own_names(host: str) -> frozenset[str]:
    """The names, in small letters, under which a server that listens on `host` may be asked for."""
    names = {"localhost", host.strip("[]").lower()}
    if not is_loopback(host):
        name = socket.gethostname().lower()
        names |= {name, name.partition(".")[0], f"{name.partition('.')[0]}.local", socket.getfqdn().lower()}
    return frozenset(names - {""})


def is_loopback(host: str) -> bool:
    """Whether an address or name can be reached from this machine only."""
    address = _address(host)
    return host.lower() == "localhost" if address is None else address.is_loopback


def allowed_host(header: str, names: frozenset[str], *, loopback: bool) -> bool:
    """Whether a Host header is an address of this machine, as far as can be told, or one of its names.

    Args:
        header: NAME or NAME:PORT; the port may be another one, as behind a tunnel.
        names: see :func:`own_names`.
        loopback: only addresses of this machine itself are.
    """
    name = _name(f"//{header}")
    if name is None:
        return False
    address = _address(name)
    if address is None:
        return name.rstrip(".") in names
    return address.is_loopback or not loopback or name in names


def allowed_origin(headers: Mapping[str, str], *, navigation: bool) -> bool:
    """Whether a request comes from the page itself, or from a program that is no browser.

    Args:
        headers: of the request, names in small letters.
        navigation: whether it asks for the page, which a link elsewhere may do.
    """
    origin = headers.get("origin")
    if origin is not None and (_name(origin) is None or urlsplit(origin).netloc.lower() != headers["host"].lower()):
        return False
    site = headers.get("sec-fetch-site", "none")
    return site in ("none", "same-origin") or (navigation and headers.get("sec-fetch-mode") == "navigate")


def _name(url: str) -> str | None:
    try:
        parts = urlsplit(url)
        _ = parts.port  # a ValueError where it is no number
        return parts.hostname if parts.scheme in ("", "http", "https") and "@" not in parts.netloc else None
    except ValueError:
        return None


def _address(name: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(name.strip("[]"))
    except ValueError:
        return None


class Guard:
    """An ASGI application around another one.

    Args:
        app: the other one.
        host: the address that the server listens on.
        folder: where the other one keeps what is uploaded and downloaded.
    """

    def __init__(self, app: App, *, host: str, folder: Path) -> None:
        self._app = app
        self._names, self._loopback = own_names(host), is_loopback(host)
        self._folder = folder
        self._coming = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse a request with 403 or 413, or pass it on; every response gets :data:`HEADERS`."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        if why := self._refused(scope, headers):
            await _refuse(scope, send, 403, why)
            return
        if scope["type"] == "http" and scope["method"] not in ("GET", "HEAD", "OPTIONS"):
            await self._limited(scope, headers, receive, send)
            return
        await self._app(scope, receive, _with_headers(send))

    def _refused(self, scope: Scope, headers: Mapping[str, str]) -> str:
        if sum(name == b"host" for name, _ in scope["headers"]) != 1 or not allowed_host(
            headers["host"], self._names, loopback=self._loopback
        ):
            return f"this server is not called {headers.get('host', '')!r}: use the address that it printed"
        navigation = scope["type"] == "http" and scope["method"] == "GET" and scope["path"] == "/"
        if not allowed_origin(headers, navigation=navigation):
            return "requests of other sites are not answered"
        return ""

    async def _limited(self, scope: Scope, headers: Mapping[str, str], receive: Receive, send: Send) -> None:
        """Pass on a request with a body, which counts against both limits while it comes in."""
        length = headers.get("content-length", "")
        announced = int(length) if length.isascii() and length.isdigit() and len(length) < 19 else None
        upload = scope["path"].rstrip("/").endswith("/upload")
        room = MOST_SENT if not upload else min(MOST_SENT, MOST_KEPT - self._coming - bytes_below(self._folder))
        if (announced or 0) > room or room < _LEAST:
            await _refuse(scope, send, 413, "there is no room for so many bytes; try again later, or a smaller file")
            return
        counted = max(announced or MOST_SENT, _LEAST) if upload else 0
        self._coming += counted
        came = 0

        async def metered() -> MutableMapping[str, Any]:
            nonlocal came
            message = await receive()
            came += len(message.get("body", b""))
            return message if came <= room else {"type": "http.disconnect"}

        try:
            await self._app(scope, metered, _with_headers(send))
        finally:
            self._coming -= counted


def bytes_below(folder: Path) -> int:
    """Bytes of all files below a folder, small ones counted as what they take on a disk."""
    return sum(_size(os.path.join(place, name)) for place, _, names in os.walk(folder) for name in names)


def _size(path: str) -> int:
    try:
        return max(os.lstat(path).st_size, 4096)
    except OSError:  # removed meanwhile
        return 0


def _with_headers(send: Send) -> Send:
    extra = [(name.encode(), value.encode()) for name, value in HEADERS.items()]

    async def sent(message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            known = {name for name, _ in extra}
            message["headers"] = [pair for pair in message.get("headers", ()) if pair[0].lower() not in known] + extra
        await send(message)

    return sent


async def _refuse(scope: Scope, send: Send, status: int, why: str) -> None:
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": 1008})
        return
    body = f"{why}\n".encode()
    headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", str(len(body)).encode())]
    answer = _with_headers(send)
    await answer({"type": "http.response.start", "status": status, "headers": headers})
    await answer({"type": "http.response.body", "body": body})
