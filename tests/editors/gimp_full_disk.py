"""Inside gimp-console: a print that the server's disk has no room for."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from case_runner import run_all
from gimp_pictures import Gimp, call, enhance, make, read


def case_full_disk():
    image, layer, data, _layout = make("rgba_u16", 160, 120)
    values = {"width": 3200.0, "unit": "px", "repair": 0, "deblur": 0}
    result = call("plug-in-wallprint-enhance", image, layer, **values)
    assert result.index(0) == Gimp.PDBStatusType.EXECUTION_ERROR, "61 MB fit on this disk"
    text = str(result.index(1))
    assert "Traceback" not in text
    assert read(layer) == data
    assert (image.get_width(), len(image.get_layers())) == (160, 1)
    enhance(image, layer)  # what has room still works
    assert image.get_width() == 96
    return {"message": text}


run_all([case_full_disk])
