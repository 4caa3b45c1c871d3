"""Visitors at once: each with a queue of messages, one thread of work at a time, and bounds on everything."""

from __future__ import annotations

import asyncio
import concurrent.futures
import json
import logging
import os
import time
from collections.abc import Callable, Generator
from typing import Protocol, TypeVar

from .._core.errors import InputError
from .choices import ACTIVATIONS, DATA, FEATURES, INITIALIZERS, OPTIMIZERS, PENALTIES
from .images import has_mnist
from .lessons import listed
from .messages import CHANGES, Json, Part, Visitor, read
from .programs import PROGRAMS, Program
from .settings import LIMITS, RefusalError, Settings, to_json
from .views import Frame

T = TypeVar("T")
VISITORS = 32
"""Open connections at most."""
WAITING = 32
"""Messages of one visitor that wait at most."""
MESSAGE_BYTES = 2**21
FRAMES = 2
"""Frames on the way to a page that it has not acknowledged."""
SECONDS = 0.05
"""After this time a job makes room for other visitors."""
IDLE_SECONDS = 3600.0
"""After this time without a message a visitor is sent away."""
WAITED_FOR = 600.0
"""After this time already, if somebody else waits for the place."""
AT_ONCE = ("play", "pause")
"""Messages that compute nothing, and so wait for no thread while others compile."""
_END = object()


class Socket(Protocol):
    """A connection to a page."""

    async def send_text(self, data: str) -> None:
        """Send text."""

    async def send_bytes(self, data: bytes) -> None:
        """Send bytes."""

    async def receive_text(self) -> str:
        """The next text."""


class Sessions:
    """All visitors of a server, and the threads that work for them."""

    def __init__(self) -> None:
        threads = max(2, min(4, os.cpu_count() or 1))
        self.pool = concurrent.futures.ThreadPoolExecutor(threads, "fnn-playground")
        self.turns = asyncio.Semaphore(threads - 1)  # for frames, so that a thread is left for messages
        self.open: set[Session] = set()
        # Compiling takes seconds and cannot be stopped: apart from other work, and without anything of a visitor.
        self.compilers = concurrent.futures.ThreadPoolExecutor(threads, "fnn-playground-compiler")

    async def serve(self, socket: Socket) -> None:
        """Serve one connection until it closes."""
        while len(self.open) >= VISITORS:  # again, as another newcomer may take the place that was made
            if not await self._make_room():
                count = "1 visitor is" if VISITORS == 1 else f"{VISITORS} visitors are"
                spanish = "1 visitante" if VISITORS == 1 else f"{VISITORS} visitantes"
                error = RefusalError("", f"{count} here already.", f"ya hay {spanish}.")
                await socket.send_text(json.dumps({"type": "error", "error": error.to_json()}))
                return
        session = Session(socket, self)
        self.open.add(session)
        try:
            await session.serve()
        finally:
            self.open.discard(session)
            session.left.set()

    async def _make_room(self) -> bool:
        """Send away the visitor that has been idle longest, if for long enough."""
        idle = [session for session in self.open if not session.leaving.is_set()]
        longest = min(idle, key=lambda session: session.last, default=None)
        if longest is None or time.monotonic() - longest.last < WAITED_FOR:
            return False
        longest.leaving.set()
        await longest.left.wait()
        return True

    def close(self) -> None:
        """End the threads."""
        for pool in (self.pool, self.compilers):
            pool.shutdown(wait=False, cancel_futures=True)


def deadline() -> Callable[[], bool]:
    """A function that says whether a job has worked long enough."""
    end = time.monotonic() + SECONDS
    return lambda: time.monotonic() >= end


