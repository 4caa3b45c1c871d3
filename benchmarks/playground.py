"""Load of the playground: how long requests of many visitors take who all train at once, and how long a frame takes.

    python benchmarks/playground.py [--visitors 20] [--seconds 20] [--require 300]

Each visitor plays and now and then changes the learning rate, as a person with a slider does; the time of each request
runs until its answer. Before that, one visitor's frames are timed: an epoch of 250 rows in batches of 10, the map at
100 by 100 and all maps of units. The exit status is 1 if 95 % of the requests take longer than ``--require``
milliseconds, or if any is lost.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import struct
import sys
import time

import numpy as np
from websockets.asyncio.client import ClientConnection, connect

from fnn.playground.messages import Visitor
from fnn.playground.server import Server

SETTINGS = {"layers": [{"units": 4}, {"units": 2}]}


def frame_times(count: int = 100) -> np.ndarray:
    """Milliseconds per frame of one visitor, without a socket."""
    visitor, times = Visitor(), []
    visitor.answer({"do": "set", "settings": SETTINGS})
    for _ in range(count + 3):
        start = time.perf_counter()
        visitor.train()
        visitor.frame().encode()
        times.append(1e3 * (time.perf_counter() - start))
    return np.array(times[3:])


class Client:
    """A visitor who plays, and asks for something now and then."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket, self.asked = socket, dict[str, float]()
        self.times, self.frames = list[float](), 0

    async def read(self) -> None:
        """Acknowledge frames, and note how long answers took."""
        async for message in self.socket:
            if isinstance(message, bytes):
                (length,) = struct.unpack_from("<I", message)
                number = json.loads(message[4 : 4 + length])["frame"]
                self.frames += 1
                await self.socket.send(json.dumps({"do": "ack", "frame": number}))
            elif (start := self.asked.pop(json.loads(message).get("id"), None)) is not None:
                self.times.append(1e3 * (time.perf_counter() - start))

    async def ask(self, **fields: object) -> None:
        """Send a message."""
        number = str(len(self.times) + len(self.asked))
        self.asked[number] = time.perf_counter()
        await self.socket.send(json.dumps({"id": number, **fields}))


async def visit(server: Server, seed: int, seconds: float) -> Client:
    """Play for some seconds, and change the learning rate twice a second."""
    rng = np.random.default_rng(seed)
    address = f"ws://127.0.0.1:{server.port}/ws?token={server.token}"
    async with connect(address, max_size=None) as socket:
        client = Client(socket)
        reader = asyncio.create_task(client.read())
        await client.ask(do="set", settings={**SETTINGS, "seed": seed})
        await client.ask(do="play")
        await asyncio.sleep(3)  # programs are compiled
        client.times.clear()
        client.frames = 0
        end = time.perf_counter() + seconds
        while time.perf_counter() < end:
            await client.ask(do="hyper", values={"learning_rate": float(rng.uniform(0.01, 0.1))})
            await asyncio.sleep(float(rng.uniform(0.2, 0.8)))
        while client.asked:
            await asyncio.sleep(0.05)
        reader.cancel()
        return client


async def load(server: Server, visitors: int, seconds: float) -> list[Client]:
    """All visitors at once."""
    return list(await asyncio.gather(*(visit(server, seed, seconds) for seed in range(visitors))))


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--visitors", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--require", type=float, default=np.inf, help="milliseconds for 95 %% of the requests")
    args = parser.parse_args()
    alone = frame_times()
    print(f"a frame of one visitor: median {np.median(alone):.1f} ms, 95 % under {np.percentile(alone, 95):.1f} ms")
    server = Server()
    server.start()
    clients = asyncio.run(load(server, args.visitors, args.seconds))
    server.stop()
    times = np.concatenate([client.times for client in clients])
    frames = np.array([client.frames for client in clients]) / args.seconds
    late = np.percentile(times, 95)
    print(f"{args.visitors} visitors, {len(times)} requests, all answered: median {np.median(times):.0f} ms, ", end="")
    print(f"95 % under {late:.0f} ms, longest {times.max():.0f} ms")
    print(f"frames a second of each: {frames.min():.1f} to {frames.max():.1f}")
    sys.exit(late > args.require)


if __name__ == "__main__":
    main()
