"""Pack a job into a bundle: one zip that ``python`` runs, with the runner, cloudpickle and the job in it."""

from __future__ import annotations

import hashlib
import io
import json
import marshal
import mmap
import os
import pickle
import sys
import tempfile
import zipfile
from functools import cache
from importlib.machinery import SourceFileLoader
from importlib.util import MAGIC_NUMBER, source_hash
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from covalent_core._home import Home

if TYPE_CHECKING:
    from covalent_core._model.job import Job

#: Bundles above this many bytes are built in a file and handed on as a view of it.
IN_MEMORY_BYTES = 8 * 2**20

#: What of this package travels with a job. All of it runs on Python 3.8.
TRAVELLERS = (
    "__init__.py",
    "errors.py",
    "_runner/__init__.py",
    "_runner/deps.py",
    "_runner/exceptions.py",
    "_runner/modules.py",
    "_runner/task.py",
)
#: What travels as well where a sublattice is built. It runs on Python 3.10.
COMPOSERS = ("_compose", "_model")


#: The exit code of a bundle that says that the interpreter is too old.
TOO_OLD = 86

#: In words that the oldest interpreters know. Guarded, so that it can be loaded before there is a job.
BEGINNING = f"""\
import sys

if sys.version_info < (3, 8):
    here = (sys.version.split()[0], sys.executable)
    sys.stderr.write("Covalent Core needs Python 3.8 or newer where tasks run; this is %s (%s)\\n" % here)
    sys.exit({TOO_OLD})

from covalent_runner.__main__ import main

if __name__ == "__main__":
    main(sys.argv[1:])
"""


@cache
def runner_zip(*, composing: bool) -> bytes:
    """Return the part of a bundle that is the same for every job: a zip that is the runner.

    Args:
        composing: Whether it can also build graphs.
    """
    buffer = io.BytesIO()

    with zipfile.ZipFile(buffer, "w") as bundle:
        for name, file in runner_sources(composing=composing).items():
            # A ZipInfo of its own has a fixed date: equal sources give equal bytes.
            bundle.writestr(zipfile.ZipInfo(name), file.read_bytes(), zipfile.ZIP_DEFLATED)

        bundle.writestr(zipfile.ZipInfo("__main__.py"), BEGINNING)

    return buffer.getvalue()


def runner_sources(*, composing: bool) -> dict[str, Path]:
    """Return the files of which the runner is made, by their names in a bundle."""
    import cloudpickle

    here, pickler = Path(__file__).parents[1], Path(cloudpickle.__file__).parent

    # Under a name of its own: an installed covalent_core must not mix with the runner that has come with the job.
    travellers = [here / name for name in TRAVELLERS]
    runner = set((here / "_runner").glob("*.py")) - set(travellers[3:])
    composers = [file for wing in COMPOSERS if composing for file in sorted((here / wing).glob("*.py"))]
    sources = {f"covalent_runner/{file.name}": file for file in sorted(runner)}
    sources |= {f"covalent_core/{file.relative_to(here)}": file for file in travellers + composers}
    return sources | {f"cloudpickle/{file.name}": file for file in sorted(pickler.glob("*.py"))}


@cache
def compiled_runner() -> bytes:
    """Return a runner that can build graphs; what every start imports is compiled for this interpreter."""
    buffer = io.BytesIO(runner_zip(composing=True))

    with zipfile.ZipFile(buffer, "a") as bundle:
        for name, file in runner_sources(composing=False).items():
            loader = SourceFileLoader(file.stem, str(file))
            code = marshal.dumps(loader.source_to_code(bundle.read(name), str(file)))
            # As PEP 552 says: not to be compared with the source, which is beside it and of the same moment.
            header = MAGIC_NUMBER + (1).to_bytes(4, "little") + source_hash(bundle.read(name))
            bundle.writestr(zipfile.ZipInfo(f"{name}c"), header + code, zipfile.ZIP_DEFLATED)

    return buffer.getvalue()


def pack(job: Job) -> bytes | memoryview:
    """Return the bundle of `job`, a memory-mapped view where it is large."""
    spec = job.spec
    travelling = {} if job.values_folder else spec["values"]
    large = sum(size_of(*value) for value in travelling.values()) > IN_MEMORY_BYTES

    if not large:
        buffer = io.BytesIO()
        _write_bundle(buffer, job, spec)
        return buffer.getvalue()

    with tempfile.TemporaryFile() as file:
        _write_bundle(file, job, spec)
        file.flush()
        return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))


def _write_bundle(buffer: IO[bytes], job: Job, spec: dict[str, Any]) -> None:
    buffer.write(runner_zip(composing=any(task.graph for task in job.tasks)))

    with zipfile.ZipFile(buffer, "a") as bundle:
        if not job.values_folder:
            packed = {key: _add_value(bundle, f"values/{key}", *value) for key, value in spec["values"].items()}
            spec = {**spec, "values": packed}

        bundle.writestr("call", pickle.dumps(spec))
        bundle.writestr("job.json", json.dumps({**job.order, "grace": job.grace}))


def size_of(kind: str, content: Any) -> int:
    return Path(content).stat().st_size if kind == "file" else len(content)


def _add_value(bundle: zipfile.ZipFile, entry: str, kind: str, content: Any) -> tuple[str, Any]:
    if kind != "file":
        return kind, content

    bundle.write(content, entry)
    return "entry", entry


def runner_file(home: Home) -> Path:
    """Return the runner as a file of `home`, written if it is not there.

    For this interpreter it is compiled, which is half of what it takes to start; another one takes the sources.
    """
    content = runner_zip(composing=True)
    digest = hashlib.sha256(content).hexdigest()[:16]
    file = home.folder / f"runner-{digest}.{sys.implementation.cache_tag}.pyz"

    if not file.exists():
        part = file.with_suffix(f".{os.getpid()}")
        part.write_bytes(compiled_runner())
        part.replace(file)

    return file
