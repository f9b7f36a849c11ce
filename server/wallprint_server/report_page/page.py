"""The HTML of a report page: pictures, what each stage did, measurements, sources.

Knows nothing of pixels.
"""

from __future__ import annotations

import html
import string
from collections.abc import Mapping, Sequence
from importlib import resources
from typing import Any

from wallprint_protocol.errors import BadInput
from wallprint_protocol.passport import Passport
from wallprint_protocol.print_size import Rect, px_to_mm

from ..models import catalog
from .look import Crop, Look, Sight

_STAGES = {
    "input": ("The photograph", "What the camera gave, plainly enlarged to the size of the print."),
    "repair": (
        "Repair",
        "A small network that has seen thousands of compressed pictures beside their originals "
        "takes out JPEG blocks and noise ({strength} of 100). Grey stays grey, and where the "
        "photograph is flat nothing changes.",
    ),
    "deblur": (
        "Deblur",
        "MSSNet works on three sizes of the picture, from coarse to fine: where the small one has "
        "found the movement, the large one only needs to sharpen ({strength} of 100). Still at the "
        "photograph's own size, where a pixel of blur costs least.",
    ),
    "shake": (
        "Deblur",
        "The camera moved by {px:g} px of the photograph while it was taken. How it moved was read "
        "from the photograph, and the light was put back to where it came from ({strength} of "
        "100); a small network took away most of the rings that this leaves. What the movement had "
        "averaged away stays soft.",
    ),
    "enlarge": (
        "Enlarge",
        "{networks}. Of the networks' answer only the detail is used, what is finer than the "
        "photograph could say; everything slower comes from the photograph itself. Flat areas and "
        "greys get nothing added.",
    ),
    "resample": (
        "Resample",
        "One exact Lanczos step to the very pixels of the print, {scale:.2f} times the photograph, "
        "with weights from the whole picture's coordinates, so that no tile shows.",
    ),
    "sharpen": (
        "Sharpen for paper",
        "Ink spreads. For {medium} a halo of {halo_px:.1f} px is laid along the edges, {wide}. "
        "This is the print.",
    ),
}
_WHY = {
    "faithful": "A plain enlargement averages neighbours, so an edge gets wider with every step. "
    "These networks have learned from pairs of small and large pictures which sharp edge a row of "
    "soft pixels came from, and draw that edge anew on the fine grid: its place is known to a "
    "fraction of a pixel, because many pixels along it agree. Several steps make a ladder, and "
    "each begins with an edge that is already one pixel wide. What the photograph does not "
    "support, no step of the faithful style adds.",
    "enhanced": "The network of this style was trained against a critic that tells real "
    "photographs from enlarged ones. It draws edges and textures that are likely, not only those "
    "that are certain: fine, and partly invented.",
    "": "No network enlarged this picture: it has pixels enough, and was only brought to the "
    "print's exact size.",
}
_SOURCES = (
    ("Kim, Lee, Cho: MSSNet, ECCV 2022 workshops (deblurring)", "https://arxiv.org/abs/2202.09652"),
    ("Wan et al.: SPAN, CVPR 2024 workshops (enlarging)", "https://arxiv.org/abs/2311.12770"),
    ("Wang et al.: Real-ESRGAN, ICCV 2021 workshops (enlarging, enhanced style)",
     "https://arxiv.org/abs/2107.10833"),
    ("Dong et al.: SRCNN, TPAMI 2016 (the root of these networks)",
     "https://arxiv.org/abs/1501.00092"),
    ("Duchon: Lanczos filtering, J. Appl. Meteorol. 18, 1979", ""),
    ("Fraser, Schewe: Real World Image Sharpening, 2009 (sharpening for paper)", ""),
    ("PyTorch, which computes the networks", "https://pytorch.org"),
    ("libvips, which reads and writes the files", "https://www.libvips.org"),
)  # fmt: skip
_TIMES = {
    "load": "load the networks", "read": "read", "repair": "repair", "deblur": "deblur",
    "enlarge": "enlarge", "resample": "resample", "sharpen": "sharpen", "write": "write",
    "seams": "compare tiles", "measure": "look for blur and detail",
}  # fmt: skip


