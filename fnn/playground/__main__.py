"""``python -m fnn.playground``: serve the playground and open it in a browser."""

from __future__ import annotations

import argparse
import contextlib
import re
import threading
import webbrowser

from . import check_extra
from .lessons import LESSONS


def main(arguments: list[str] | None = None) -> None:
    """Print the address, open it, and serve until Ctrl-C."""
    parser = argparse.ArgumentParser("python -m fnn.playground", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: this machine alone)")
    parser.add_argument("--port", type=int, default=0, help="port (default: any free one)")
    parser.add_argument("--name", action="append", default=[], help="name by which browsers reach this machine")
    parser.add_argument("--token", help="token that the address carries (default: a random one)")
    parser.add_argument("--lesson", choices=list(LESSONS), help="lesson to begin with")
    parser.add_argument("--no-browser", action="store_true", help="print the address only")
    args = parser.parse_args(arguments)
    if args.token is not None and not re.fullmatch(r"[A-Za-z0-9._~-]+", args.token):
        parser.error("--token: expected one or more of the letters a to z, digits, and -._~")
    if not 0 <= args.port < 2**16:
        parser.error("--port: expected a number from 0 to 65535")
    try:
        check_extra()
    except ImportError as error:
        parser.exit(1, f"{error}\n")
    from .server import Server

    try:
        server = Server(args.host, args.port, args.token, args.name)
    except (OSError, UnicodeError) as error:  # the latter for a host that is no name
        parser.exit(1, f"cannot listen on {args.host}, port {args.port}: {getattr(error, 'strerror', None) or error}\n")
    address = server.address + (f"&lesson={args.lesson}" if args.lesson else "")
    # Ctrl-C may come as soon as the address is there; the server has ended in order by the time it raises this.
    with contextlib.suppress(KeyboardInterrupt):
        print(f"fnn playground: {address}  (Ctrl-C ends it)", flush=True)
        if not args.no_browser:
            threading.Thread(target=webbrowser.open, args=[address], daemon=True).start()
        server.run()


if __name__ == "__main__":
    main()
