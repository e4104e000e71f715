"""Run the tasks of Covalent Core on a Slurm cluster, on its login node or through SSH."""

from covalent_core_slurm._executor import SlurmExecutor
from covalent_core_slurm.errors import SlurmError, SlurmJobError, SlurmRefusedError, SlurmUnreachableError

__version__ = "0.1.0"

__all__ = ["SlurmError", "SlurmExecutor", "SlurmJobError", "SlurmRefusedError", "SlurmUnreachableError"]
