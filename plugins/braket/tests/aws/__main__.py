"""Serve as long as somebody wants it.

``python -m aws`` writes where into standard output, and ends when standard input does. ``python -m aws FOLDER`` writes
it into a file of that folder, and ends when nobody holds the lock of the users there: see `sharing`.
"""

import sys
from pathlib import Path

from .server import serve
from .sharing import announce_in, wait_for_users

if len(sys.argv) > 1:
    folder = Path(sys.argv[1])
    serve(lambda where: announce_in(folder, where), lambda: wait_for_users(folder))
else:
    serve(lambda where: print(where, flush=True), sys.stdin.buffer.read)
