"""The executor of this machine, a plugin like any other: warm worker processes, each below a supervisor.

Imports `backend`, `_executors`, `_runner`, `_model`.
"""
