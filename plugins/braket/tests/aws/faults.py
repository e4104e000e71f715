"""What goes wrong between a client and AWS."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class Fault:
    """What is to go wrong with the next calls of an operation.

    Attributes:
        operation: Its name.
        then: ``close``: the connection is cut; ``silence``: nothing comes, for `seconds`; an HTTP status such as
            ``500``; or the name of an error of the API.
        accepted: Whether the call is carried out all the same.
        late: For how many seconds the answer comes before that is done.
        seconds: How long a silence lasts.
        times: With how many calls.
    """

    operation: str
    then: str
    accepted: bool = True
    late: float = 0.0
    seconds: float = 0.0
    times: int = 1