def page(
    look: Look,
    passport: Passport,
    *,
    name: str,
    seconds: float,
    notes: Sequence[str] = (),
) -> str:
    """The whole page, one string, without references to anything outside but links.

    Args:
        look: its pictures.
        passport: of the print.
        name: of the print's file.
        seconds: the whole job took.
        notes: what the user was told.
    """
    report, request = passport.report, passport.request
    ppi = request.options.ppi
    width_cm, height_cm = (px_to_mm(px, ppi) / 10 for px in (request.out.width, request.out.height))
    scale = max(
        request.rect.width / request.window.width, request.rect.height / request.window.height
    )
    values = {
        "title": f"{name}: how this print was made",
        "heading": name,
        "lead": f"{width_cm:.1f} × {height_cm:.1f} cm at {ppi:g} ppi, {request.out.width} × "
        f"{request.out.height} px: {scale:.2f} times the photograph of {request.source.width} × "
        f"{request.source.height} px.",
    }
    escaped = {key: html.escape(value) for key, value in values.items()}
    networks = [stage for stage in passport.stages if stage["stage"] == "enlarge"]
    style = next((str(stage.get("style") or "faithful") for stage in networks), "")
    shown = [*look.crops, *(sight.crop for sight in look.sights)]
    template = resources.files(__package__).joinpath("page.html").read_text("utf-8")
    return string.Template(template).substitute(
        escaped,
        overview=look.overview,
        marks="".join(_mark(look, crop.rect) for crop in shown),
        places="".join(
            f'<button type="button" data-place aria-pressed="{str(i == 0).lower()}">'
            f"{html.escape(crop.name)}</button>"
            for i, crop in enumerate(shown)
        ),
        compares="".join(_compare(crop) for crop in shown),
        sights=_sights(look.sights),
        way=_way(look, passport),
        why=f"<p>{html.escape(_WHY[style])}</p>",
        cards=_cards(report, passport),
        notes=_notes(notes),
        bars=_bars(report.get("seconds", {}), seconds),
        sources=_sources(passport.stages),
        passport=_passport(passport),
    )


def _mark(look: Look, rect: Rect) -> str:
    parts = (
        ("left", rect.x / look.size.width), ("top", rect.y / look.size.height),
        ("width", rect.width / look.size.width), ("height", rect.height / look.size.height),
    )  # fmt: skip
    return f'<i style="{";".join(f"{side}:{part:.2%}" for side, part in parts)}"></i>'


def _compare(crop: Crop) -> str:
    name, size = html.escape(crop.name), crop.size
    return (
        f'<div class="compare" style="--w:{size.width};--h:{size.height};--zoom:1">'
        '<div class="window" tabindex="0" role="group" aria-label="The comparison, scrollable">'
        '<div class="pair" style="--at:50%">'
        f'<img class="before" src="{crop.before}" alt="Plain enlargement: {name}">'
        f'<img class="after" src="{crop.after}" alt="The print: {name}"></div></div>'
        '<p class="names" aria-hidden="true"><span>plain enlargement</span><span>your print</span>'
        '</p><input type="range" min="0" max="100" value="50" step="1" '
        f'aria-label="How much of the plain enlargement is shown: {name}"></div>'
    )


def _sights(sights: Sequence[Sight]) -> str:
    """What can be told apart from where the print will hang."""
    if not sights:
        return ""
    told = ", ".join(f"an eye of {sight.eye} in {_per_cent(sight.share)}" for sight in sights)
    cm = f"{sights[0].distance_mm / 10:.0f} cm"
    text = (
        f"From {cm}, where this print will be seen from, the plain enlargement and your print look "
        f"different: to {told} of the part shown. The places named “from {cm}” show what such an "
        "eye gets: each pixel is the finest thing that it resolves. 20/20 is normal, 20/12 the "
        "sharpest that is common."
    )
    return f"<p>{html.escape(text)}</p>"


