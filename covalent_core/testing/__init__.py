"""The conformance suite: what every executor must pass, run against any executor with pytest.

pytest is not a dependency of Covalent Core; install it to use this module.
"""

from __future__ import annotations

import pytest

pytest.register_assert_rewrite(
    *(
        f"{__name__}.{module}"
        for module in ("_backend", "_bench", "_cancelling", "_pack", "_packs", "_results", "_silence")
    )
)

from covalent_core.testing._probes import alive_in_any_namespace  # noqa: E402
from covalent_core.testing._suite import ExecutorSuite  # noqa: E402

__all__ = ["ExecutorSuite", "alive_in_any_namespace"]
