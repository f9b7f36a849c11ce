"""The report page: one HTML file that shows what a print became, without any network.

`look` takes the pictures while the print's pixels are at hand; `write` makes the page of them.
"""

from .look import Crop, Look, Sight, look
from .page import page

__all__ = ["Crop", "Look", "Sight", "look", "page"]
