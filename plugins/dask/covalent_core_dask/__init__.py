"""Run electrons on a Dask cluster: Dask decides where, and what runs there can be stopped."""

from __future__ import annotations

from covalent_core_dask._executor import DaskExecutor

__version__ = "0.1.0"

__all__ = ["DaskExecutor"]
