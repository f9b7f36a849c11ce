"""Removing blur at source resolution: where the deblurring network takes its place in the chain.

No such network is in the catalogue yet. `auto` then does nothing and the report says so; an
amount that was asked for is refused instead of being ignored.
"""

from __future__ import annotations

from wallprint_protocol.errors import BadInput


def check(amount: int | None) -> str:
    """A note for the report on a deblurring of `amount` (0..100, None = automatic).

    Raises:
        BadInput: an amount above 0 was asked for.
    """
    if amount:
        raise BadInput(
            f"Deblurring by {amount} was asked for, but no deblurring network is installed; "
            "use --deblur auto or 0.",
            code="E_MODEL_NOT_FOUND",
        )
    return "No deblurring network is installed; blur was left as it is." if amount is None else ""
