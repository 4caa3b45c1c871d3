"""The playground's web application: static files, and one socket for each visitor."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import os
import secrets
import socket as sockets
import threading
import time
from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import uvicorn
from starlette.applications import Starlette
from starlette.datastructures import Headers
from starlette.middleware import Middleware
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Mount, WebSocketRoute
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Receive, Scope, Send
from starlette.websockets import WebSocket, WebSocketDisconnect
from uvicorn.protocols.http.h11_impl import H11Protocol

from .sessions import MESSAGE_BYTES, Sessions

STATIC = Path(__file__).parent / "static"
HEADERS = {
    "Content-Security-Policy": (
        "default-src 'self'; img-src 'self' data: blob:; style-src 'self' 'unsafe-inline'; object-src 'none'; "
        "base-uri 'none'; form-action 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}


CONNECTIONS = 300
"""Connections at once, whatever they do; beyond them new ones are closed."""
SILENCE = 20.0
"""Seconds after which an HTTP connection without a request under way is closed."""


class Hosts:
    """The names by which browsers reach the server.

    A page from elsewhere can make its own host name resolve to this machine; the browser then takes the two for one
    site and lets it read everything here (DNS rebinding). So only numbers, names of this machine and those given are
    served.
    """

    def __init__(self, names: Iterable[str]) -> None:
        own = sockets.gethostname()
        self.given = {name.lower().rstrip(".") for name in names} - {"localhost"}
        self.names = {"localhost", own.lower(), f"{own}.local".lower(), *self.given}

    def known(self, host: str) -> bool:
        """Whether a ``Host`` header, a name or a number with or without a port, is one of ours."""
        try:
            name = (urlsplit(f"//{host}").hostname or "").rstrip(".")
        except ValueError:
            return False
        return _is_number(name) or name in self.names or name.endswith(".localhost")

    def same_site(self, origin: str | None, host: str) -> bool:
        """Whether a browser's ``Origin`` is this server; programs other than browsers send none.

        A proxy may change ``Host``, so that an origin whose name was given is ours too.
        """
        if origin is None:
            return True
        try:
            site = urlsplit(origin)
            other = site.hostname in self.given and not _is_number(site.hostname)
            return site.netloc.lower() == host.lower() or other
        except ValueError:
            return False


def _is_number(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


class Guard:
    """Answers requests for other hosts, and sockets of other sites, with an error."""

    def __init__(self, app: ASGIApp, hosts: Hosts) -> None:
        self.app, self.hosts = app, hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        host = headers.get("host", "")
        if self.hosts.known(host) and self.hosts.same_site(headers.get("origin"), host):
            await self.app(scope, receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 4403})
        else:
            text = f"{host!r} is not a name of this server; start it with --name NAME for each name that browsers use"
            if self.hosts.known(host):
                text = "a page of another site asked for this"
            await PlainTextResponse(text, 403)(scope, receive, send)


class Hurried(H11Protocol):
    """HTTP connections, bounded in number, and closed if they ask for nothing."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin; a full server ends it."""
        super().connection_made(transport)
        if len(self.connections) > CONNECTIONS:
            transport.close()
            return
        self._hurry = self.loop.call_later(SILENCE, self._close_if_silent)

    def _close_if_silent(self) -> None:
        if self.transport.is_closing() or self.transport.get_protocol() is not self:  # closed, or a page's socket now
            return
        if self.cycle is None or self.cycle.response_complete:
            self.transport.close()
        else:
            self._hurry = self.loop.call_later(SILENCE, self._close_if_silent)

    def connection_lost(self, exc: Exception | None) -> None:
        """End."""
        if hurry := getattr(self, "_hurry", None):
            hurry.cancel()
        super().connection_lost(exc)


def application(token: str, names: Iterable[str] = ()) -> Starlette:
    """The application; a socket needs the token, and everything a name of this server."""
    sessions = Sessions()

    async def visit(websocket: WebSocket) -> None:
        if not secrets.compare_digest(websocket.query_params.get("token", "").encode(), token.encode()):
            await websocket.close(4403, "wrong token")
            return
        await websocket.accept()
        with contextlib.suppress(WebSocketDisconnect):
            await sessions.serve(Page(websocket))
            await websocket.close()

    @contextlib.asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        yield
        sessions.close()

    routes = [WebSocketRoute("/ws", visit), Mount("/", Files(directory=STATIC, html=True, check_dir=False))]
    app = Starlette(routes=routes, lifespan=lifespan, middleware=[Middleware(Guard, hosts=Hosts(names))])
    app.state.sessions = sessions
    return app


class Page:
    """The socket of a page, of which only text is read."""

    def __init__(self, websocket: WebSocket) -> None:
        self.send_text, self.send_bytes = websocket.send_text, websocket.send_bytes
        self._receive = websocket.receive

    async def receive_text(self) -> str:
        """The next text; empty for anything else."""
        message = await self._receive()
        if message["type"] == "websocket.disconnect":
            raise WebSocketDisconnect(message.get("code") or 1000)
        return message.get("text") or ""


class Files(StaticFiles):
    """Static files with headers that keep out everything from elsewhere."""

    def file_response(self, *args: Any, **kwargs: Any) -> Response:
        """The response with these headers."""
        response = super().file_response(*args, **kwargs)
        response.headers.update(HEADERS)
        return response


class Server:
    """A playground served from a background thread.

    Attributes:
      address: with its token, to be opened in a browser. The socket listens from the start.
    """

    def __init__(
        self, host: str = "127.0.0.1", port: int = 0, token: str | None = None, names: Iterable[str] = ()
    ) -> None:
        self.token = secrets.token_urlsafe(16) if token is None else token
        self.app = application(self.token, (host, *names))
        config = uvicorn.Config(
            self.app,
            host=host,
            port=port,
            log_level="warning",
            http=Hurried,
            ws="websockets-sansio",
            ws_max_size=MESSAGE_BYTES,
            ws_max_queue=8,
            ws_ping_interval=20,
            ws_ping_timeout=20,
        )
        family = sockets.AF_INET6 if ":" in host else sockets.AF_INET
        self._socket = sockets.socket(family, sockets.SOCK_STREAM)
        try:
            if os.name == "posix":  # elsewhere it would share the port with another server
                self._socket.setsockopt(sockets.SOL_SOCKET, sockets.SO_REUSEADDR, 1)
            self._socket.bind((host, port))
            self._socket.listen(128)  # from here on browsers may connect, and wait until the server runs
        except OSError:
            self._socket.close()
            raise
        self.host, self.port = self._socket.getsockname()[:2]
        self._server = uvicorn.Server(config)
        self._thread: threading.Thread | None = None

    @property
    def address(self) -> str:
        """The address of the page."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}/?token={self.token}"

    def run(self) -> None:
        """Serve until interrupted."""
        self._server.run(sockets=[self._socket])

    def start(self) -> None:
        """Serve in a thread, and return when connections are accepted."""
        self._thread = threading.Thread(target=self.run, name="fnn-playground-server", daemon=True)
        self._thread.start()
        while not self._server.started and self._thread.is_alive():
            time.sleep(0.01)

    def stop(self) -> None:
        """Stop serving."""
        self._server.should_exit = True
        if self._thread is not None:
            self._thread.join()
        self._socket.close()
