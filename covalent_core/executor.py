"""The executors of all installed plugins, as ``ct.executor.SlurmExecutor``; each is imported when it is first named."""

from __future__ import annotations

from covalent_core._executors.installed import installed, load_class
from covalent_core.errors import ExecutorNotFoundError

#: The plugins of this project, to tell whoever misses one what to install.
_DISTRIBUTIONS = {
    "SSHExecutor": "covalent-core-ssh",
    "SlurmExecutor": "covalent-core-slurm",
    "AWSBatchExecutor": "covalent-core-awsbatch",
    "BraketExecutor": "covalent-core-braket",
    "DaskExecutor": "covalent-core-dask",
}


def __getattr__(name: str) -> type:
    if name.startswith("_"):
        raise AttributeError(name)

    points = installed()

    for point in points.values():
        if point.attr == name:
            return load_class(point.name)

    found = ", ".join(f"{point.attr} ({point.name})" for point in points.values())
    advice = f"pip install {_DISTRIBUTIONS[name]}" if name in _DISTRIBUTIONS else "install the plugin that brings it"
    raise ExecutorNotFoundError(f"no executor class {name!r}; installed: {found}; {advice}")


def __dir__() -> list[str]:
    return [point.attr for point in installed().values()]
