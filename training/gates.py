"""What a trained network must reach before it may be shipped.

Knows nothing of how it was trained.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Gate:
    """One number and its bound.

    Attributes:
        name: what was measured.
        value: what was found.
        bound: what is asked for.
        most: the bound is the largest value allowed, not the smallest.
    """

    name: str
    value: float
    bound: float
    most: bool = False

    @property
    def passed(self) -> bool:
        """Whether the number is good enough (one that is undefined never is)."""
        return self.value <= self.bound if self.most else self.value >= self.bound

    def text(self) -> str:
        """One line for people."""
        sign = "<=" if self.most else ">="
        verdict = "passed" if self.passed else "FAILED"
        return f"{self.name}: {self.value:+.3f} ({sign} {self.bound:g}) {verdict}"

    def to_map(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "name": self.name,
            "value": round(self.value, 4),
            "bound": self.bound,
            "at_most": self.most,
            "passed": self.passed,
        }
