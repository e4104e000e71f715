"""What runs first in the container of a hybrid job, in the order in which Amazon's own does it.

The user's code runs in a child that is told of no signal. What cannot be set up is written into a file, and the exit
code is 0 all the same. Each requirements.txt below the code is noted instead of installed.
"""

from __future__ import annotations

import importlib
import inspect
import json
import multiprocessing
import os
import runpy
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

ROOT = Path(sys.argv[1])
CODE = ROOT / "code"
EXTRACTED = CODE / "extracted"


def fail_setup(text: str) -> NoReturn:
    note_failure(text)
    print(text)
    sys.exit(0)


def note_failure(text: str) -> None:
    with open(ROOT / "output" / "failure", "a", encoding="utf-8") as file:
        file.write(text)


def unpack() -> None:
    compression = os.environ.get("AMZN_BRAKET_SCRIPT_COMPRESSION_TYPE", "")
    archive = next((CODE / "original").iterdir(), None)

    if archive is None:
        fail_setup((ROOT / "output" / "download").read_text(encoding="utf-8"))

    if compression.lower() in ("gzip", "zip"):
        try:
            shutil.unpack_archive(archive, EXTRACTED)
        except Exception as error:
            fail_setup(f"The archive {archive.name} of type {compression} cannot be unpacked.\nException: {error}")
    else:
        shutil.copy(archive, EXTRACTED)

    # At the end: what the image has installed goes before it.
    sys.path.append(str(EXTRACTED))


def note_requirements() -> None:
    found = sorted(str(file) for file in EXTRACTED.rglob("requirements.txt"))
    (ROOT / "output" / "requirements").write_text(json.dumps(found))

    for file in found:
        print(f"pip install -r {file}")


def entry() -> Callable[..., Any]:
    module, _, name = os.environ["AMZN_BRAKET_SCRIPT_ENTRY_POINT"].partition(":")

    if name:
        function: Callable[..., Any] = getattr(importlib.import_module(module), name)
        return function

    return lambda: runpy.run_module(module, run_name="__main__")


def arguments(function: Callable[..., Any]) -> dict[str, Any]:
    values = json.loads(Path(os.environ["AMZN_BRAKET_HP_FILE"]).read_text(encoding="utf-8"))

    try:
        inspect.signature(function).bind(**values)
    except TypeError:
        return {}

    kinds = inspect.getfullargspec(function).annotations
    return {name: kinds.get(name, str)(value) for name, value in values.items()}


def call(function: Callable[..., Any], values: dict[str, Any]) -> None:
    try:
        os.chdir(EXTRACTED)
        function(**values)
    except Exception as error:
        note_failure(f"{type(error).__name__}: {error}" if str(error) else type(error).__name__)
        raise


def main() -> None:
    print("Beginning Setup")
    unpack()
    note_requirements()
    function = entry()
    print("Running Code As Process")
    process = multiprocessing.Process(target=call, args=(function, arguments(function)))
    process.start()
    process.join()
    print("Code Run Finished")

    if process.exitcode:
        sys.exit(process.exitcode)


if __name__ == "__main__":
    main()
