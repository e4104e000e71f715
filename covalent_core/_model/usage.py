"""What a job costs, as far as its executor can say it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from decimal import Decimal
from typing import Literal, get_args

#: A cost beforehand, a rate or sum that is not exceeded, what was billed, or that it is not known.
Kind = Literal["estimate", "at most", "billed", "unknown"]


@dataclass(frozen=True)
class Usage:
    """What a job costs; what is not known is unknown, and never 0.

    Attributes:
        kind: Whether the amount is an estimate beforehand, is not exceeded, was billed, or is unknown.
        amount: How much, in `currency`; None exactly if it is unknown.
        currency: The code of the currency, as ``"USD"``; empty exactly if the amount is unknown.
        per: What the amount is for, as ``"minute"``; empty for the whole job.
        text: What was counted or is not in the amount. If it is unknown: why, and this must be said.

    Raises:
        ValueError: The parts do not fit each other.
    """

    kind: Kind
    amount: Decimal | None = None
    currency: str = ""
    per: str = ""
    text: str = ""

    def __post_init__(self) -> None:
        if self.kind not in get_args(Kind):
            raise ValueError(f"the kind of a usage is {self.kind!r}; it is one of {', '.join(get_args(Kind))}")

        if self.kind == "unknown":
            if self.amount is not None or self.currency or not self.text:
                raise ValueError("a usage that is unknown has no amount and no currency, and a text that says why")
        elif self.amount is None or not self.amount.is_finite() or self.amount < 0 or not self.currency:
            raise ValueError(f"a usage that is {self.kind!r} has an amount of 0 or more, and a currency")

    def __str__(self) -> str:
        if self.amount is None:
            return f"unknown: {self.text}"

        said = f"{self.kind} {self.amount:f} {self.currency}" + (f" a {self.per}" if self.per else "")
        return f"{said} ({self.text})" if self.text else said

    def as_text(self) -> str:
        """Return it as the store keeps it."""
        amount = None if self.amount is None else str(self.amount)
        return json.dumps([self.kind, amount, self.currency, self.per, self.text])

    @classmethod
    def of_text(cls, text: str) -> Usage:
        """Return what `as_text` gave."""
        kind, amount, currency, per, words = json.loads(text)
        return cls(kind, None if amount is None else Decimal(amount), currency, per, words)
