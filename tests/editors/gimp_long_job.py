"""Inside gimp-console: one job that takes a while; the test outside kills something meanwhile."""

from __future__ import annotations

import os
import runpy
from pathlib import Path

cases = runpy.run_path(str(Path(__file__).parent / "gimp_cases.py"))
Gimp = cases["Gimp"]


def case_long_job():
    kind = os.environ.get("WALLPRINT_KIND", "rgba_u16")
    image, layer, data, _layout = cases["make"](kind, 160, 120)
    Path(os.environ["WALLPRINT_TEST_BASE"], "long-job-started").touch()
    result = cases["call"](
        "plug-in-wallprint-enhance", image, layer, width=6400.0, unit="px", repair=0, deblur=0
    )
    assert result.index(0) == Gimp.PDBStatusType.EXECUTION_ERROR, "it was not disturbed"
    text = str(result.index(1))
    assert "Traceback" not in text
    assert cases["read"](layer) == data
    assert (image.get_width(), len(image.get_layers())) == (160, 1)
    return {"message": text}


cases["run_all"]([case_long_job])
