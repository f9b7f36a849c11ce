"""Cases inside the real GIMP that measure: the dialog's detail and lines, the passport's hashes."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from case_runner import run_all
from gimp_pictures import NONINTERACTIVE, PLUGIN, Gimp, Gio, Rect, Settings, Size

sys.path.insert(0, str(PLUGIN))
from wallprint_gimp import pixels, run
from wallprint_gimp.detail_meter import DetailMeter
from wallprint_gimp.texts import words
from wallprint_gimp.turns import Turns

from wallprint_protocol import plan_lines
from wallprint_protocol.print_plan import layer_job
from wallprint_protocol.row_hash import RowHash

_VALUES, _ROWS = 50, 256


def case_plan():
    """The photograph of WALLPRINT_PICTURE as the dialog has it: seconds of what it does."""
    path = Gio.File.new_for_path(os.environ["WALLPRINT_PICTURE"])
    image = Gimp.file_load(NONINTERACTIVE, path)
    layer = image.get_layers()[0]
    size, own = pixels.size_of(layer), pixels.format_of(layer)
    settings = Settings()
    meter = DetailMeter(image, layer, Turns(), lambda: None)
    detail_s = []
    for _round in range(3):  # the first starts the worker
        began_s = time.monotonic()
        detail = meter._ask(settings)
        detail_s.append(time.monotonic() - began_s)
    began_s = time.monotonic()
    for number in range(_VALUES):
        changed = Settings(width=50.0 + number)
        plan = run.plan_of(image, changed)
        job = layer_job(plan, Rect(0, 0, size.width, size.height))
        for text in (
            plan_lines.pixels_line(words(), plan, changed),
            plan_lines.advice_line(words(), plan),
            plan_lines.halo_line(words(), plan, changed),
            plan_lines.detail_line(words(), detail, job, plan.ppi),
            plan_lines.files_line(words(), plan, own.layout),
            plan_lines.cost_line(words(), changed, own.layout, size, job),
        ):
            assert text
    value_s = (time.monotonic() - began_s) / _VALUES
    rows = RowHash(size.width * own.layout.bytes_per_pixel)
    read = pixels.reader(layer, own.name)
    tops = range(0, size.height, _ROWS)
    strips = [Rect(0, y, size.width, min(_ROWS, size.height - y)) for y in tops]
    parts = [(strip, read(strip)) for strip in strips]
    began_s = time.monotonic()
    for strip, data in parts:
        rows.take(strip, data)
    hash_s = time.monotonic() - began_s
    return {
        "megapixels": Size(size.width, size.height).pixels / 1e6,
        "megabytes": sum(len(data) for _strip, data in parts) / 1e6,
        "detail_s": [round(s, 2) for s in detail_s],
        "value_s": round(value_s, 5),
        "hash_s": round(hash_s, 3),
    }


CASES = [case_plan]
if __name__ == "__main__":
    run_all(CASES)
