"""What starts in an image needs Python 3.8 and nothing else."""

from __future__ import annotations

import ast
import io
import zipfile

import pytest

from covalent_core_awsbatch._start import AGENT, agent, start_command

#: AWS Batch takes no more characters than these for all overrides of a job together.
MOST_CHARACTERS = 8192


def sources() -> dict[str, str]:
    with zipfile.ZipFile(io.BytesIO(agent())) as bundle:
        found = {name: bundle.read(name).decode() for name in bundle.namelist()}

    return {**found, "the start command": start_command()}


@pytest.mark.parametrize("name", [*(f"{name}.py" for name in AGENT), "the start command"])
def test_it_is_written_in_the_words_of_python_3_8(name: str) -> None:
    ast.parse(sources()[name], name, feature_version=(3, 8))


def test_the_start_command_leaves_room_for_the_rest() -> None:
    assert len(start_command()) < MOST_CHARACTERS - 2000
