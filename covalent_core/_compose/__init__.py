"""What a user writes in a lattice, and how it becomes a transport graph.

Others use `electron`, `lattice`, `building`, `signature` and `pickling`. Imports `_model`, `_executors`, `_runner`.
"""
