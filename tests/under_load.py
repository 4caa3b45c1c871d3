"""Run pytest while other processes keep every processor busy: no test may depend on a clock or on a quiet machine.

    python tests/under_load.py --times 3 -- -n 2 tests/test_fit.py

What follows ``--`` goes to pytest. The other processes end with it, or after ``--limit`` seconds. With pytest-randomly
installed, the tests come in another order each time; pass ``-p randomly -p "randomly_seed=..."`` to repeat one.
"""

import argparse
import multiprocessing
import subprocess
import sys
import time


def spin(until: float) -> None:
    """Compute until a point in time."""
    while time.monotonic() < until:
        sum(range(10_000))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--processes", type=int, default=4, help="how many keep the processors busy; default 4")
    parser.add_argument("--times", type=int, default=1, help="runs of pytest, each of which must pass; default 1")
    parser.add_argument("--limit", type=float, default=3600.0, help="seconds after which all is ended; default 3600")
    parser.add_argument("pytest", nargs="*", help="arguments of pytest, after --")
    args = parser.parse_args()
    end = time.monotonic() + args.limit
    busy = [multiprocessing.Process(target=spin, args=(end,), daemon=True) for _ in range(args.processes)]
    for process in busy:
        process.start()
    try:
        for _ in range(args.times):
            command = [sys.executable, "-m", "pytest", *args.pytest]
            code = subprocess.run(command, timeout=end - time.monotonic(), check=False).returncode
            if code:
                sys.exit(code)
    finally:
        for process in busy:
            process.terminate()


if __name__ == "__main__":
    main()
