"""The matrix, as data: every step, every place at it, and everything that can happen there."""

from __future__ import annotations

from dataclasses import dataclass

from covalent_core import hookspecs


@dataclass(frozen=True)
class Step:
    """What is true of a job at a step.

    Attributes:
        begun: Places at which the task runs and goes on running while the dispatcher is held.
        ended: Places that are reached only when the task has ended.
    """

    begun: tuple[str, ...] = ()
    ended: tuple[str, ...] = ()


#: A step of the core that is not here makes the suite fail.
STEPS = {
    "pickle": Step(),
    "upload": Step(),
    "provision": Step(begun=("after",)),
    "run": Step(begun=("before", "during"), ended=("after",)),
    "fetch": Step(ended=("before", "during", "after")),
}

#: The stops ``before-run``, ``during-run``, ``after-run`` and so on.
PLACES = ("before", "during", "after")

#: What happens while the dispatcher is held at a stop.
EVENTS = {
    "cancelled": ("cancel", "leave"),
    "killed": ("kill", "leave"),
    "killed then cancelled": ("kill", "leave", "cancel"),
    "cancelled then killed": ("hold the ending", "cancel", "leave", "kill at the ending"),
}

#: Hooks that may be called once a job has been cancelled.
AFTER_A_CANCEL = ("cancel", "cancel_members", "find", "release")


@dataclass(frozen=True)
class Cell:
    """One cell of the matrix."""

    step: str
    place: str
    event: str

    @property
    def stop(self) -> str:
        """The stop at which the dispatcher is held."""
        return f"{self.place}-{self.step}"

    @property
    def ending(self) -> str:
        """The stop that a dispatcher which carries out a cancel given there comes past."""
        # Whether a job that was cancelled while it was being provisioned must be ended at all is the executor's choice.
        return "before-cancel" if self.may_have_begun and self.stop != "during-provision" else "after-end"

    @property
    def begun(self) -> bool:
        """Whether the task is running there."""
        return self.place in STEPS[self.step].begun

    @property
    def ended(self) -> bool:
        """Whether the task has ended there."""
        return self.place in STEPS[self.step].ended

    @property
    def may_have_begun(self) -> bool:
        """Whether the backend may have been asked for compute there."""
        names = list(STEPS)
        at = names.index(self.step), PLACES.index(self.place)
        return at >= (names.index("provision"), PLACES.index("during"))

    def __str__(self) -> str:
        return f"{self.event} {self.place} {self.step}".replace(" ", "-")


CELLS = [Cell(step, place, event) for event in EVENTS for step in STEPS for place in PLACES]


@dataclass(frozen=True)
class MemberCell(Cell):
    """One cell of the matrix of packs.

    Attributes:
        member: What the cancelled one is at: ``waiting``, ``running`` or ``over``.
    """

    member: str

    def __str__(self) -> str:
        return f"{super().__str__()}-{self.member}"


def _members_at(step: str, place: str, event: str) -> tuple[str, ...]:
    """Return what the member can be at there, as far as a test of its own is worth it."""
    if place in STEPS[step].ended:
        return ("over",)

    if place not in STEPS[step].begun:
        return ("waiting",)

    # What the next dispatcher finds does not depend on where the one before it was held while the members ran.
    if event == "killed" or (event == "killed then cancelled" and (step, place) != ("run", "during")):
        return ("running",)

    return ("waiting", "running", "over")


def _is_about_packs(step: str, place: str, event: str) -> bool:
    # Without a cancel of a member, and with one that is cut off, a pack differs from a single task only while it runs.
    return event in ("cancelled", "killed then cancelled") or (step, place) == ("run", "during")


MEMBER_CELLS = [
    MemberCell(step, place, event, member)
    for event in EVENTS
    for step in STEPS
    for place in PLACES
    if _is_about_packs(step, place, event)
    for member in _members_at(step, place, event)
]


def steps_of_the_hookspecs() -> list[str]:
    """Return the hooks that are steps: all that may not be called after a cancel."""
    hooks = [name for name, function in vars(hookspecs).items() if hasattr(function, "covalent_core_spec")]
    return [name for name in hooks if name not in AFTER_A_CANCEL]
