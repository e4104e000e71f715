"""What a Dask worker runs for us: it comes as a zip through the shared folder, with the agent of covalent-core-ssh.

The worker needs nothing but what it has: Python and distributed.
"""
