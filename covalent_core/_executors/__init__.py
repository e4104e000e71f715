"""From the word of a user to an executor whose hooks can be called, and the bundle that is its payload.

Others use `installed`, `bound` and `bundle`. Imports `hookspecs`, `_model`.
"""
