"""`wallprint install|uninstall|package`: right folders, nothing else touched, a whole plug-in."""

from __future__ import annotations

import ast
import gettext
import io
import json
import re
import subprocess
import sys
import textwrap
import zipfile
from pathlib import Path, PurePosixPath

import pytest

from wallprint_server.cli import main
from wallprint_server.install import bundle, catalogues, plugins


@pytest.fixture(autouse=True)
def _own_state(tmp_path, monkeypatch):
    monkeypatch.setenv("WALLPRINT_STATE_DIR", str(tmp_path / "state"))


def folders(editor, home, platform, **environment):
    found = plugins.find_targets(editor, home=home, platform=platform, environment=environment)
    return [target.folder.relative_to(home).as_posix() for target in found]


@pytest.mark.parametrize(
    ("platform", "existing", "expected"),
    [
        ("linux", [".config/GIMP/3.0"], [".config/GIMP/3.0/plug-ins"]),
        (
            "linux",
            [".config/GIMP/3.0", ".config/GIMP/3.2", ".config/GIMP/2.10"],
            [".config/GIMP/3.0/plug-ins", ".config/GIMP/3.2/plug-ins"],
        ),
        ("linux", [".config/GIMP/3.4"], [".config/GIMP/3.4/plug-ins"]),
        (
            "linux",
            [".var/app/org.gimp.GIMP/config/GIMP/3.0"],
            [".var/app/org.gimp.GIMP/config/GIMP/3.0/plug-ins"],
        ),
        (
            "linux",
            ["snap/gimp/current/.config/GIMP/3.0"],
            ["snap/gimp/current/.config/GIMP/3.0/plug-ins"],
        ),
        ("win32", ["AppData/Roaming/GIMP/3.2"], ["AppData/Roaming/GIMP/3.2/plug-ins"]),
        (
            "darwin",
            ["Library/Application Support/GIMP/3.0"],
            ["Library/Application Support/GIMP/3.0/plug-ins"],
        ),
        ("linux", [], [".config/GIMP/3.0/plug-ins"]),
    ],
)
def test_gimp_folders(tmp_path, platform, existing, expected):
    for folder in existing:
        (tmp_path / folder).mkdir(parents=True)
    assert folders("gimp", tmp_path, platform) == expected


@pytest.mark.parametrize(
    ("platform", "existing", "expected"),
    [
        ("linux", [".local/share/krita"], [".local/share/krita"]),
        (
            "linux",
            [".local/share/krita", ".var/app/org.kde.krita/data/krita"],
            [".local/share/krita", ".var/app/org.kde.krita/data/krita"],
        ),
        ("win32", ["AppData/Roaming/krita"], ["AppData/Roaming/krita"]),
        ("darwin", [], ["Library/Application Support/krita"]),
    ],
)
def test_krita_folders(tmp_path, platform, existing, expected):
    for folder in existing:
        (tmp_path / folder).mkdir(parents=True)
    assert folders("krita", tmp_path, platform) == expected


