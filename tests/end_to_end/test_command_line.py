"""The command line as its users run it: real processes, a real server over ZeroMQ, test pixels."""

from __future__ import annotations

import fcntl
import json
import os
import re
import shutil
import signal
import struct
import subprocess
import tempfile
import termios
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from wallprint_protocol.errors import LinkError
from wallprint_protocol.print_size import Size
from wallprint_server.commands import demo
from wallprint_testing.picture_files import icc_profile
from wallprint_testing.servers import wait_until
from wallprint_testing.shell import WALLPRINT, Shell, processes_of


def nearest(pixels: np.ndarray, width: int, height: int) -> np.ndarray:
    rows = np.arange(height) * pixels.shape[0] // height
    columns = np.arange(width) * pixels.shape[1] // width
    return pixels[rows][:, columns]


def test_main_job(shell: Shell) -> None:
    """Exact pixels, size, ppi and profile; the server stays for the next print."""
    out, err = shell.run("enhance", "photo.png", "--print", "20cm", "--ppi=50.5", "-o", "p.tif")
    picture = Image.open(shell.folder / "p.tif")
    picture.load()
    assert picture.size == (398, 299)  # 20 cm are 397.6 px; three quarters of 398 are 298.5
    assert picture.info["icc_profile"] == icc_profile()
    assert float(picture.tag_v2[282]) == 50.5
    source = np.asarray(Image.open(shell.folder / "photo.png"))
    assert np.array_equal(np.asarray(picture), nearest(source, 398, 299))
    assert "p.tif: 398 x 299 px" in out
    assert "Starting the wallprint server" in err
    assert "note: a note" in err
    first = shell.status()["pid"]
    _, err = shell.run("enhance", "photo.png", "--print", "10cm", "-o", "p.tif", "--quiet")
    assert err == ""
    assert shell.status()["pid"] == first
    picture.close()


def test_json_summary(shell: Shell) -> None:
    found = shell.json("enhance", "photo.png", "--print", "10cm", "--quiet")
    assert found.pop("seconds") > 0
    assert found == {
        "input": "photo.png",
        "output": "photo_10x7.5cm_200ppi.tif",
        "files": ["photo_10x7.5cm_200ppi.tif"],
        "width": 787,
        "height": 590,
        "ppi": 200.0,
        "scale": 19.675,
        "layout": {"model": "RGB", "dtype": "u8", "alpha": "none", "trc": "perceptual"},
        "device": "a test device",
        "networks": {"span-x4": "0" * 64},
        "notes": ["a note"],
        "passport": None,
        "report": None,
        "seen": [],
        "halo": None,
        "exit_code": 0,
        "error": None,
    }
    assert (shell.folder / "photo_10x7.5cm_200ppi.tif").exists()


def test_batch_goes_on_after_a_bad_picture(shell: Shell) -> None:
    (shell.folder / "bad.jpg").write_text("no picture")
    (shell.folder / "out").mkdir()
    shutil.copy(shell.folder / "photo.png", shell.folder / "second.png")
    (shell.folder / "sub").mkdir()
    shutil.copy(shell.folder / "photo.png", shell.folder / "sub" / "photo.png")
    names = ["photo.png", "bad.jpg", "second.png", "sub/photo.png"]
    process = shell.start("enhance", *names, "--print", "5cm", "-o", "out", "--json")
    out, err = process.communicate(timeout=60)
    assert process.returncode == 2
    summary = json.loads(out)
    assert [p["exit_code"] for p in summary["prints"]] == [0, 2, 0, 2]
    assert summary["exit_code"] == 2
    # Two pictures of one name must not silently share one print.
    assert "is the print of photo.png already" in summary["prints"][3]["error"]["message"]
    made = sorted(p.name for p in (shell.folder / "out").iterdir())
    assert made == ["photo_5x3.8cm_200ppi.tif", "second_5x3.8cm_200ppi.tif"]
    assert "2 of 4 prints made" in err
    assert "not bad.jpg: " in err


