"""What the dialogs offer and say: true to the plan, in German as well, refusals included."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from wallprint_protocol import plan_lines, presets
from wallprint_protocol.detail_budget import Detail, measure_request
from wallprint_protocol.errors import BadInput, ServerTrouble, from_code
from wallprint_protocol.passport import Passport
from wallprint_protocol.pixels import PixelLayout
from wallprint_protocol.print_plan import (
    CUSTOM,
    EDGES,
    RESULTS,
    SOURCES,
    WRAP_FILLS,
    Settings,
    layer_job,
    make_plan,
)
from wallprint_protocol.print_record import PrintRecord
from wallprint_protocol.print_size import (
    ANCHORS,
    FITS,
    ORIENTATIONS,
    PRINTER_FAMILIES,
    PrintSizeError,
    Rect,
    Size,
    parse_print_size,
)
from wallprint_protocol.request import MEDIA, STRENGTHS, STYLES, Request
from wallprint_protocol.words import Refusal, Sentence, Words
from wallprint_server.install import catalogues

ROOT = Path(__file__).parents[2]
CATALOGUE = catalogues.read_po((ROOT / "shared" / "po" / "de.po").read_text("utf-8"))
GERMAN = Words(lambda text: CATALOGUE.get(text, text), ",")
ENGLISH = Words()
CANVAS = Size(4000, 2800)
WHOLE = Rect(0, 0, 4000, 2800)
RGB = PixelLayout("RGB", "u16")


@pytest.fixture(autouse=True)
def own(tmp_path, monkeypatch):
    """Writes the file of the user's own sizes; none without being called."""
    monkeypatch.setenv("WALLPRINT_CONFIG_DIR", str(tmp_path))
    return lambda text: (tmp_path / presets.FILE).write_text(text, "utf-8")


def plan_of(**values):
    settings = Settings(**values)
    return make_plan(CANVAS, settings), settings


# -- words -----------------------------------------------------------------------------------------


def test_numbers_get_the_languages_point_and_names_stay():
    sentence = Sentence("{size:.1f} m of {name}", {"size": 1.5, "name": "v1.2"})
    assert str(sentence) == "1.5 m of v1.2"
    assert GERMAN.say(sentence) == "1,5 m of v1.2"


def test_sentences_within_sentences_are_translated():
    words = Words(
        {"about {inner}": "etwa {inner}", "{n:.1f} days": "{n:.1f} Tage"}.__getitem__, ","
    )
    inner = Sentence("{n:.1f} days", {"n": 2.5})
    assert words.fill("about {inner}", inner=inner) == "etwa 2,5 Tage"


REFUSED = [
    lambda: make_plan(CANVAS, Settings(ppi=5)),
    lambda: make_plan(CANVAS, Settings(width=9000.0)),
    lambda: make_plan(Size(4, 3), Settings()),
    lambda: make_plan(CANVAS, Settings(orientation="portrait")),
    lambda: make_plan(CANVAS, Settings(width=1.0, edges="bleed", edge_mm=30.0)),
    lambda: make_plan(CANVAS, Settings(width=1.0, edges="wrap", edge_mm=30.0)),
    lambda: make_plan(CANVAS, Settings(panel_rows=20, panel_columns=20)),
    lambda: make_plan(CANVAS, Settings(sheet_width_mm=10.0)),
    lambda: make_plan(CANVAS, Settings(sheet_width_mm=21.0, overlap_mm=20.0)),
    lambda: make_plan(CANVAS, Settings(panel_columns=9, overlap_mm=200.0)),
    lambda: make_plan(CANVAS, Settings(panel_rows=9, overlap_mm=200.0)),
    lambda: make_plan(CANVAS, Settings(preset="Nowhere")),
    lambda: parse_print_size("3furlong"),
    lambda: parse_print_size("3"),
    lambda: parse_print_size("0cm"),
    lambda: parse_print_size("900m"),
]


@pytest.mark.parametrize("ask", REFUSED)
def test_refusals_are_said_in_german(ask):
    """Another text, with the same values, and nothing left unfilled."""
    with pytest.raises(PrintSizeError) as error:
        ask()
    english, german = (plan_lines.explain(words, error.value) for words in (ENGLISH, GERMAN))
    assert english == str(error.value)
    assert german != english
    assert "{" not in german
    numbers = [re.findall(r"\d+", text) for text in (english, german)]
    assert sorted(numbers[0]) == sorted(numbers[1])


