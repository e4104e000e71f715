"""``python -m aws``: serve, and write where into standard output; end when standard input does."""

import sys

from .server import serve

serve(lambda where: print(where, flush=True), sys.stdin.buffer.read)