def test_panels_are_the_print_cut_into_files(shell: Shell) -> None:
    """Bleed, panels and marks from the command line: joined again they are the print."""
    size = ("enhance", "photo.png", "--print", "101x67mm", "--fit", "crop", "--bleed", "3mm")
    shell.run(*size, "-o", "whole.tif")
    with Image.open(shell.folder / "whole.tif") as picture:
        whole = np.asarray(picture)
    assert whole.shape == (528 + 48, 795 + 48, 3)
    cut = (*size, "--panels", "2x3", "--overlap", "8mm", "--crop-marks", "-o", "p.png")
    plan = shell.json("plan", *cut[1:])
    found = shell.json(*cut)
    names = [f"p_r{row}c{column}.png" for row in (1, 2) for column in (1, 2, 3)]
    assert found["files"] == names == [sheet["file"] for sheet in plan["panels"]["sheets"]]
    assert (found["output"], found["width"], found["height"]) == (names[0], 843, 576)
    joined, margin = np.zeros_like(whole), plan["panels"]["margin"]
    for sheet in plan["panels"]["sheets"]:
        x, y, width, height = sheet["rect"]
        with Image.open(shell.folder / sheet["file"]) as picture:
            assert picture.size == (sheet["width"], sheet["height"])
            paper = np.asarray(picture)
        joined[y : y + height, x : x + width] = paper[margin:-margin, margin:-margin]
    assert np.array_equal(joined, whole)
    out, _ = shell.run(*cut[:-1], "p.pdf")
    assert "p.pdf: 843 x 576 px" in out
    assert sorted(p.name for p in shell.folder.iterdir()) == sorted(
        ["photo.png", "whole.tif", "p.pdf", *names]
    )


def test_wrap_of_a_colour_and_anchored_crop(shell: Shell) -> None:
    shell.serve_with("framed")
    shell.run(
        "enhance", "photo.png", "--print", "120x120px", "--fit", "crop", "--anchor", "right",
        "--wrap", "10mm", "--wrap-fill", "#0a0b0c", "--ppi", "50.8", "-o", "p.png",
    )  # fmt: skip
    with Image.open(shell.folder / "p.png") as picture:
        found = np.asarray(picture)
    source = np.asarray(Image.open(shell.folder / "photo.png"))
    assert found.shape == (160, 160, 3)
    face = found[20:-20, 20:-20]
    assert np.array_equal(face, np.kron(source[:, 10:], np.ones((4, 4, 1), np.uint8)))
    border = np.ones((160, 160), bool)
    border[20:-20, 20:-20] = False
    assert (found[border] == (10, 11, 12)).all()


def test_cancel_leaves_no_panel(shell: Shell) -> None:
    shell.serve_with("slow")
    (shell.folder / "p_r1c2.tif").write_bytes(b"old")
    process = shell.start(
        "enhance", "photo.png", "--print", "2000px", "--panels", "1x2", "-o", "p.tif"
    )
    wait_until(lambda: _running(shell), 20)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=10)
    assert process.returncode == 130
    assert sorted(p.name for p in shell.folder.iterdir()) == ["p_r1c2.tif", "photo.png"]
    assert (shell.folder / "p_r1c2.tif").read_bytes() == b"old"


def test_selection(shell: Shell) -> None:
    """The test pipeline blackens what is not selected."""
    mask = np.zeros((30, 40), np.uint8)
    mask[:, 20:] = 255
    Image.fromarray(mask).save(shell.folder / "mask.png")
    shell.run(
        "enhance", "photo.png", "--print", "80px", "-o", "p.png",
        "--selection", "mask.png", "--feather", "0.5",
    )  # fmt: skip
    with Image.open(shell.folder / "p.png") as picture:
        found = np.asarray(picture)
    source = np.asarray(Image.open(shell.folder / "photo.png"))
    assert found[:, :40].max() == 0
    assert np.array_equal(found[:, 40:], nearest(source, 80, 60)[:, 40:])


def test_orientation_is_applied_before_the_size(shell: Shell) -> None:
    """A photograph lying on its side: 100 cm is the long side of what is seen."""
    exif = Image.Exif()
    exif[274] = 6
    Image.new("RGB", (40, 30)).save(shell.folder / "side.jpg", exif=exif)
    found = shell.json("enhance", "side.jpg", "--print", "400px", "-o", "p.jpg")
    assert (found["width"], found["height"]) == (300, 400)
    with Image.open(shell.folder / "p.jpg") as picture:
        assert picture.size == (300, 400)
        assert picture.getexif()[274] == 1


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_cancels_on_the_server_and_leaves_everything_as_it_was(
    shell: Shell, number: signal.Signals
) -> None:
    shell.serve_with("slow")
    (shell.folder / "p.tif").write_bytes(b"old")
    process = shell.start(
        "enhance", "photo.png", "photo.png", "--print", "2000px", "-o", ".", "--json"
    )
    wait_until(lambda: _running(shell), 20)
    began_s = time.monotonic()
    process.send_signal(number)
    out, err = process.communicate(timeout=10)
    assert time.monotonic() - began_s < 1.5
    assert process.returncode == 130, err
    assert "Traceback" not in err
    summary = json.loads(out)
    assert [p["error"]["code"] for p in summary["prints"]] == ["CANCELLED"]  # the second: not tried
    assert summary["exit_code"] == 130
    wait_until(lambda: not shell.status()["worker_busy"], 2)
    assert shell.status()["jobs"] == {}
    assert sorted(p.name for p in shell.folder.iterdir()) == ["p.tif", "photo.png"]
    assert (shell.folder / "p.tif").read_bytes() == b"old"