def test_other_errors_are_explained():
    trouble = ServerTrouble("worker 3 died", code="E_BACKEND")
    text = plan_lines.explain(GERMAN, trouble)
    assert text == CATALOGUE[trouble.sentence] + "\nworker 3 died"
    assert plan_lines.explain(GERMAN, BadInput("Wähle!")) == "Wähle!"
    english = BadInput("No room.", detail={"command": "proof"})  # as `program.run_command` does
    assert plan_lines.explain(GERMAN, english) == CATALOGUE[english.sentence] + "\nNo room."
    for code in ("E_HOST_AWAY", "E_OOM_HOST"):
        refused = from_code(code, "Studio is away.")
        assert plan_lines.explain(GERMAN, refused) == CATALOGUE[refused.sentence] + (
            "\nStudio is away."
        )
    assert plan_lines.explain(GERMAN, ValueError("plain")) == "plain"


# -- choices ---------------------------------------------------------------------------------------


def test_every_preset_can_be_printed(own):
    own(json.dumps({"Living room": "60x90cm", "Banner": "2m"}))
    offered = plan_lines.preset_choices()
    assert list(offered)[:3] == [CUSTOM, "own:Living room", "own:Banner"]
    assert {"A0", "A4", "B2", "30x40cm", "70x100cm", "8x10in", "24x36in"} <= set(offered)
    for value, text in offered.items():
        make_plan(CANVAS, Settings(preset=plan_lines.preset_of(value)))
        assert GERMAN.say(text)
    assert GERMAN.say(offered["A4"]) == "A4 · 21 × 29,7 cm"
    assert GERMAN.say(offered["own:Living room"]) == "Living room (60 × 90cm)"


def test_a_damaged_file_of_own_sizes_is_told_and_costs_nothing_else(own):
    assert plan_lines.presets_refusal() is None
    own("{")
    assert "A4" in plan_lines.preset_choices()
    assert "presets.json" in GERMAN.say(plan_lines.presets_refusal())


def test_choices_are_all_that_the_settings_know():
    assert set(plan_lines.ORIENTATIONS) == set(ORIENTATIONS)
    assert set(plan_lines.FITS) == set(FITS)
    assert set(plan_lines.ANCHORS) == set(ANCHORS)
    assert set(plan_lines.EDGES) == set(EDGES)
    assert set(plan_lines.WRAP_FILLS) == set(WRAP_FILLS)
    assert set(plan_lines.PRINTERS) == set(PRINTER_FAMILIES)
    assert set(plan_lines.STYLES) == set(STYLES)
    assert set(plan_lines.STRENGTHS) == set(STRENGTHS)
    assert set(plan_lines.MEDIA) == {*MEDIA, "screen"}
    assert set(plan_lines.SOURCES) == set(SOURCES)
    assert set(plan_lines.RESULTS) == set(RESULTS)


# -- lines -----------------------------------------------------------------------------------------


def test_pixels_line():
    plan, settings = plan_of(width=100.0)
    assert plan_lines.pixels_line(ENGLISH, plan, settings) == "7874 × 5512 px, 43.4 MP, 1.97×"
    plan, settings = plan_of(preset="A2", printer="360", edges="bleed")
    text = plan_lines.pixels_line(GERMAN, plan, settings)
    assert text.splitlines()[1:] == [
        f"mit Rändern von {plan.edge_px} px; beschnitten 59,4 × 41,6 cm",
        "mit den 360 ppi des Druckers",
    ]


def test_fit_line():
    plan, settings = plan_of(width=100.0, height=100.0, fit="crop")
    assert plan_lines.fit_line(ENGLISH, plan, settings).startswith("Keeps 2800 × 2800 px, 70 %")
    plan, settings = plan_of(width=100.0, height=100.0, fit="pad")
    assert "100,0 × 70,0 cm" in plan_lines.fit_line(GERMAN, plan, settings)
    plan, settings = plan_of(width=100.0)
    assert plan_lines.fit_line(ENGLISH, plan, settings) == ""


def test_advice_names_both_eyes():
    plan, _settings = plan_of(width=100.0)
    text = plan_lines.advice_line(ENGLISH, plan)
    numbers = [int(n) for n in re.findall(r"\d+(?= cm| ppi| for)", text)]
    assert numbers == [183, 48, 80, 200, 44, 73]


def test_detail_line_repeats_what_was_measured():
    """print.md's own example: 118 ppi at 100 x 70 cm, honest up to 59 x 41."""
    plan, settings = plan_of(width=100.0)
    job = layer_job(plan, WHOLE)
    reach = 0.5 * 118 / 200 * 7874 / 4000
    text = plan_lines.detail_line(ENGLISH, Detail(reach, 40), job, plan.ppi)
    assert "118 ppi at 100 x 70 cm" in text
    assert "59 x 41 cm at 200 ppi" in text
    larger = make_plan(CANVAS, replace(settings, width=200.0))
    text = plan_lines.detail_line(ENGLISH, Detail(reach, 40), layer_job(larger, WHOLE), 200.0)
    assert "59 ppi at 200 x 140 cm" in text
    german = plan_lines.detail_line(GERMAN, Detail(reach, 40, 2.5), job, plan.ppi)
    assert "ehrlich bis 59 x 41 cm" in german
    assert "2,5-Fache" in german


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (ENGLISH, "118 ppi (71 to 165, as read from texture alone) at 100 x 70 cm; honest"),
        (GERMAN, "118 ppi (71 bis 165, da nur aus der Textur gelesen) bei 100 x 70 cm; ehrlich"),
    ],
)
def test_detail_read_from_texture_alone_comes_with_its_range(words, said):
    plan, _settings = plan_of(width=100.0)
    reach = 0.5 * 118 / 200 * 7874 / 4000
    job = layer_job(plan, WHOLE)
    assert said in plan_lines.detail_line(words, Detail(reach, 0), job, plan.ppi)
    assert said not in plan_lines.detail_line(words, Detail(reach, 40), job, plan.ppi)
    likely = plan_lines.detail_line(words, Detail(1.5 * reach, 0), job, plan.ppi)
    assert " 200, " in likely, "more than the print's own ppi"


