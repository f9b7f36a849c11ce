"""Inside gimp-console: one job that takes a while; the test outside kills something meanwhile."""

from __future__ import annotations

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from case_runner import run_all
from gimp_pictures import Gimp, call, make, read

ENHANCE = "plug-in-wallprint-enhance"


def case_long_job():
    kind = os.environ.get("WALLPRINT_KIND", "rgba_u16")
    image, layer, data, _layout = make(kind, 160, 120)
    Path(os.environ["WALLPRINT_TEST_BASE"], "long-job-started").touch()
    result = call(ENHANCE, image, layer, width=6400.0, unit="px", repair=0, deblur=0)
    assert result.index(0) == Gimp.PDBStatusType.EXECUTION_ERROR, "it was not disturbed"
    text = str(result.index(1))
    assert "Traceback" not in text
    assert read(layer) == data
    assert (image.get_width(), len(image.get_layers())) == (160, 1)
    return {"message": text}


run_all([case_long_job])