def _running(shell: Shell) -> bool:
    try:
        return shell.status()["worker_busy"]
    except LinkError:
        return False


def test_killed_client_leaves_no_file_and_no_job(shell: Shell) -> None:
    shell.serve_with("slow")
    process = shell.start("enhance", "photo.png", "--print", "2000px", "-o", "p.tif")
    wait_until(lambda: _running(shell), 20)
    process.kill()
    process.communicate()
    wait_until(lambda: not shell.status()["worker_busy"], 10)
    assert [p.name for p in shell.folder.iterdir()] == ["photo.png"]


@pytest.mark.parametrize(
    ("pipeline", "code", "words"),
    [
        ("no_memory", 4, "memory"),
        ("broken", 3, "its log says where. Please report it. (ValueError: a secret bug)"),
    ],
)
def test_trouble_on_the_server(shell: Shell, pipeline: str, code: int, words: str) -> None:
    shell.serve_with(pipeline)
    (shell.folder / "p.tif").write_bytes(b"old")
    _, err = shell.run("enhance", "photo.png", "--print", "100px", "-o", "p.tif", code=code)
    assert words in err
    assert err.count("wallprint: ") == 1
    assert (shell.folder / "p.tif").read_bytes() == b"old"


def test_cuda_where_there_is_none(shell: Shell) -> None:
    arguments = ("enhance", "photo.png", "--print", "100px", "-o", "p.tif", "--device", "cuda")
    found = shell.json(*arguments, code=2)
    assert found["error"]["code"] == "E_DEVICE"
    assert "no CUDA" in found["error"]["message"]
    assert not (shell.folder / "p.tif").exists()


