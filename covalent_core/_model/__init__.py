"""Pure data: transport graph, job, status, what a cancel has come to, and what all of these look like on their way.

Others use all of it. Imports `errors` only.
"""
