"""The report page: pictures by formula, a real browser where there is one."""

from __future__ import annotations

import base64
import html.parser
import io
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from wallprint_protocol.passport import Passport
from wallprint_protocol.pixels import PixelLayout
from wallprint_protocol.print_size import Rect, Size, place
from wallprint_protocol.request import Request
from wallprint_server.report_page import Crop, Look, Sight, look, page
from wallprint_server.report_page import look as look_module
from wallprint_server.seen_from import EYES, seen_size

SOURCE, OUT = Size(600, 450), Size(2400, 1800)
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("chrome")
STAGES = [
    {"stage": "repair", "network": "waifu2x-photo-denoise1", "sha256": "ab" * 32, "strength": 30},
    {"stage": "enlarge", "network": "span-x4", "sha256": "cd" * 32, "strength": 100,
     "style": "faithful"},
    {"stage": "sharpen", "medium": "matte", "sigma_px": 2.0, "amount": 1.15, "halo_px": 4.0,
     "measured": {"width_px": 4.2, "width_mm": 0.5334, "overshoot": 0.2, "edge_px": 0.7,
                  "edges": 57}},
]  # fmt: skip
REPORT = {
    "stages": STAGES, "device": "<CPU> & co", "software": {"torch": "2"}, "redone_tiles": 0,
    "seams": {"borders": 12, "worst_levels": 0.02, "redone_tiles": 0, "left": 0},
    "seconds": {"enlarge": 3.0, "sharpen": 1.0},
    "detail": {"true_ppi": 118.2, "honest_mm": [590.0, 410.0]},
}  # fmt: skip


def uri(colour: tuple[int, int, int], size: tuple[int, int] = (1040, 640)) -> str:
    file = io.BytesIO()
    Image.new("RGB", size, colour).save(file, "JPEG")
    return "data:image/jpeg;base64," + base64.b64encode(file.getvalue()).decode()


def passport(stages: list[dict[str, Any]]) -> Passport:
    request = Request.build(SOURCE, PixelLayout("RGB", "u8"), place(SOURCE, OUT, "keep"))
    report = {**REPORT, "stages": stages}
    return Passport(request, "12" * 32, "file", "34" * 32, report, icc="Some RGB")


def a_page(
    notes: tuple[str, ...] = ("A <note> & more.",), stages: list[dict[str, Any]] = STAGES
) -> str:
    red, blue = uri((220, 30, 30)), uri((30, 30, 220))
    crops = (
        Crop("finest detail", Rect(100, 100, 1040, 640), red, blue, Size(1040, 640)),
        Crop("strongest edge", Rect(1200, 900, 1040, 640), red, blue, Size(1040, 640)),
    )
    small = uri((220, 30, 30), (520, 320)), uri((30, 30, 220), (520, 320))
    far = Crop("from 188 cm, eye 20/20", Rect(100, 100, 2080, 1280), *small, Size(520, 320))
    sights = (Sight("20/20", 1880.0, 0.004, far), Sight("20/12", 1880.0, 0.25, far))
    shown = tuple((name, uri((9, 99, 9), (460, 300))) for name in ("input", "repair", "enlarge"))
    return page(
        Look(OUT, uri((90, 90, 90), (560, 420)), crops, sights, shown),
        passport(stages),
        name="<b>print</b>.tif",
        seconds=5.0,
        notes=notes,
    )


