"""The modules of a task are found while it runs, and what was there before is there again afterwards."""

from __future__ import annotations

import importlib
import sys
from types import ModuleType

import cloudpickle
import pytest

from covalent_core._runner import modules


def test_one_that_was_there_comes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    real = ModuleType("of_both")
    monkeypatch.setitem(sys.modules, "of_both", real)
    before = dict(sys.modules)
    modules.begin()

    try:
        of_the_task = modules.own_module("of_both")
        inner = modules.own_module("of_the_task.inner")
        assert importlib.import_module("of_both") is of_the_task is not real
        assert importlib.import_module("of_the_task").inner is inner
        assert modules.own_module("of_both") is of_the_task
    finally:
        modules.end()

    assert sys.modules["of_both"] is real
    assert sys.modules == before
    assert not {"of_both", "of_the_task"} & cloudpickle.list_registry_pickle_by_value()


def test_in_a_client_nothing_is_put_among_the_modules() -> None:
    before = dict(sys.modules)

    assert modules.own_module("of_the_task").__name__ == "of_the_task"
    assert sys.modules == before
