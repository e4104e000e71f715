"""Run the tasks of Covalent Core as jobs of AWS Batch."""

from covalent_core_awsbatch._executor import AWSBatchExecutor
from covalent_core_awsbatch.errors import BatchError, BatchJobError, BatchRefusedError, BatchUnreachableError

__version__ = "0.1.0"

__all__ = ["AWSBatchExecutor", "BatchError", "BatchJobError", "BatchRefusedError", "BatchUnreachableError"]
