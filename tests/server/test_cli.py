"""The command line without a server: bad arguments and pictures are one sentence, exit code 2."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from wallprint_protocol import __version__
from wallprint_protocol.print_size import Size
from wallprint_server import cli, print_job
from wallprint_server.commands import doctor
from wallprint_server.models import catalog, store
from wallprint_server.server_access import ServerAccess


@pytest.fixture(autouse=True)
def sandbox(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with a photograph, as the working directory; no server is ever asked for."""
    monkeypatch.setenv("WALLPRINT_STATE_DIR", str(tmp_path / "state"))
    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.chdir(folder)
    Image.new("RGB", (40, 30), "teal").save("photo.jpg")

    def never(*_: object, **__: object) -> None:
        raise AssertionError("a server was asked for")

    monkeypatch.setattr(ServerAccess, "connection", never)
    yield folder
    assert sorted(p.name for p in folder.rglob(".wallprint*")) == []


def refused(
    capsys: pytest.CaptureFixture[str], *arguments: str, command: str = "enhance", code: int = 2
) -> str:
    """The sentence with which a command line is refused; nothing may have been written."""
    before = contents()
    assert cli.main([command, *arguments]) == code
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("wallprint: ")
    assert err.count("\n") == 1, err
    assert "Traceback" not in err
    assert contents() == before
    return err


def contents() -> dict[Path, bytes]:
    """Every file under the working directory."""
    return {p: p.read_bytes() if p.is_file() else b"" for p in Path.cwd().rglob("*")}


@pytest.mark.parametrize(
    ("size", "words"),
    [
        ("10ft", ["unknown unit", "cm"]),
        ("100", ["no unit", "100x70cm"]),
        ("0cm", ["zero"]),
        ("0x50cm", ["zero"]),
        ("-10cm", ["Cannot read"]),
        ("nonsense", ["Cannot read", "A3"]),
        ("500m", ["more than 100 m"]),
        ("300000px", ["262144", "another size"]),
        ("9000cm", ["outside"]),
        ("1px", ["times the picture"]),
        ("5000px", ["times the picture", "1/64 and 64"]),
        ("10.5px", ["whole number"]),
    ],
)
def test_print_size(capsys: pytest.CaptureFixture[str], size: str, words: list[str]) -> None:
    if size == "1px":
        Image.new("RGB", (200, 200)).save("photo.jpg")
    said = refused(capsys, "photo.jpg", f"--print={size}", "-o", "out.tif")
    for word in words:
        assert word in said


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--ppi", "10"], ["30..1200"]),
        (["--ppi", "many"], ["not a number"]),
        (["--ppi", "nan"], ["not a number"]),
        (["--fit", "stretch"], ["keep", "crop", "pad"]),
        (["--style", "wild"], ["faithful"]),
        (["--repair", "101"], ["auto", "0..100"]),
        (["--deblur=-1"], ["auto", "0..100"]),
        (["--sharpen", "gloss"], ["matte"]),
        (["--device", "tpu"], ["cuda"]),
        (["--tile", "63"], ["64..4096"]),
        (["--model", "span-x9"], ["no network 'span-x9'", "span-x4"]),
        (["--feather", "2"], ["--selection"]),
        (["--server", "nowhere"], ["server.json", "embedded"]),
        (["--colour"], ["--colour", "--help"]),
        (["--sharp", "none"], ["--sharp", "--help"]),
    ],
)
def test_options(
    capsys: pytest.CaptureFixture[str], arguments: list[str], words: list[str]
) -> None:
    said = refused(capsys, "photo.jpg", "-o", "out.tif", *arguments)
    for word in words:
        assert word in said


def test_pictures(capsys: pytest.CaptureFixture[str]) -> None:
    Path("text.jpg").write_text("Dear reader")
    Path("empty.jpg").write_bytes(b"")
    for name, words in (
        ("none.jpg", "does not exist"),
        (".", "is a folder"),
        ("text.jpg", "not a picture"),
        ("empty.jpg", "0 bytes"),
    ):
        assert words in refused(capsys, name, "-o", "out.tif")
    assert "arguments are required: PICTURE" in refused(capsys)


