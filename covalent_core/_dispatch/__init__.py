"""The dispatcher: it takes dispatches up, walks their graphs and takes each job through its steps to its end.

Others use `serving`. Imports `_store`, `_executors`, `_model`.
"""
