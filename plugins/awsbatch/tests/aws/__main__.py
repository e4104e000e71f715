"""``python -m aws``: the endpoint, at a port of its own choice, which is the first line that it writes."""

from .server import main

main()