def test_output_is_the_input(capsys: pytest.CaptureFixture[str]) -> None:
    Path("photo.tif").write_bytes(Path("photo.jpg").read_bytes())
    os.symlink("photo.tif", "link.tif")
    os.link("photo.tif", "hard.tif")
    os.symlink(".", "here")
    for output in ("photo.tif", "./photo.tif", "link.tif", "hard.tif", "here/photo.tif"):
        said = refused(capsys, "photo.tif", "--print", "80px", "-o", output)
        assert "is the input" in said
    said = refused(capsys, "link.tif", "--print", "80px", "-o", "photo.tif")
    assert "is the input" in said
    Image.new("L", (40, 30)).save("mask.png")
    arguments = ("photo.jpg", "--print", "80px", "--selection", "mask.png", "-o", "mask.png")
    assert "is the input" in refused(capsys, *arguments)


def test_output_folder_and_ending(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "does not exist" in refused(capsys, "photo.jpg", "-o", "none/out.tif")
    assert "does not exist" in refused(capsys, "photo.jpg", "-o", "none/")
    assert "'.gif'" in refused(capsys, "photo.jpg", "-o", "out.gif")
    assert "folder" in refused(capsys, "photo.jpg", "photo.jpg", "-o", "out.tif")
    Path("locked").mkdir(mode=0o500)
    if os.geteuid() == 0:  # root may write everywhere: let the system say no

        def read_only(*_: object, **__: object) -> None:
            raise OSError(30, "Read-only file system")

        monkeypatch.setattr("wallprint_server.imaging.files_out.tempfile.mkstemp", read_only)
    assert "cannot be written" in refused(capsys, "photo.jpg", "-o", "locked/out.tif")


def test_format_too_small_for_the_print(capsys: pytest.CaptureFixture[str]) -> None:
    Image.new("RGB", (2000, 20)).save("photo.jpg")
    said = refused(capsys, "photo.jpg", "--print", "66000px", "-o", "out.jpg")
    assert "JPEG" in said
    assert "65500" in said
    assert "out.tif" in said


def test_existing_print_is_not_replaced_unless_named(capsys: pytest.CaptureFixture[str]) -> None:
    Path("photo_10x7.5cm_200ppi.tif").write_bytes(b"mine")
    assert "exists already" in refused(capsys, "photo.jpg", "--print", "10cm")


def test_selection_must_fit(capsys: pytest.CaptureFixture[str]) -> None:
    Image.new("L", (40, 31)).save("mask.png")
    arguments = ("photo.jpg", "--print", "80px", "--selection", "mask.png", "-o", "out.tif")
    said = refused(capsys, *arguments)
    assert "40x31 px" in said
    assert "40x30 px" in said


def test_default_name_has_the_size_on_paper() -> None:
    assert print_job.default_name(Path("a/sea.jpg"), Size(7874, 5512), 200.0) == (
        "sea_100x70cm_200ppi.tif"
    )
    assert print_job.default_name(Path("b.png"), Size(4724, 3142), 199.5) == (
        "b_60.1x40cm_199.5ppi.tif"
    )


def test_json_also_tells_of_failure(capsys: pytest.CaptureFixture[str]) -> None:
    """Of a bad picture and of bad arguments; always one line on stdout."""
    for arguments in (["none.jpg"], ["photo.jpg", "--print", "1ft"]):
        assert cli.main(["enhance", *arguments, "-o", "o.tif", "--json", "--quiet"]) == 2
        out, err = capsys.readouterr()
        assert out.count("\n") == 1
        summary = json.loads(out)
        assert summary["exit_code"] == 2
        assert summary["error"]["code"] == "BAD_INPUT"
        assert summary["error"]["message"] in err


def test_batch_goes_on_and_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    Path("out").mkdir()
    Path("text.jpg").write_text("Dear reader")
    arguments = ["enhance", "none.jpg", "text.jpg", "-o", "out", "--json", "--quiet"]
    assert cli.main(arguments) == 2
    out, err = capsys.readouterr()
    summary = json.loads(out)
    assert [p["exit_code"] for p in summary["prints"]] == [2, 2]
    assert "0 of 2 prints made" in err
    assert "not none.jpg: " in err
    assert "not text.jpg: " in err


def test_unexpected_errors_are_a_sentence_and_with_debug_a_traceback(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise ZeroDivisionError("by nought")

    monkeypatch.setattr("wallprint_server.commands.enhance.make_print", fail)
    said = refused(capsys, "photo.jpg", "-o", "out.tif", code=3)
    assert "ZeroDivisionError: by nought" in said
    assert "--debug" in said
    assert cli.main(["enhance", "photo.jpg", "-o", "out.tif", "--debug"]) == 3
    assert "Traceback" in capsys.readouterr().err


def test_full_disk_before_any_server_is_asked(sandbox: Path) -> None:
    """In a process of its own, in which no file may pass two megabytes."""
    code = (
        "import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (2000000, 2000000));"
        "from wallprint_server import cli; sys.exit(cli.main(sys.argv[1:]))"
    )
    command = [sys.executable, "-c", code, "enhance", "photo.jpg", "-o", "out.tif"]
    result = subprocess.run([*command, "--print", "2000px"], capture_output=True, text=True)
    assert result.returncode == 4, result.stderr
    assert "not enough room" in result.stderr
    assert [p.name for p in sandbox.iterdir()] == ["photo.jpg"]
    assert not Path(os.environ["WALLPRINT_STATE_DIR"]).exists()


def test_demo_needs_a_folder_it_can_make(capsys: pytest.CaptureFixture[str]) -> None:
    Path("file").write_bytes(b"")
    said = refused(capsys, "-o", "file/out", command="demo")
    assert "cannot be made (Not a directory)" in said


def test_version_and_help(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments, words in (
        (["--version"], f"wallprint {__version__}, protocol WPP/1"),
        (["--help"], "doctor"),
        (["enhance", "--help"], "--feather"),
    ):
        with pytest.raises(SystemExit) as ended:
            cli.main(arguments)
        assert ended.value.code == 0
        assert words in capsys.readouterr().out


def test_command_line_starts_without_torch() -> None:
    """What the user types is answered at once; the worker alone needs torch."""
    code = (
        "import sys; from wallprint_server import cli; cli.make_parser();"
        "print([m for m in ('torch', 'skimage', 'pyvips') if m in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


# -- the other commands ------------------------------------------------------------------------


def test_status_and_stop_without_a_server(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["status"]) == 3
    assert "No server is running" in capsys.readouterr().out
    assert cli.main(["stop", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"stopped": False}


def test_models_table(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["models"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["name", "role", "scale", "licence", "state", "title"]
    row = next(line for line in lines if line.startswith("span-x4 "))
    assert "enlarge" in row
    assert "Apache-2.0" in row
    assert "no network 'nope'" in refused(capsys, "pull", "nope", command="models")
    assert "needs a name" in refused(capsys, "pull", command="models")


def findings(capsys: pytest.CaptureFixture[str]) -> tuple[int, list[dict[str, str]]]:
    code = cli.main(["doctor", "--json"])
    return code, json.loads(capsys.readouterr().out)["findings"]


def test_doctor_finds_nothing_wrong_here(capsys: pytest.CaptureFixture[str]) -> None:
    code, found = findings(capsys)
    assert [f for f in found if f["state"] == doctor.FAULT] == []
    assert code == 0
    text = " ".join(f["what"] for f in found)
    for word in ("Python 3", "torch", "libvips", "CPU", "span-x4", "no server", "GB free", "GiB"):
        assert word in text
    assert all(f["cure"] for f in found if f["state"] != doctor.OK)


def test_doctor_names_the_cure_for_an_open_state_directory(
    capsys: pytest.CaptureFixture[str],
) -> None:
    Path(os.environ["WALLPRINT_STATE_DIR"]).mkdir(mode=0o755)
    code, found = findings(capsys)
    assert code == 3
    fault = next(f for f in found if f["what"].startswith("state directory"))
    assert "chmod go-rwx" in fault["what"]


def test_doctor_finds_a_damaged_network(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("WALLPRINT_DATA_DIR", str(tmp_path / "data"))
    manifest = {"source": store._source(catalog.get("span-x4"))}
    store.write_network(tmp_path / "data" / "models", "span-x4", b"weights", manifest)
    assert doctor._intact("span-x4")
    (tmp_path / "data" / "models" / "span-x4.safetensors").write_bytes(b"weightz")
    assert not doctor._intact("span-x4")
    monkeypatch.setattr(doctor, "CHECKS", (doctor._networks,))
    code, found = findings(capsys)
    assert code == 0  # it heals itself
    damaged = next(f for f in found if "damaged" in f["what"])
    assert "span-x4" in damaged["what"]
    assert damaged["cure"] == "wallprint models pull span-x4"


def test_doctor_survives_a_broken_package(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    code, found = findings(capsys)
    assert code == 3
    fault = next(f for f in found if f["state"] == doctor.FAULT)
    assert "torch" in fault["what"]
    assert "pip install" in fault["cure"]
    assert any("GB free" in f["what"] for f in found)
