"""What a node computes, as a digest: equal digests mean that the output of one can stand for that of the other."""

from __future__ import annotations

import hashlib
import pickletools
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

#: cloudpickle gives each class that goes by value a random name in each process.
_RANDOM = re.compile(r"[0-9a-f]{32}")


#: The file of a function that has come by value, as newer versions of cloudpickle name it.
FILE = "<dynamic-code>"


@dataclass(frozen=True)
class Computation:
    """A node, as far as it decides about its output.

    Attributes:
        function: The pickled function, or for a parameter its pickled value.
        call: The pickled arguments.
        sources: The nodes whose outputs stand in the two, in the order of their places, function first.
        needs: All nodes that must have completed before.
    """

    function: bytes
    call: bytes
    sources: Sequence[int]
    needs: Sequence[int]


def signatures(computations: Mapping[int, Computation]) -> dict[int, str]:
    """Return the digest of each node: of its function, its arguments and the digests of all that it needs."""
    found: dict[int, str] = {}
    pickles: dict[bytes, str] = {}

    def content(data: bytes) -> str:
        if data not in pickles:
            pickles[data] = digest(data)

        return pickles[data]

    waiting = list(computations)

    while waiting:
        node_id = waiting.pop()
        node = computations[node_id]
        missing = [source for source in node.needs if source not in found]

        if node_id in found:
            continue

        if missing:
            waiting += [node_id, *missing]
            continue

        parts = [content(node.function), content(node.call), *(found[source] for source in node.sources)]
        parts += ["needs", *sorted(found[source] for source in node.needs)]
        found[node_id] = hashlib.sha256(" ".join(parts).encode()).hexdigest()

    return found


def digest(data: bytes) -> str:
    """Return a digest of what a pickle says, without opening it.

    The same object pickled twice need not give the same bytes: whether two equal strings are one object shows in them.
    """
    words = _without_lines(_words(data)) if data else ()
    return hashlib.sha256("\n".join(words).encode()).hexdigest()


def _without_lines(words: Iterator[str]) -> Iterator[str]:
    """Leave out where in its file a function stands, and its lines there: a comment makes no other function of it."""
    for word in words:
        yield word

        if word == f"text {FILE!r}":
            # Its names, where it begins, the table of its lines.
            for following in words:
                if following.startswith("text b"):
                    break

                if following.startswith("text "):
                    yield following


def _words(data: bytes) -> Iterator[str]:
    """Give the instructions of a pickle with texts and bytes in place of the references to them."""
    texts: dict[int, str] = {}
    places: dict[int, int] = {}
    random: dict[str, int] = {}
    memo, last = 0, ""

    for opcode, argument, _ in pickletools.genops(data):
        if opcode.name in ("FRAME", "PROTO"):
            continue

        if opcode.name == "MEMOIZE":
            if last:
                texts[memo] = last
            else:
                places[memo] = len(places)

            memo += 1
            continue

        if opcode.name in ("BINGET", "LONG_BINGET"):
            last = ""
            place = int(argument or 0)
            yield texts[place] if place in texts else f"object {places[place]}"
            continue

        last = _text(argument, random) if isinstance(argument, (str, bytes)) else ""
        yield last or f"{opcode.name} {argument!r}"


def _text(argument: Any, random: dict[str, int]) -> str:
    if isinstance(argument, str) and _RANDOM.fullmatch(argument):
        return f"random {random.setdefault(argument, len(random))}"

    return f"text {argument!r}"