def snapshot(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.mark.parametrize("editor", plugins.EDITORS)
def test_install_and_uninstall_leave_everything_else(tmp_path, editor, capsys):
    place = tmp_path / "data" / "a folder with ünlauts"
    other = place / "other-plug-in" / "other.py"
    other.parent.mkdir(parents=True)
    other.write_text("not ours")
    before = snapshot(place)
    assert main(["install", editor, "--path", str(place), "--dry-run"]) == 0
    assert snapshot(place) == before
    assert main(["install", editor, "--path", str(place)]) == 0
    assert str(place) in capsys.readouterr().out
    installed = snapshot(place)
    assert len(installed) > 25
    assert main(["install", editor, "--path", str(place)]) == 0, "a second time"
    assert snapshot(place) == installed
    assert main(["uninstall", editor, "--path", str(place)]) == 0
    assert snapshot(place) == before
    assert not [p for p in place.rglob("*") if p.is_dir() and not any(p.iterdir())]


def test_gimp_starts_a_program_of_the_folders_name(tmp_path):
    assert main(["install", "gimp", "--path", str(tmp_path)]) == 0
    program = tmp_path / "wallprint-gimp" / "wallprint-gimp.py"
    assert program.stat().st_mode & 0o111 == 0o111
    assert program.read_text().startswith("#!/usr/bin/env python3\n")


def test_install_says_how_the_server_is_started(tmp_path):
    assert main(["install", "gimp", "--path", str(tmp_path / "p")]) == 0
    file = tmp_path / "state" / "launcher.json"
    assert file.stat().st_mode & 0o077 == 0
    argv = json.loads(file.read_text())["argv"]
    done = subprocess.run([*argv, "--version"], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("wallprint ")


def test_krita_is_told_to_load_it_and_its_other_settings_stay(tmp_path):
    config = tmp_path / "kritarc"
    config.write_text("[General]\nfoo=[x]\n\n[python]\nenable_other=true\n\n[z]\na=1\n")
    target = plugins.Target("krita", tmp_path / "krita", "test", config)
    plugins.install(target)
    assert plugins.is_enabled(config)
    lines = config.read_text().splitlines()
    assert lines.index("[python]") + 1 == lines.index("enable_wallprint_krita=true")
    assert {"foo=[x]", "enable_other=true", "a=1"} <= set(lines)
    plugins.uninstall(target)
    assert not plugins.is_enabled(config)
    assert "enable_other=true" in config.read_text()


def test_unwritable_place_is_one_sentence(tmp_path, capsys):
    blocked = tmp_path / "file"
    blocked.write_text("")
    assert main(["install", "gimp", "--path", str(blocked)]) == 2
    assert "Traceback" not in capsys.readouterr().err


def test_archives_hold_the_same_plug_in_each_time(tmp_path):
    first = plugins.package(tmp_path / "a")
    second = plugins.package(tmp_path / "b")
    assert [p.name for p in first] == ["wallprint-gimp.zip", "wallprint-krita.zip"]
    assert [p.read_bytes() for p in first] == [p.read_bytes() for p in second]
    with zipfile.ZipFile(first[0]) as archive:
        program = archive.getinfo("wallprint-gimp/wallprint-gimp.py")
        assert program.external_attr >> 16 & 0o111, "not executable"
        assert {name.split("/")[0] for name in archive.namelist()} == {"wallprint-gimp"}
    with zipfile.ZipFile(first[1]) as archive:
        top = {name.split("/")[0] for name in archive.namelist()}
        assert top == {"wallprint_krita", "wallprint_krita.desktop", "wallprint_krita.action"}


@pytest.mark.parametrize("files", [bundle.gimp_files, bundle.krita_files])
def test_no_binary_and_no_absolute_path(files):
    for path, content in files().items():
        assert path.suffix not in (".so", ".pyd", ".dylib", ".dll"), path
        assert not path.is_absolute()
        assert b"/work/" not in content, path
        assert str(Path.home()).encode() not in content or str(Path.home()) == "/", path


def test_bundle_works_alone(tmp_path):
    """What is vendored needs nothing else: no pyzmq, no msgpack of the environment."""
    vendor = PurePosixPath("wallprint-gimp/vendor")
    for path, content in bundle.gimp_files().items():
        if vendor in path.parents:
            place = tmp_path / path
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(content)
    script = textwrap.dedent(
        """
        import sys
        sys.modules["zmq"] = None  # as in an editor without pyzmq
        from wallprint_protocol import client, forecast, print_plan
        from wallprint_protocol.dealer import open_dealer
        import msgpack
        assert msgpack.Packer.__module__ == "msgpack.fallback", msgpack.Packer.__module__
        dealer = open_dealer()
        print(type(dealer).__name__, msgpack.unpackb(msgpack.packb({"a": b"b"})))
        assert not {"numpy", "torch"} & set(sys.modules)
        """
    )
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", f"import sys; sys.path.insert(0, sys.argv[1])\n{script}",
         str(tmp_path / vendor)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["ZmtpDealer", "{'a':", "b'b'}"]


# -- translations -----------------------------------------------------------------


def test_mo_file_is_what_gettext_reads():
    messages = {"Result": "Ergebnis", "Wi_dth": "_Breite", "a\nb": "c\nd"}
    mo = gettext.GNUTranslations(io.BytesIO(catalogues.to_mo(messages)))
    assert {key: mo.gettext(key) for key in messages} == messages
    assert mo.gettext("unknown") == "unknown"


def test_po_reader():
    text = '# c\nmsgid ""\nmsgstr "Language: de\\n"\n\nmsgid "a"\n"b"\nmsgstr ""\n"c\\n"\n'
    text += '\n#, fuzzy\nmsgid "x"\nmsgstr "y"\n\nmsgid "e"\nmsgstr ""\n\nmsgid "k"\nmsgstr "l"\n'
    assert catalogues.read_po(text) == {"": "Language: de\n", "ab": "c\n", "k": "l"}
    with pytest.raises(ValueError, match="line 1"):
        catalogues.read_po("nonsense\n")


def test_a_wheel_carries_every_file_of_the_plugins():
    """Installed without a checkout, `wallprint install` finds them in share/wallprint."""
    root = Path(bundle.__file__).parents[3]
    text = (root / "pyproject.toml").read_text()
    table = text.split("[tool.setuptools.data-files]")[1].split("\n[")[0]
    carried = set()
    for target, patterns in re.findall(r'^"(.+?)" = (\[.+\])$', table, re.M):
        for pattern in ast.literal_eval(patterns):
            found = list(root.glob(pattern))
            assert found, pattern
            for path in found:  # at the same place under share/wallprint as in the checkout
                assert (Path(target) / path.name).relative_to(
                    "share/wallprint"
                ) == path.relative_to(root)
                carried.add(path.relative_to(root).as_posix())
    needed = {
        path.relative_to(root).as_posix()
        for folder in ("plugin_gimp/wallprint-gimp", "plugin_krita", "shared/po")
        for path in (root / folder).rglob("*")
        if path.is_file() and not {"__pycache__", ".ruff_cache"} & set(path.parts)
        if path.name != "ruff.toml"
    }
    assert not sorted(needed - carried)
