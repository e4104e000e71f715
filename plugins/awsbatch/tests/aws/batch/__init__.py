"""AWS Batch: its API by botocore's own model, and jobs that are processes of this machine."""

from .service import Batch

__all__ = ["Batch"]
