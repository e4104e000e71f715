"""An AWS of one machine for tests: a real HTTP server whose Batch runs the jobs' commands as processes.

S3, CloudWatch Logs, IAM and STS are moto's. Batch is this package's own, for it has to be as unkind as AWS is.
"""

from .client import Aws
from .processes import Processes

__all__ = ["Aws", "Processes"]
