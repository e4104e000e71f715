"""``python -m aws``: serve, and write where into standard output; end when standard input does."""

import os
import sys
import threading

from .server import serve


def end_with_parent() -> None:
    """End as soon as nobody holds the other end of standard input."""
    sys.stdin.buffer.read()
    os._exit(0)


if __name__ == "__main__":
    threading.Thread(target=end_with_parent, daemon=True).start()
    serve(lambda where: print(where, flush=True))
