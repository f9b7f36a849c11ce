"""`wallprint demo`: the main job on a photograph that comes with scikit-image.

Saves it as a JPEG as a camera would, prints that through a real server, and puts before and after
side by side at 1:1.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from wallprint_protocol.errors import EXIT_DONE, BadInput, NotInstalled
from wallprint_protocol.print_plan import Settings
from wallprint_protocol.print_size import Rect, Size
from wallprint_protocol.request import STYLES

from ..before_after import before_after
from ..print_job import PrintOptions, make_print
from ..terminal import tell
from .print_options import add_size_options, add_where_options
from .single_job import single_job

if TYPE_CHECKING:
    from . import Subparsers

# 451 x 300 px, CC0, by Stefan van der Walt: fur, whiskers and eyes show what enlarging does.
PHOTOGRAPH = "chelsea.png"
DEFAULT_PRINT = "40cm"
JPEG_QUALITY = 90
# Where the eye falls, as a part of the photograph: the centre of the 1:1 crops.
FOCUS = (0.384, 0.377)
CROP_PX = 720


def add_to(subparsers: Subparsers, parents: Sequence[argparse.ArgumentParser]) -> None:
    """Add the parser."""
    parser = subparsers.add_parser(
        "demo",
        parents=list(parents),
        help="print a photograph that comes along, and show before and after",
        description="Enlarges a photograph that comes with scikit-image, through a real server, "
        "and leaves the print and a before/after picture.",
    )
    parser.add_argument("-o", dest="output", metavar="FOLDER", type=Path, default=Path("out"))
    add_size_options(parser, DEFAULT_PRINT)
    add_where_options(parser)
    parser.add_argument("--style", choices=STYLES, default="faithful", help="enhanced may invent")
    parser.add_argument("--json", action="store_true", help="one summary line on stdout")
    parser.add_argument("--quiet", action="store_true", help="no progress, only errors")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Make the demo; the exit code."""
    print_options = PrintOptions(
        Settings(
            preset=options.print_size,
            ppi=options.ppi,
            style=options.style,
            device=options.device,
        )
    )
    try:
        options.output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BadInput(
            f"The folder {options.output} cannot be made ({error.strerror}); name another with -o."
        ) from None
    photograph = _save_photograph(options.output / "photograph.jpg")
    target = options.output / "print.tif"
    with single_job(options, photograph.name) as job:
        outcome = make_print(
            photograph,
            print_options,
            lambda plan: target,
            job.connect,
            on_progress=job.line.show,
            should_cancel=job.cancelled,
        )
    size = outcome.size or Size(1, 1)
    picture = options.output / "before-after.png"
    before_after(photograph, target, _crop(size), picture)
    if options.json:
        summary = outcome.to_map()
        tell(json.dumps({**summary, "before_after": str(picture)}))
    elif not options.quiet:
        tell(outcome.sentence())
        tell(f"photograph:   {photograph.resolve()}")
        tell(f"print:        {target.resolve()}")
        tell(f"before/after: {picture.resolve()}")
    return EXIT_DONE


def _save_photograph(path: Path) -> Path:
    """The packaged photograph as a JPEG file."""
    try:
        import skimage
    except ImportError:
        raise NotInstalled(
            'The demo needs the photographs of scikit-image: pip install "wallprint[demo]".'
        ) from None
    from PIL import Image

    with Image.open(Path(skimage.__file__).parent / "data" / PHOTOGRAPH) as picture:
        picture.convert("RGB").save(path, quality=JPEG_QUALITY)
    return path


def _crop(size: Size) -> Rect:
    """The part of the print that is shown, whole and around FOCUS."""
    width, height = min(CROP_PX, size.width), min(CROP_PX, size.height)
    x = min(max(0, round(FOCUS[0] * size.width) - width // 2), size.width - width)
    y = min(max(0, round(FOCUS[1] * size.height) - height // 2), size.height - height)
    return Rect(x, y, width, height)