class Session:
    """One visitor's connection."""

    def __init__(self, socket: Socket, sessions: Sessions) -> None:
        self.socket, self.turns = socket, sessions.turns
        self.pool, self.compilers = sessions.pool, sessions.compilers
        self.visitor = Visitor()
        self.waiting: asyncio.Queue[Json] = asyncio.Queue(WAITING)
        self.acknowledged = 0
        self.interrupting = 0  # waiting messages that end long work
        self.called = asyncio.Event()  # a message came
        self.stirred = asyncio.Event()  # or an acknowledgement
        self.last = time.monotonic()  # when the visitor did something last, or got something
        self.leaving, self.left = asyncio.Event(), asyncio.Event()

    async def serve(self) -> None:
        """Read messages and work on them until the connection closes."""
        await self.socket.send_text(json.dumps(hello()))
        worker = asyncio.create_task(self._work())
        reader = asyncio.create_task(self._read())
        leaving = asyncio.create_task(self.leaving.wait())
        tasks = {worker, reader, leaving}
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _read(self) -> None:
        """Put messages into the queue; what needs no work is done at once."""
        while True:
            try:
                text = await asyncio.wait_for(self.socket.receive_text(), IDLE_SECONDS)
            except TimeoutError:
                return
            self.last = time.monotonic()
            try:
                message = read(text)
                if message.get("do") == "ack":
                    self._acknowledge(message)
                else:
                    self.waiting.put_nowait(message)
                    self.interrupting += interrupts(message)
                    self.called.set()
            except asyncio.QueueFull:
                error = RefusalError("", "too many messages at once.", "demasiados mensajes a la vez.")
                await self._answer(message, {"error": error.to_json()})
            except RefusalError as error:
                await self._answer({}, {"error": error.to_json()})
            self.stirred.set()

    def _acknowledge(self, message: Json) -> None:
        number = message.get("frame")
        if isinstance(number, int) and not isinstance(number, bool):
            self.acknowledged = max(self.acknowledged, min(number, self.visitor.frames))

    async def _work(self) -> None:
        """Answer messages, and train between them."""
        while True:
            self.stirred.clear()
            if not self.waiting.empty():
                message = self.waiting.get_nowait()
                self.interrupting -= interrupts(message)
                await self._serve_message(message)
            elif self.visitor.playing and self.visitor.frames - self.acknowledged < FRAMES:
                self.called.clear()
                if await self._turn():
                    try:
                        frame = await self._run(self._next_frame)
                    finally:
                        self.turns.release()
                    await self.socket.send_bytes(frame)
            else:
                await self.stirred.wait()

    async def _turn(self) -> bool:
        """Wait for a turn to compute a frame, which the caller gives back; False if a message came first."""
        turn = asyncio.ensure_future(self.turns.acquire())
        called = asyncio.ensure_future(self.called.wait())
        try:
            await asyncio.wait({turn, called}, return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            if not turn.cancel():
                self.turns.release()
            raise
        finally:
            called.cancel()
        return not turn.cancel()

    def _next_frame(self) -> bytes:
        self.visitor.train(deadline())
        return self.visitor.frame().encode()

    async def _serve_message(self, message: Json) -> None:
        work = self.visitor.work(message, deadline)
        answer: Json = {}
        try:
            while (part := await self._next(message, work)) is not _END:
                self.last = time.monotonic()  # long work is no idleness
                if isinstance(part, Frame):
                    await self.socket.send_bytes(await self._run(part.encode))
                elif isinstance(part, Program):
                    if part not in PROGRAMS:
                        await asyncio.get_running_loop().run_in_executor(self.compilers, PROGRAMS.get, part)
                    continue
                elif isinstance(part, dict) and "type" in part:
                    await self.socket.send_text(json.dumps({"id": _id(message), **part}))
                elif isinstance(part, dict):
                    answer = part
                if self.interrupting and not isinstance(part, Frame) and not answer:
                    raise RefusalError("do", "interrupted.", "interrumpido.")
        except RefusalError as error:
            answer = {"error": error.to_json()}
        except InputError as error:
            spanish = "fnn no acepta estos ajustes."
            logging.getLogger(__name__).warning("%r", error)
            answer = {"error": RefusalError("", str(error), spanish).to_json()}
        except Exception as error:
            logging.getLogger(__name__).exception("a message of the playground failed")
            text = type(error).__name__
            answer = {"error": RefusalError("", f"the server failed: {text}.", f"el servidor falló: {text}.").to_json()}
        await self._run(work.close)
        await self._answer(message, answer if "error" in answer else {"ok": True, **answer})
        if "error" not in answer and self.visitor.journey is not None and message.get("do") in CHANGES:
            await self._send_frame()

    async def _next(self, message: Json, work: Generator[Part, None, None]) -> object:
        """The next part of the work, or its end; in a thread, unless it computes nothing."""
        if message.get("do") in AT_ONCE:
            return next(work, _END)
        return await self._run(lambda: next(work, _END))

    async def _send_frame(self) -> None:
        await self.socket.send_bytes(await self._run(lambda: self.visitor.frame().encode()))

    async def _answer(self, message: Json, answer: Json) -> None:
        await self.socket.send_text(json.dumps({"id": _id(message)} | answer, allow_nan=False))

    async def _run(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self.pool, work)


def interrupts(message: Json) -> bool:
    """Whether a message ends the long work before it."""
    return message.get("do") in ("pause", "set", "reset", "seed")


def _id(message: Json) -> object:
    """The number or short text by which a message asks for its answer."""
    found = message.get("id")
    return found if isinstance(found, (int, str)) and len(str(found)) <= 100 else None


def hello() -> Json:
    """The first message: what there is to choose from, and the limits."""
    return {
        "type": "hello",
        "limits": {name: list(limit) for name, limit in LIMITS.items()},
        "settings": to_json(Settings()),
        "optimizers": {
            name: {"hyper": one.hyper, "ranges": {key: list(span) for key, span in one.ranges.items()}}
            for name, one in OPTIMIZERS.items()
        },
        "activations": list(ACTIVATIONS),
        "initializers": list(INITIALIZERS),
        "penalties": list(PENALTIES),
        "features": list(FEATURES),
        "data": list(DATA),
        "mnist": has_mnist(),
        "lessons": listed(),
    }