class Reader(html.parser.HTMLParser):
    """Tags and their attributes."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))


def test_the_page_is_whole_and_needs_nothing_else() -> None:
    text = a_page()
    tags = Reader(text).tags
    for tag, attributes in tags:
        for key in ("src", "href"):
            value = attributes.get(key) or ""
            assert value.startswith(("data:", "https://") if tag == "a" else "data:") or not value
        if tag == "img":
            assert attributes["alt"]
        if tag == "input":
            assert attributes["aria-label"]
    assert "url(" not in text
    assert "<b>print</b>" not in text
    assert "&lt;note&gt;" in text
    assert "Borders between tiles compared: 12" in text
    assert "118 ppi" in text
    assert "to an eye of 20/20 in less than 1 %, an eye of 20/12 in 25 % of the part shown" in text
    assert "0.53 mm" in text
    assert "measured at 57 edges" in text
    assert "made for matte to be 0.51 mm (4.0 px) wide" in text
    assert "59 × 41 cm" in text
    assert not re.search(r"\$[a-z]", re.sub(r"data:[^\"]*", "", text))
    assert "To know" not in a_page(notes=())


@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")
def test_in_a_browser(tmp_path: Path) -> None:
    """Images load, the slider moves, zoom is linked, nothing on the console."""
    probe = """<script>
    const note = [], fail = e => note.push("error " + (e.message || e));
    window.addEventListener("error", fail);
    window.addEventListener("load", () => {
      const pair = document.querySelector(".compare[data-on] .pair");
      const range = document.querySelector(".compare[data-on] input");
      note.push("images " + [...document.images].filter(i => i.naturalWidth > 0).length);
      range.value = 80; range.dispatchEvent(new Event("input"));
      note.push("at " + pair.style.getPropertyValue("--at"), range.getAttribute("aria-valuetext"));
      const wide = pair.getBoundingClientRect().width;
      document.querySelector("[data-zoom='2'][type=button]").click();
      const all = [...document.querySelectorAll(".compare")].map(c => c.dataset.zoom);
      note.push("zoom " + pair.getBoundingClientRect().width / wide + " " + all);
      document.querySelectorAll("[data-place]")[1].click();
      const shown = [...document.querySelectorAll(".compare")].map(c => c.offsetHeight > 0);
      note.push("shown " + shown);
      document.querySelector("[data-zoom='1'][type=button]").click();
      document.querySelectorAll("[data-place]")[2].click();
      const far = document.querySelector(".compare[data-on] .pair").getBoundingClientRect();
      const mark = document.querySelector(".overview i[data-on]").style.width;
      note.push("far " + far.width + " " + far.height + " " + mark);
      const out = document.createElement("pre"); out.id = "probe";
      out.textContent = note.join(" | ");
      document.body.append(out);
    });
    </script></head>"""
    text = a_page()
    file = tmp_path / "page.html"
    file.write_text(text.replace("</head>", probe, 1))
    assert CHROMIUM is not None
    run = subprocess.run(
        [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr",
         "--virtual-time-budget=3000", f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom",
         file.as_uri()],
        capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip
    found = re.search(r'<pre id="probe">(.*?)</pre>', run.stdout)
    assert found is not None, run.stderr[-2000:]
    assert "error" not in found[1]
    images = len(re.findall("<img", text))
    assert f"images {images} " in found[1]
    assert "at 80% | 80 % plain enlargement, 20 % print" in found[1]
    assert "zoom 2 2,2,2,2" in found[1]
    assert "shown false,true,false,false" in found[1]
    assert "far 520 320 86.67%" in found[1]
    assert "CONSOLE" not in run.stderr


@pytest.mark.parametrize(
    ("model", "dtype"), [("RGB", "u8"), ("RGB", "u16"), ("GRAY", "f32"), ("CMYK", "u8")]
)
def test_pictures_are_taken_where_they_tell_most(
    monkeypatch: pytest.MonkeyPatch, model: str, dtype: str
) -> None:
    """Texture on one side, a smooth ramp on the other; before and after show the same place."""
    layout = PixelLayout(model, dtype)
    y, x = np.mgrid[0 : OUT.height, 0 : OUT.width]
    value = 0.3 + 0.2 * x / OUT.width + np.where(x < 700, 0.2 * ((x // 4 + y // 4) % 2), 0)
    peak = {"u8": 255, "u16": 65535, "f32": 1}[dtype]
    kind = {"u8": np.uint8, "u16": np.uint16, "f32": np.float32}[dtype]
    full = np.repeat((value * peak)[..., None], layout.channels, 2).astype(kind)
    small = np.ascontiguousarray(full[2::4, 2::4])
    request = Request.build(SOURCE, layout, place(SOURCE, OUT, "keep"))
    jobs: list[Request] = []

    def read(array: np.ndarray):
        return lambda r: array[r.y : r.y + r.height, r.x : r.x + r.width].tobytes()

    def enhance(job: Request, source: Any, write: Any, **_: Any) -> None:
        jobs.append(job)
        whole = Rect(0, 0, job.out.width, job.out.height)
        write(whole, bytes(job.out.pixels * layout.bytes_per_pixel))

    monkeypatch.setattr(look_module.__globals__["client"], "enhance", enhance)
    found = look(request, read(small), read(full), REPORT, connection=None)  # type: ignore[arg-type]
    finest = found.crops[0]
    assert finest.name == "finest detail"
    assert finest.rect.x < 700
    smooth = next(crop for crop in found.crops if crop.name == "smoothest tones")
    assert smooth.rect.x > finest.rect.x
    before, after = (
        np.asarray(Image.open(io.BytesIO(base64.b64decode(u.partition(",")[2]))).convert("L"))
        for u in (smooth.before, smooth.after)
    )
    assert before.shape == after.shape == (640, 1040)
    assert np.abs(before.astype(int) - after).mean() < 3
    assert [sight.eye for sight in found.sights] == ["20/20", "20/12"]
    for sight in found.sights:
        before, after = (
            np.asarray(Image.open(io.BytesIO(base64.b64decode(u.partition(",")[2]))).convert("L"))
            for u in (sight.crop.before, sight.crop.after)
        )
        size = seen_size(sight.crop.rect.size, 200.0, sight.distance_mm, EYES[sight.eye])
        assert before.shape == after.shape == (size.height, size.width)
        # The same place: ramp and mean agree; and the squares of 4 px are seen from 57 cm.
        for part in (np.s_[:, :100], np.s_[:, -100:], np.s_[:80]):
            assert before[part].mean() == pytest.approx(after[part].mean(), abs=5)
        assert sight.share > 0.05
    assert [name for name, _ in found.stages] == ["input", "repair", "enlarge", "sharpen"]
    assert [job.options.repair for job in jobs] == [0, 30, 30]
    assert jobs[2].options.model == "span-x4"
    assert all(job.options.sharpen == "none" for job in jobs)
    # How the camera moved is read from the whole photograph.
    jobs.clear()
    shake = {"px": 9.0, "roll_degrees": 0.1, "misfit": 0.1, "windows": 1}
    moved = {"stage": "deblur", "network": "dering", "strength": 100, "shake": shake}
    look(request, read(small), read(full), {**REPORT, "stages": [moved]}, connection=None)  # type: ignore[arg-type]
    assert [(job.source, job.options.deblur) for job in jobs] == [
        (request.source, 0),
        (request.source, 100),
    ]


def test_a_shake_is_explained_as_one() -> None:
    shake = {"px": 9.5, "roll_degrees": 0.1, "misfit": 0.1, "windows": 1}
    moved = {"stage": "deblur", "network": "dering", "strength": 80, "sha256": "", "shake": shake}
    text = a_page(stages=[moved])
    assert "The camera moved by 9.5 px" in text
    assert "(80 of 100)" in text
    assert "MSSNet works" not in text
    assert "MSSNet works" in a_page(stages=[{**moved, "network": "user-x", "shake": None}])
