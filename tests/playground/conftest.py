"""What the tests of the playground share."""

import json
import struct

import numpy as np
import pytest
from browsing import address, browser, playground, serve  # noqa: F401  (fixtures)

pytest.importorskip("starlette")
pytest.importorskip("uvicorn")
pytest.importorskip("websockets")

from fnn.playground import views as sent
from fnn.playground.messages import Visitor


class Frame:
    """A decoded frame: its header, and its arrays by name."""

    def __init__(self, data):
        (length,) = struct.unpack_from("<I", data)
        assert length % 4 == 0
        self.header = json.loads(data[4 : 4 + length])
        self.arrays, self.ranges = {}, {}
        for entry in self.header["arrays"]:
            assert entry["offset"] % 4 == 0
            count = int(np.prod(entry["shape"]))
            values = np.frombuffer(data, entry["dtype"], count, 4 + length + entry["offset"])
            self.arrays[entry["name"]] = values.reshape(entry["shape"])
            self.ranges[entry["name"]] = entry.get("low"), entry.get("high")

    def __getitem__(self, name):
        return self.header[name]

    def real(self, name):
        """The numbers for which the 8 bits of an array stand."""
        low, high = self.ranges[name]
        return low + (high - low) * self.arrays[name].astype(float) / 255


class Page(Visitor):
    """A visitor whose messages are written as keyword arguments."""

    def do(self, do, **fields):
        return self.answer(json.loads(json.dumps({"do": do, **fields})))

    def see(self):
        return Frame(self.frame().encode())

    def frames_of(self, do, **fields):
        """The frames and the news that a message gives before its answer."""
        return [part for part in self.work({"do": do, **fields}) if isinstance(part, (dict, sent.Frame))]


@pytest.fixture
def page():
    return Page()


@pytest.fixture
def decode():
    return Frame


SMALL = {"layers": [{"units": 3}], "data": {"name": "circles", "size": 60}, "batch_size": 10, "seed": 0}
"""Settings of which most tests share the compiled programs."""


@pytest.fixture
def small():
    return json.loads(json.dumps(SMALL))
