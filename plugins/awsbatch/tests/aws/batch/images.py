"""The images that there are: a Python, and an ENTRYPOINT that does with the command what entrypoints do."""

from __future__ import annotations

import functools
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

# What follows ENTRYPOINT is the job's command. By the last part of the image's name, before the colon.
ENTRYPOINTS: dict[str, list[str]] = {
    "python": [],
    "entrypoint-exec": ["sh", "-c", 'exec "$@"', "entrypoint"],
    "entrypoint-unquoted": ["sh", "-c", "exec $*", "entrypoint"],
    "entrypoint-eval": ["sh", "-c", "eval $@", "entrypoint"],
    "entrypoint-drops": ["sh", "-c", "echo this image does one thing only", "entrypoint"],
    "entrypoint-deaf": ["sh", "-c", 'trap "" TERM; "$@"; exit $?', "entrypoint"],
    "entrypoint-waits": ["sh", "-c", '"$@"; exit $?', "entrypoint"],
    "entrypoint-python": ["python3"],
    "no-python": [],
}
_PROGRAMS = "sh bash env cat echo ls sleep true false kill mkdir rm".split()


@dataclass(frozen=True)
class Image:
    """What a container starts from.

    Attributes:
        entrypoint: What the command is given to.
        path: ``PATH`` in the container.
    """

    entrypoint: tuple[str, ...]
    path: str


class ImageNotFoundError(Exception):
    """A registry does not have it."""


class Images:
    """Makes images below one folder, each once."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.image = functools.cache(self._image)

    def _image(self, name: str) -> Image:
        """Return the image of this name.

        ``python:3.9`` has that version, as has ``entrypoint-exec:3.9``; one without a version has the interpreter of
        the tests, without their packages.

        Raises:
            ImageNotFoundError: There is no such image, or no such Python on this machine.
        """
        repository, _, tag = name.rpartition("/")[2].partition(":")

        if repository not in ENTRYPOINTS:
            raise ImageNotFoundError(f"pull access denied for {name}, repository does not exist or may require login")

        programs = {program: shutil.which(program) or f"/bin/{program}" for program in _PROGRAMS}
        folder = self._folder / re.sub(r"\W", "_", name)

        if repository == "no-python":
            return Image((), str(_filled(folder, programs)))

        interpreter = _interpreter(name, tag)
        programs |= {"python": interpreter, "python3": interpreter}
        return Image(tuple(ENTRYPOINTS[repository]), f"{_filled(folder, programs)}:/usr/local/bin:/usr/bin:/bin")


def _filled(folder: Path, programs: dict[str, str]) -> Path:
    """Return a new folder with links to these programs."""
    folder.mkdir(parents=True)

    for name, program in programs.items():
        (folder / name).symlink_to(program)

    return folder


def _interpreter(image: str, tag: str) -> str:
    version = re.match(r"3\.\d+", tag)

    if version is None:
        return str(Path(sys._base_executable).resolve())  # type: ignore[attr-defined]

    for found in _candidates(f"python{version[0]}"):
        asked = [found, "-c", "import sys; print(getattr(sys, '_base_executable', None) or sys.executable)"]
        answer = subprocess.run(asked, capture_output=True, text=True)

        if answer.returncode == 0:
            return str(Path(answer.stdout.strip()).resolve())

    raise ImageNotFoundError(f"manifest for {image} not found: manifest unknown: manifest unknown")


def _candidates(program: str) -> list[str]:
    """Where an interpreter of this version may be: on the PATH, or one that pyenv has and has not switched on."""
    shelf = Path.home() / ".pyenv" / "versions"
    kept = [str(path) for path in sorted(shelf.glob(f"{program.removeprefix('python')}.*/bin/{program}"))]
    found = shutil.which(program)
    return kept if found is None else [found, *kept]
