"""The executor of this machine, a plugin like any other: warm worker processes, each below a supervisor.

Others use `processes`. Imports `_executors`, `_runner`, `_model`.
"""
