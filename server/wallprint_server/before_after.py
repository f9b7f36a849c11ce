"""Before and after at 1:1: the plain enlargement of a photograph beside its print, labelled.

For small pictures such as the demo's; knows nothing of how the print was made.
"""

from __future__ import annotations

from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from wallprint_protocol.print_size import Rect

from .imaging.files_in import open_source

_GAP_PX, _LABEL_PX, _FONT_PX = 8, 44, 24
_PAPER, _INK = (255, 255, 255), (40, 40, 40)


def before_after(photograph: Path, printed: Path, crop: Rect, target: Path) -> None:
    """Write the comparison as PNG.

    Args:
        photograph: the small picture, 8-bit RGB.
        printed: its print, 8-bit RGB, of the whole photograph (fit keep).
        crop: part of the print to show, print px.
        target: file to write.
    """
    with open_source(printed) as source:
        after = Image.frombytes("RGB", (crop.width, crop.height), source.read(crop))
        width, height = source.size.width, source.size.height
    with Image.open(photograph) as small:
        # Bicubic is what editors offer first. Only the part that is shown is enlarged.
        box = (
            crop.x * small.width / width,
            crop.y * small.height / height,
            (crop.x + crop.width) * small.width / width,
            (crop.y + crop.height) * small.height / height,
        )
        before = small.convert("RGB").resize(
            (crop.width, crop.height), Image.Resampling.BICUBIC, box=box
        )
    sheet = Image.new("RGB", (2 * crop.width + _GAP_PX, crop.height + _LABEL_PX), _PAPER)
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(_FONT_PX)
    for x, picture, label in (
        (0, before, "Plain enlargement (bicubic)"),
        (crop.width + _GAP_PX, after, "wallprint"),
    ):
        sheet.paste(picture, (x, _LABEL_PX))
        draw.text((x + 8, _LABEL_PX // 2), label, fill=_INK, font=font, anchor="lm")
    sheet.save(target)
