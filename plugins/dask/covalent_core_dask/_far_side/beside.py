"""The agent beside a Dask worker: that of a host, which also says where it is and which processes live there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from covalent_core.backend.processes import Place, ProcessHandle

if TYPE_CHECKING:
    from covalent_core_ssh._far_side import agent
else:
    from . import agent


class BesideAgent(agent.Agent):
    """Answers what Dask workers are asked."""

    def place(self) -> dict[str, Any]:
        """Return where process ids mean what they mean here."""
        return {"place": str(Place.here())}

    def look(self, handles: list[str]) -> dict[str, Any]:
        """Return which of these processes are alive; one that cannot be seen from here is left out."""
        looks = {handle: ProcessHandle.parse(handle).is_alive() for handle in handles}
        return {"alive": {handle: alive for handle, alive in looks.items() if alive is not None}}


def main(mark: str, workdir: str, silence: float) -> None:
    """Become the agent."""
    agent.main(mark, workdir, silence, BesideAgent)