def test_truncated_picture_is_found_while_it_is_sent(shell: Shell) -> None:
    pixels = np.random.default_rng(2).integers(0, 255, (300, 400, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(shell.folder / "cut.jpg")
    data = (shell.folder / "cut.jpg").read_bytes()
    (shell.folder / "cut.jpg").write_bytes(data[: len(data) // 2])
    _, err = shell.run("enhance", "cut.jpg", "--print", "800px", "-o", "p.tif", code=2)
    assert "cut.jpg is damaged or cut short" in err
    assert not (shell.folder / "p.tif").exists()
    wait_until(lambda: shell.status()["jobs"] == {}, 2)


def test_server_that_does_not_start(shell: Shell) -> None:
    shell.environment["WALLPRINT_SERVER"] = "/bin/false"
    _, err = shell.run("enhance", "photo.png", "--print", "100px", "-o", "p.tif", code=3)
    assert "did not start" in err
    assert not (shell.folder / "p.tif").exists()


def test_embedded_server_is_private_and_ends(shell: Shell, tmp_path: Path) -> None:
    shell.environment["TMPDIR"] = tempfile.mkdtemp(prefix="wp-", dir="/tmp")
    folder = Path(shell.environment["TMPDIR"])
    try:
        shell.run("enhance", "photo.png", "--print", "9cm", "-o", "p.tif", "--server", "embedded")
        assert (shell.folder / "p.tif").exists()
        assert list(folder.iterdir()) == []
        assert processes_of(folder) == []
    finally:
        shutil.rmtree(folder)
    with pytest.raises(LinkError):
        shell.status()  # the user's own was not started


def test_server_by_address(shell: Shell) -> None:
    for address in ("ipc:///tmp/nobody.sock", str(shell.state_dir)):
        _, err = shell.run(
            "enhance", "photo.png", "--print", "9cm", "-o", "p.tif", "--server", address, code=3
        )
        assert "No wallprint server is running" in err
    shell.run("enhance", "photo.png", "--print", "9cm", "-o", "p.tif")
    for address in (
        shell.status()["endpoints"][0],
        str(shell.state_dir),
        str(shell.state_dir / "server.json"),
    ):
        (shell.folder / "p.tif").unlink()
        shell.run("enhance", "photo.png", "--print", "9cm", "-o", "p.tif", "--server", address)
        assert (shell.folder / "p.tif").exists()


def test_serve_status_stop(shell: Shell) -> None:
    """By hand, with the program itself instead of the tests' launcher."""
    server = shell.start("serve")
    wait_until(lambda: (shell.state_dir / "server.json").exists(), 10)
    assert shell.json("status")["pid"] == server.pid
    out, _ = shell.run("status")
    assert f"process {server.pid}" in out
    _, err = shell.run("serve", code=3)
    assert err.startswith("wallprint: A wallprint server runs already")
    shell.run("serve", "--ensure", "--start-id", "x")
    out, _ = shell.run("stop")
    assert "has ended" in out
    assert server.wait(5) == 0
    server.communicate()
    out, _ = shell.run("status", code=3)
    assert "No server is running" in out


def test_a_second_print_while_the_first_is_made(shell: Shell) -> None:
    """Two users of one server: the second waits for the first and both come out whole."""
    shell.serve_with("slow")
    first = shell.start("enhance", "photo.png", "--print", "300px", "-o", "a.tif", "--quiet")
    wait_until(lambda: _running(shell), 20)
    shell.run("enhance", "photo.png", "--print", "300px", "-o", "b.tif", "--quiet")
    first.communicate(timeout=20)
    assert first.returncode == 0
    assert (shell.folder / "a.tif").read_bytes() == (shell.folder / "b.tif").read_bytes()


def test_demo(shell: Shell) -> None:
    """The files and where they are; how it looks is for eyes."""
    out, _ = shell.run("demo", "-o", "made", "--print", "900px")
    names = ["before-after.png", "photograph.jpg", "print.tif"]
    assert sorted(p.name for p in (shell.folder / "made").iterdir()) == names
    for name in names:
        assert str(shell.folder / "made" / name) in out
    with Image.open(shell.folder / "made" / "print.tif") as picture:
        assert picture.size == (900, 599)
        printed = np.asarray(picture)
    with Image.open(shell.folder / "made" / "before-after.png") as picture:
        sheet = np.asarray(picture).astype(int)
    assert sheet.shape[1] > 1.9 * 720
    # Right: the print's own pixels. Left: the same place of the photograph, enlarged smoothly.
    crop = demo._crop(Size(900, 599))
    left, right = sheet[-crop.height :, : crop.width], sheet[-crop.height :, -crop.width :]
    expected = printed[crop.y : crop.y + crop.height, crop.x : crop.x + crop.width]
    assert np.array_equal(right, expected)
    assert 1 < np.abs(left - right).mean() < 12


def test_progress_is_told_without_a_terminal(shell: Shell) -> None:
    shell.serve_with("slow")
    process = shell.start("enhance", "photo.png", "--print", "500px", "-o", "p.tif")
    _, err = process.communicate(timeout=60)
    lines = [line for line in err.splitlines() if "tile" in line]
    assert lines
    assert all("photo.png: enhancing, tile" in line for line in lines)


def test_progress_bar_on_a_terminal(shell: Shell) -> None:
    """Stage, tiles and time left on one line that is rewritten."""
    shell.serve_with("slow")
    leader, follower = os.openpty()
    fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("4H", 25, 100, 0, 0))
    process = subprocess.Popen(
        [*WALLPRINT, "enhance", "photo.png", "--print", "300px", "-o", "p.tif"],
        cwd=shell.folder,
        env={**shell.environment, "TERM": "xterm"},
        stdout=subprocess.DEVNULL,
        stderr=follower,
    )
    os.close(follower)
    shown = _read_until_end(leader)
    assert process.wait(30) == 0
    assert "photo.png: enhancing |" in shown
    assert re.search(r"tile \d+ of 225", shown)
    assert "Starting the wallprint server ...\r\n" in shown
    assert "%Starting" not in shown
    assert " left" in shown
    assert shown.count("\n") <= 3  # the start of the server, a note


def _read_until_end(descriptor: int) -> str:
    data = b""
    while True:
        try:
            chunk = os.read(descriptor, 4096)
        except OSError:
            chunk = b""
        if not chunk:
            os.close(descriptor)
            return data.decode()
        data += chunk
