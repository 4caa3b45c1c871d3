"""The playground's web application: static files, and one socket for each visitor."""

from __future__ import annotations

import contextlib
import secrets
import socket as sockets
import threading
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.responses import Response
from starlette.routing import Mount, WebSocketRoute
from starlette.staticfiles import StaticFiles
from starlette.websockets import WebSocket, WebSocketDisconnect

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


def application(token: str) -> Starlette:
    """The application; a socket needs the token."""
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
    app = Starlette(routes=routes, lifespan=lifespan)
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
      address: with its token, to be opened in a browser.
    """

    def __init__(self, host: str = "127.0.0.1", port: int = 0, token: str | None = None) -> None:
        self.token = secrets.token_urlsafe(16) if token is None else token
        self.app = application(self.token)
        config = uvicorn.Config(
            self.app,
            host=host,
            port=port,
            log_level="warning",
            ws="websockets-sansio",
            ws_max_size=MESSAGE_BYTES,
            ws_max_queue=8,
            ws_ping_interval=20,
            ws_ping_timeout=20,
            limit_concurrency=200,
        )
        family = sockets.AF_INET6 if ":" in host else sockets.AF_INET
        self._socket = sockets.socket(family, sockets.SOCK_STREAM)
        self._socket.setsockopt(sockets.SOL_SOCKET, sockets.SO_REUSEADDR, 1)
        self._socket.bind((host, port))
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