def test_halo_line_follows_what_is_asked_for():
    plan, settings = plan_of(width=100.0)
    assert plan_lines.halo_line(ENGLISH, plan, settings) == "Halo 0.51 mm (1/50 in), 4.0 px"
    plan, settings = plan_of(width=100.0, halo_mm=0.35, spread_mm=0.05)
    assert (
        plan_lines.halo_line(GERMAN, plan, settings)
        == "Saum 0,35 mm (1/73 Zoll), 2,8 px, angepasst"
    )
    plan, settings = plan_of(width=100.0, halo_mm=0.35, medium="screen")
    assert plan_lines.halo_line(ENGLISH, plan, settings) == "Not sharpened for paper."


def test_measuring_asks_for_no_enhancement():
    request = measure_request(CANVAS, RGB)
    options = request.options
    assert (options.repair, options.deblur, options.sharpen) == (0, 0, "none")
    assert request.window.width * request.window.height == CANVAS.pixels


def test_panels_line():
    plan, _settings = plan_of(width=100.0, panel_columns=3, crop_marks=True)
    text = plan_lines.panels_line(GERMAN, plan)
    assert text.startswith("3 Bahnen (1 × 3) von bis zu 36,3 × 71,6 cm, Überlappung 19,9 mm")
    assert "8,0 mm" in text
    assert plan_lines.panels_line(ENGLISH, plan_of(width=100.0)[0]) == ""


def test_files_line_tells_sizes_and_limits():
    plan, _settings = plan_of(width=100.0)
    text = plan_lines.files_line(ENGLISH, plan, RGB)
    assert "TIFF up to 260 MB" in text
    assert "JPEG about 17 MB" in text
    wide = make_plan(Size(40_000, 400), Settings(width=70_000, unit="px"))
    text = plan_lines.files_line(GERMAN, wide, PixelLayout("RGB", "u8"))
    assert "eine JPEG-Datei fasst höchstens 65500 px" in text
    large, _settings = plan_of(width=600.0)
    text = plan_lines.files_line(ENGLISH, large, RGB)
    assert "BigTIFF" in text
    assert "TIFF up to 9.4 GB" in text


def test_sharpened_twice_is_warned_of():
    earlier = {"medium": "canvas", "halo_px": 4.0}
    assert "Leinwand" in plan_lines.sharpened_line(GERMAN, earlier, Settings())
    assert plan_lines.sharpened_line(GERMAN, earlier, Settings(medium="none")) == ""
    assert plan_lines.sharpened_line(GERMAN, earlier, Settings(medium="screen")) == ""
    assert plan_lines.sharpened_line(GERMAN, None, Settings()) == ""


def test_what_came_of_a_print():
    plan, settings = plan_of(width=100.0, panel_columns=2)
    request = Request.build(
        CANVAS, RGB, layer_job(plan, WHOLE).placement, **settings.job_options(plan)
    )
    report = {
        "device": "CPU, 2 threads",
        "detail": {"reach_cycles_per_px": 0.25, "edges": 30, "enlarged_before": 1.0},
        "seams": {"borders": 40, "left": 0},
        "stages": [],
    }
    passport = Passport(request, "0" * 64, "pixels", "1" * 64, report)
    record = PrintRecord(passport, settings, CANVAS, seconds=12.4)
    lines = plan_lines.done_lines(GERMAN, record)
    assert lines[0] == "100,0 × 70,0 cm mit 200 ppi, 7874 × 5512 px, 1,97×"
    assert lines[1] == "In 12 s berechnet auf CPU, 2 threads."
    assert lines[2].startswith("Echte Details für 51 ppi")
    assert "keine Naht" in lines[3]
    assert lines[4].startswith("2 Bahnen")
    report["seams"] = {"borders": 40, "left": 3}
    assert "zeigen 3 eine Stufe" in plan_lines.done_lines(GERMAN, record)[3]


def test_a_refusal_without_values():
    with pytest.raises(Refusal, match=r"brace \{"):
        raise Refusal("brace {{")
