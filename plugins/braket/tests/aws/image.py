"""The image in which jobs run: this Python with Amazon's SDK, and nothing of Covalent Core."""

from __future__ import annotations

import os
import sys
import sysconfig
from pathlib import Path


def build(folder: Path) -> Path:
    """Make a virtual environment of links to what is installed here, without ours; return its interpreter."""
    library = folder / "lib" / f"python{sys.version_info[0]}.{sys.version_info[1]}" / "site-packages"
    python = folder / "bin" / "python"
    library.mkdir(parents=True)
    python.parent.mkdir()
    base = Path(os.path.realpath(sys.executable))
    python.symlink_to(base)
    (folder / "bin" / "python3").symlink_to(base)
    (folder / "pyvenv.cfg").write_text(f"home = {base.parent}\ninclude-system-site-packages = false\n")

    for entry in Path(sysconfig.get_path("purelib")).iterdir():
        if "covalent" not in entry.name and entry.suffix != ".pth":
            (library / entry.name).symlink_to(entry)

    return python
