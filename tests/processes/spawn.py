"""Run a scenario of `scenarios.py` in several processes."""

import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

WORKER = Path(__file__).with_name("scenarios.py")
LIMIT = 600  # seconds; far more than any scenario takes


def free_port():
    """A port that was free a moment ago."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


class Processes:
    """Processes that run scenarios together; they are ended with the ``with`` statement."""

    def __init__(self, names, folder, count=2, devices=1, **environment):
        self.folder, self.count, self.names = Path(folder), count, names
        # Compiling takes the time here, as in conftest.py.
        settings = {"JAX_DISABLE_MOST_OPTIMIZATIONS": "1", **os.environ, "JAX_PLATFORMS": "cpu"}
        # On a busy machine a process may be slow without having ended.
        settings |= {"FNN_PROCESS_TIMEOUT": "120", **environment}
        settings["JAX_NUM_CPU_DEVICES"] = str(devices)
        port = free_port()
        self.logs = [self.folder / f"log-{number}.txt" for number in range(count)]
        self.running = []
        for number in range(count):
            command = [sys.executable, str(WORKER), ",".join(names), str(number), str(count), str(port), str(folder)]
            with open(self.logs[number], "w") as log:
                self.running.append(
                    subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, env=settings, cwd=self.folder)
                )

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        for process in self.running:
            process.kill()
            process.wait()

    def said(self):
        return [log.read_text(errors="replace") for log in self.logs]

    def wait(self, which=None):
        """The exit codes, of all processes or of these."""
        end = time.monotonic() + LIMIT
        try:
            return [process.wait(max(1, end - time.monotonic())) for process in which or self.running]
        except subprocess.TimeoutExpired:
            raise AssertionError("not over:\n" + "\n".join(self.said())) from None


def run(names, folder, count=2, devices=1, **environment):
    """What each scenario found, a list of one value for each process."""
    with Processes(names, folder, count, devices, **environment) as processes:
        codes = processes.wait()
        assert codes == [0] * count, "\n".join(processes.said())
    return {
        name: [json.loads(Path(folder, f"{name}-{number}.json").read_text()) for number in range(count)]
        for name in names
    }
