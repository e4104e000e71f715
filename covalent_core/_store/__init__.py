"""What survives: the database of a home, the values beside it, and every change that is made to them.

Others use `store`, `orders`, `journal`, `reading`, `transitions`, `values` and `database`. Imports `_model`, `_runner`.
"""