def _per_cent(share: float) -> str:
    return "less than 1 %" if share < 0.01 else f"{100 * share:.0f} %"


def _way(look: Look, passport: Passport) -> str:
    pictures = dict(look.stages)
    stages: dict[str, dict[str, Any]] = {"input": {}}
    names: list[str] = []
    titles: list[str] = []
    for stage in passport.stages:
        stages.setdefault(stage["stage"], stage)
        if stage["stage"] == "enlarge":
            names.append(str(stage.get("network")))
            titles.append(_title(names[-1]))
    wide = "just as wide as the viewing distance hides"
    if passport.request.options.halo_mm:
        wide = f"fitted to its edges for the {passport.request.options.halo_mm:g} mm asked for"
    items = []
    for name, stage in stages.items():
        if name not in _STAGES:
            continue
        shake = stage.get("shake") or {}
        heading, sentence = _STAGES["shake" if shake else name]
        text = sentence.format_map(
            {"strength": 0, "scale": 1, "medium": "paper", "halo_px": 0.0, **stage, **shake,
             "networks": ", then ".join(titles), "wide": wide}
        )  # fmt: skip
        used = "" if name == "enlarge" or not stage.get("network") else _title(stage["network"])
        if name == "enlarge" and len(titles) > 1 and any(map(_is_robust, names)):
            used = "The picture beside this was made by the twins for clean photographs."
        picture = ""
        if name in pictures:
            picture = f'<img src="{pictures[name]}" alt="The spot after: {heading.lower()}">'
        empty = "" if picture else ' class="noimg"'
        soft = f'<p class="soft">{html.escape(used)}</p>' if used else ""
        items.append(
            f"<li>{picture}<div{empty}><h3>{heading}</h3><p>{html.escape(text)}</p>{soft}</div></li>"
        )
    return "".join(items)


def _title(network: str) -> str:
    try:
        return catalog.get(network).title
    except BadInput:  # of another installation
        return network


def _is_robust(network: str) -> bool:
    try:
        return catalog.get(network).robust
    except BadInput:
        return False


def _cards(report: Mapping[str, Any], passport: Passport) -> str:
    cards: list[tuple[str, str, str]] = []
    detail = report.get("detail")
    if isinstance(detail, Mapping) and detail.get("true_ppi"):
        wide, high = (float(mm) / 10 for mm in detail["honest_mm"])
        ppi = passport.request.options.ppi
        cards.append(
            (
                "Real detail",
                f"{detail['true_ppi']:.0f} ppi",
                f"of the photograph's own at this size; {ppi:g} would hold up to "
                f"{wide:.0f} × {high:.0f} cm",
            )
        )
    sharpening = passport.output_sharpening
    if sharpening:
        cards.append(_halo_card(sharpening, passport.request.options.ppi))
    seams = report.get("seams", {})
    if seams:
        worst = float(seams.get("worst_levels", 0))
        good = not seams.get("left")
        cards.append(
            (
                "Seams",
                "none" if good else f"{seams['left']} left",
                f"Borders between tiles compared: {seams.get('borders', 0)}; the largest step is "
                f"{worst:.2f} levels of 255"
                + (", half a level would show." if good else ".")
                + (f" {seams['redone_tiles']} tiles were made again." if seams.get("redone_tiles")
                   else ""),
            )
        )  # fmt: skip
    redone = int(report.get("redone_tiles", 0))
    cards.append(
        (
            "Black or undefined tiles",
            "none" if not redone else f"{redone} mended",
            "every answer of a network is looked at",
        )
    )
    blur = report.get("blur_px")
    if blur:
        cards.append(("Blur found", f"{blur:g} px", "in the photograph, before deblurring"))
    return "".join(
        f'<div class="card"><span class="soft">{html.escape(head)}</span>'
        f"<b>{html.escape(value)}</b>{html.escape(text)}</div>"
        for head, value, text in cards
    )


