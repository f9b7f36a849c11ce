"""Proofs, halos and sights from the command line: the real pipeline in a real server, over ZeroMQ;
the networks are small ones from a formula."""

from __future__ import annotations

import json
import re
import signal

import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import gaussian_filter

from wallprint_protocol.errors import LinkError
from wallprint_protocol.print_size import NORMAL_EYE, SHARP_EYE, Size
from wallprint_server.seen_from import seen_size
from wallprint_testing.picture_files import icc_profile
from wallprint_testing.servers import wait_until
from wallprint_testing.shell import Shell

PRINT = ("--print", "40x30cm", "--ppi", "100", "--repair", "0", "--deblur", "0")


@pytest.fixture
def studio(shell: Shell) -> Shell:
    """A shell whose server has the real pipeline, and a photograph with edges, texture and sky."""
    shell.environment["WALLPRINT_TEST_CONFIG"] = json.dumps(
        {
            "pipeline": "wallprint_server.pipeline.enhance:enhance",
            "engine": "wallprint_testing.engines:SmallEngine",
        }
    )
    y, x = np.mgrid[:480, :640]
    turned = x * np.cos(0.12) + y * np.sin(0.12)
    picture = np.where(turned // 40 % 2, 175.0, 80.0)
    picture[:150] = 200 - np.arange(150)[:, None] / 3
    picture = gaussian_filter(picture, 0.6)
    picture[380:] += np.random.default_rng(1).normal(0, 12, (100, 640))
    rgb = np.clip(np.stack([picture, picture * 0.97, picture * 0.9], 2), 0, 255)
    Image.fromarray(rgb.astype(np.uint8)).save(
        shell.folder / "photo.png", icc_profile=icc_profile()
    )
    return shell


@pytest.mark.slow
def test_a_proof_in_three_strengths_is_the_print(studio: Shell) -> None:
    """Letter, TIFF, the source's profile; each crop has the pixels of `enhance --strength`."""
    found = studio.json(
        "proof", "photo.png", *PRINT, "--strengths", "--paper", "letter", "-o", "proof.tif"
    )
    assert found["strengths"] == ["low", "standard", "high"]
    assert len(found["crops"]) == 4
    with Image.open(studio.folder / "proof.tif") as opened:
        assert opened.info["icc_profile"] == icc_profile()
        assert opened.info["dpi"] == (100, 100)
        sheet = np.asarray(opened)
    assert sheet.shape == (1100, 850, 3)  # 11 x 8.5 in
    for column, strength in enumerate(found["strengths"]):
        studio.run("enhance", "photo.png", *PRINT, "--strength", strength, "-o", "whole.tif")
        with Image.open(studio.folder / "whole.tif") as opened:
            whole = np.asarray(opened)
        for crop in found["crops"]:
            (x, y, width, height), (left, top) = crop["rect"], crop["at"][column]
            expected = whole[y : y + height, x : x + width]
            assert np.array_equal(sheet[top : top + height, left : left + width], expected)
    strips = [sheet[top:, left:][:100, :100] for left, top in found["crops"][0]["at"]]
    assert not np.array_equal(strips[0], strips[2])


def test_a_proof_beside_the_picture_is_a_pdf_with_the_profile(studio: Shell) -> None:
    out, _ = studio.run("proof", "photo.png", *PRINT)
    assert "photo_proof.pdf: 4 crops at true size" in out
    data = (studio.folder / "photo_proof.pdf").read_bytes()
    assert re.search(rb"/MediaBox ?\[ ?0 0 595\.\d+ 841\.\d+ ?\]", data)
    assert b"/ICCBased" in data
    _, err = studio.run("proof", "photo.png", *PRINT, code=2)
    assert "exists already" in err


def _jobs(shell: Shell) -> object:
    """What the server has to do; nothing while there is none."""
    try:
        return shell.status()["jobs"]
    except LinkError:
        return None


@pytest.mark.parametrize("earlier", [True, False])
def test_a_cancelled_proof_leaves_nothing(shell: Shell, earlier: bool) -> None:
    shell.serve_with("slow")
    target = shell.folder / "proof.tif"
    if earlier:
        target.write_bytes(b"an earlier proof")
    process = shell.start("proof", "photo.png", "--print", "30cm", "-o", "proof.tif")
    wait_until(lambda: "running" in str(_jobs(shell)), 20)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 130, err
    assert "Traceback" not in err
    wait_until(lambda: not shell.status()["jobs"], 5)
    assert target.exists() == earlier
    if earlier:
        assert target.read_bytes() == b"an earlier proof"
    assert {p.name for p in shell.folder.iterdir()} == {"photo.png", *["proof.tif"] * earlier}


def test_the_print_from_a_distance(studio: Shell) -> None:
    """Two eyes, two PNGs beside the print, with its profile; what is drawn is still there."""
    found = studio.json("enhance", "photo.png", *PRINT, "--seen-from", "2m", "-o", "p.tif")
    names = ["p.tif.from-200cm-20-20.png", "p.tif.from-200cm-20-12.png"]
    assert found["seen"] == names
    for name, eye in zip(names, (NORMAL_EYE, SHARP_EYE), strict=True):
        with Image.open(studio.folder / name) as opened:
            shown = np.asarray(opened).astype(float)
            assert opened.info["icc_profile"] == icc_profile()
        size = seen_size(Size(1575, 1181), 100.0, 2000.0, eye)
        assert shown.shape == (size.height, size.width, 3)
        assert shown.mean() == pytest.approx(140, abs=25)
        assert shown[: size.height // 5].std() < 15  # the sky
    assert found["halo"]["edges"] > 8


def test_a_halo_that_was_asked_for(studio: Shell) -> None:
    """In the plan, the summary, and what the passport beside it says."""
    halo = ("--halo", "1.8mm", "--ink-spread", "0.2mm", "--sharpen", "glossy")
    planned = studio.json("plan", "photo.png", *PRINT, *halo)["sharpening"]
    assert (planned["halo_mm"], planned["halo_px"]) == (1.8, 7.09)
    found = studio.json("enhance", "photo.png", *PRINT, *halo, "--passport", "-o", "p.tif")
    assert found["halo"]["width_px"] == pytest.approx(7.09, abs=0.3)
    passport = json.loads((studio.folder / "p.tif.passport.json").read_text())
    assert passport["options"]["halo_mm"] == 1.8
    assert passport["output_sharpening"]["measured"] == found["halo"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--halo", "9mm"), "halo_mm 9 is outside 0..5"),
        (("--halo", "wide"), "halo"),
        (("--halo", "0.4mm", "--sharpen", "none"), "has none"),
        (("--seen-from", "0"), "2m or auto"),
        (("--seen-from", "1mm", "--print", "20000px"), "too many for a screen"),
    ],
)
def test_what_cannot_be_is_refused_at_once(
    shell: Shell, arguments: tuple[str, ...], words: str
) -> None:
    Image.new("RGB", (400, 300), (90, 120, 150)).save(shell.folder / "photo.png")
    _, err = shell.run("enhance", "photo.png", "-o", "p.tif", *arguments, code=2)
    assert words in err
    assert [p.name for p in shell.folder.iterdir()] == ["photo.png"]
