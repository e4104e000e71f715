"""Run the tasks of Covalent Core as hybrid jobs of Amazon Braket, and circuits on its devices and simulators."""

from covalent_core_braket._executor import BraketExecutor
from covalent_core_braket.errors import BraketError, BraketJobError, BraketThrottledError, BraketUnreachableError

__version__ = "0.1.0"

__all__ = ["BraketError", "BraketExecutor", "BraketJobError", "BraketThrottledError", "BraketUnreachableError"]