def _halo_card(sharpening: Mapping[str, Any], ppi: float) -> tuple[str, str, str]:
    """Width of the sharpening's halo, as measured on the print where it could be."""
    wanted_px = float(sharpening.get("halo_px", 0))
    wanted = f"{px_to_mm(1, ppi) * wanted_px:.2f} mm ({wanted_px:.1f} px)"
    aim = f"made for {sharpening.get('medium')} to be {wanted} wide"
    found = sharpening.get("measured")
    if not isinstance(found, Mapping) or not found.get("edges"):
        return "Halo", wanted, f"{aim}; the print has too few straight edges to measure it on"
    if not found.get("width_px"):
        return (
            "Halo",
            "none to be seen",
            f"at {found['edges']} edges of the print, which are {float(found['edge_px']):.1f} px "
            f"wide; {aim}, for sharp edges",
        )
    return (
        "Halo",
        f"{float(found['width_mm']):.2f} mm",
        f"or {float(found['width_px']):.1f} px, and {100 * float(found['overshoot']):.0f} % of the "
        f"contrast high, measured at {found['edges']} edges of the print, which are themselves "
        f"{float(found['edge_px']):.1f} px wide; {aim}",
    )


def _notes(notes: Sequence[str]) -> str:
    if not notes:
        return ""
    items = "".join(f"<li>{html.escape(note)}</li>" for note in notes)
    return f'<div class="warn"><h3>To know</h3><ul class="notes">{items}</ul></div>'


def _bars(seconds: Mapping[str, float], whole: float) -> str:
    known = {key: float(value) for key, value in seconds.items() if value >= 0.005}
    known["everything else"] = max(0.0, whole - sum(known.values()))
    longest = max(known.values(), default=0.0) or 1.0
    rows = [
        f'<span>{html.escape(_TIMES.get(key, key))}</span><i style="width:{value / longest:.1%}">'
        f"</i><span>{value:.1f} s</span>"
        for key, value in sorted(known.items(), key=lambda item: -item[1])
    ]
    rows.append(f"<b>together</b><span></span><b>{whole:.1f} s</b>")
    return "".join(rows)


def _sources(stages: Sequence[Mapping[str, Any]]) -> str:
    items = []
    for stage in stages:
        if not stage.get("network"):
            continue
        try:
            spec = catalog.get(str(stage["network"]))
        except BadInput:
            continue
        text = f"{spec.title}: {spec.paper}. Weights: {spec.licence}"
        link = spec.source if spec.source.startswith("https://") else ""
        items.append(("<b>used here</b> ", text, link))
    items += [("", text, link) for text, link in _SOURCES]
    return "".join(
        f"<li>{mark}"
        + (f'<a href="{html.escape(link)}">{html.escape(text)}</a>' if link else html.escape(text))
        + "</li>"
        for mark, text, link in dict.fromkeys(items)
    )


def _passport(passport: Passport) -> str:
    values = passport.to_map()
    rows = {
        "source, SHA-256": values["source"]["sha256"],
        "print's pixels, SHA-256": values["print"]["pixels_sha256"],
        "colour profile": values["print"]["icc"] or "none",
        "digital source type": values["digital_source_type"].rpartition("/")[2] or "as found",
        "computed on": values["device"],
        "software": ", ".join(
            [
                f"wallprint {values['wallprint']}",
                *(f"{k} {v}" for k, v in values["software"].items()),
            ]
        ),
        **{
            f"weights of {stage['network']}": stage.get("sha256", "")
            for stage in values["stages"]
            if stage.get("network")
        },
    }
    return "".join(
        f"<dt>{html.escape(key)}</dt><dd><code>{html.escape(str(value))}</code></dd>"
        for key, value in rows.items()
    )
