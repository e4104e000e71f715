"""What tasks write is shown when it has grown, and nothing is read before."""

from __future__ import annotations

import asyncio
from collections.abc import Hashable, Mapping

import pytest
from backend.jobs import job_of

from covalent_core._runner.protocol import OUTPUT_BYTES
from covalent_core.backend import Output
from covalent_core.backend.output import end_of, outputs

Files = Mapping[str, Hashable]


class Streams:
    """Shows looks at files whose content is given, and keeps what was read."""

    def __init__(self, *node_ids: int) -> None:
        job, self.reports = job_of(*node_ids)
        self.read: list[str] = []
        self._output = Output(job)

    def look(self, **files: str | None) -> None:
        contents = {f".{name[1:].replace('__', '-').replace('_', '.')}": content for name, content in files.items()}
        # What has gone since the look has no content any more.
        sizes = {name: 1 if content is None else len(content) for name, content in contents.items()}

        async def read_end(name: str) -> bytes:
            self.read.append(name)
            content = contents[name]

            if content is None:
                raise FileNotFoundError(name)

            return content.encode()

        asyncio.run(self._output.show(sizes, read_end))


def test_what_has_grown_is_shown_and_nothing_else_is_read() -> None:
    streams = Streams(3)
    streams.look(_process="link", _47_stdout="", _47_stderr="")
    streams.look(_47_stdout="a", _47_stderr="")
    streams.look(_47_stdout="a", _47_stderr="")
    streams.look(_47_stdout="a", _47_stderr="b")

    assert streams.reports.output == [(3, "a", ""), (3, "a", "b")]
    assert streams.read == [".47.stdout", ".47.stdout", ".47.stderr"]


def test_of_a_pack_it_is_the_first_that_has_not_ended() -> None:
    streams = Streams(3, 4)
    streams.look(_47_stdout="a")
    streams.look(_47_stdout="b", _3_outcome="")
    streams.look(_47_stdout="c", _3_outcome="", _4_outcome="")

    assert streams.reports.output == [(3, "a", ""), (4, "b", "")]


def test_those_that_run_side_by_side_have_files_of_their_own() -> None:
    streams = Streams(3, 4)
    streams.look(_node__4_stdout="four", _node__3_stderr="three")

    assert sorted(streams.reports.output) == [(3, "", "three"), (4, "four", "")]


def test_what_has_gone_since_the_look_is_left_out_and_looked_at_again() -> None:
    streams = Streams(3)
    streams.look(_47_stdout=None)
    streams.look(_47_stdout="a")

    assert streams.reports.output == [(3, "a", "")]


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"", ""),
        ("ä€😀".encode(), "ä€😀"),
        ("ä".encode()[1:] + b"b", "b"),
        ("😀".encode()[1:] + b"b", "b"),
        (b"a\xff", "a\N{REPLACEMENT CHARACTER}"),
        (b"x" + b"y" * OUTPUT_BYTES, "y" * OUTPUT_BYTES),
    ],
    ids=["nothing", "whole", "divided", "divided into four", "not text", "long"],
)
def test_the_end_is_text(content: bytes, text: str) -> None:
    assert end_of(content) == text


def test_files_of_nodes_that_have_ended_are_nobodys() -> None:
    files: Files = {".node-3.stdout": 1, ".47.stdout": "a token", ".3.outcome": 5}

    assert outputs(files, [4]) == {4: {".47.stdout": "a token"}}
    assert outputs(files, []) == {}
