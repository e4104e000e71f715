"""What a client calls: dispatch, cancel, look, take up again; and what it does so that a dispatcher lives.

Others use `api`, `result` and `spawn`. Imports `_compose`, `_store`, `_model`.
"""
