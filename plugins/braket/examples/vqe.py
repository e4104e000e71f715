"""A variational quantum eigensolver: the optimizer runs on this machine, and its circuits on a simulator of Braket.

``python vqe.py`` prints the energy of each step. Cancel it in the middle, with Ctrl-C and ``covalent-core cancel``, and
``ct.redispatch`` takes it up after the last step that has ended.
"""

from __future__ import annotations

import math
from typing import Any

import covalent_core as ct

#: Name the ARN of a device, a bucket and a region, and the circuits run there.
simulator = ct.executor.BraketExecutor(device="local:braket/braket_sv", shots=2000)

#: How far each step goes against the gradient.
RATE = 0.6


@ct.electron(executor=simulator)
def measure(angle: float) -> Any:
    """Return the circuits that measure X0 X1 and Z0 at an angle, and a quarter of a turn before and after it."""
    from braket.circuits import Circuit

    def state(shifted: float) -> Any:
        return Circuit().ry(0, shifted).cnot(0, 1)

    angles = (angle, angle + math.pi / 2, angle - math.pi / 2)
    return [circuit for one in angles for circuit in (state(one).h(0).h(1), state(one))]


@ct.electron
def energies(results: Any) -> list[float]:
    """Return the expectation of X0 X1 + Z0 at each of the angles."""

    def mean(counts: Any, qubits: int) -> float:
        signs = {bits: (-1) ** bits[:qubits].count("1") for bits in counts}
        return sum(signs[bits] * count for bits, count in counts.items()) / sum(counts.values())

    counts = [result.measurement_counts for result in results]
    return [mean(xx, 2) + mean(z, 1) for xx, z in zip(counts[::2], counts[1::2], strict=True)]


@ct.electron
def improve(angle: float, found: list[float]) -> float:
    """Go a step against the gradient, by the parameter-shift rule."""
    _, after, before = found
    return angle - RATE * (after - before) / 2


@ct.lattice
def vqe(steps: int, angle: float) -> list[list[float]]:
    """Return the energies of each step."""
    found = []

    for _ in range(steps):
        found.append(energies(measure(angle)))
        angle = improve(angle, found[-1])

    return found


if __name__ == "__main__":
    result = ct.dispatch_sync(vqe)(6, 2.5)

    for step, (energy, *_) in enumerate(result.result):
        print(f"step {step}: {energy:.2f}")

    print(f"the lowest there is: {-math.sqrt(2):.2f}")
