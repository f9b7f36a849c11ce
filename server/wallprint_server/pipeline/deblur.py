"""Removing blur at source resolution: where the deblurring network takes its place in the chain.

No such network is in the catalogue yet. `auto` therefore leaves blur as it is (the report says
`deblur: 0`); an amount that was asked for is refused instead of being ignored.
"""

from __future__ import annotations

from wallprint_protocol.errors import BadInput


def check(amount: int | None) -> None:
    """Refuse what cannot be done: a deblurring of `amount` (0..100, None = automatic).

    Raises:
        BadInput: an amount above 0 was asked for.
    """
    if amount:
        raise BadInput(
            f"Deblurring by {amount} was asked for, but no deblurring network is installed; "
            "use --deblur auto or 0.",
            code="E_MODEL_NOT_FOUND",
        )
