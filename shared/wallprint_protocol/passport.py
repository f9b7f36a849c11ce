"""The passport of a print: what it was made from, how, and what came out, as plain values.

Command line and editors fill in one; files carry it as XMP and JSON, editors with the result's
layer. `wallprint reproduce` reads it back. Knows nothing of files, and of pixels only their hash.

References:
    IPTC NewsCodes, Digital Source Type, http://cv.iptc.org/newscodes/digitalsourcetype/
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from . import __version__
from .pixels import PixelLayout
from .print_size import Size, px_to_mm
from .request import Options, Request

FORMAT = 1
XMP_NAMESPACE = "urn:x-wallprint:passport:1:"  # of its properties, in files and editors
SOURCE_TYPES = "http://cv.iptc.org/newscodes/digitalsourcetype/"
# Networks restored what the picture has; networks added what it has not.
ENHANCED, INVENTED = "algorithmicallyEnhanced", "compositeWithTrainedAlgorithmicMedia"
# Said of a picture that is synthetic in whole or in part: no enhancement makes that untrue.
SYNTHETIC = (
    INVENTED,
    "trainedAlgorithmicMedia",
    "algorithmicMedia",
    "compositeSynthetic",
    "dataDrivenMedia",
    "virtualRecording",
)


@dataclass(frozen=True)
class Passport:
    """How a print was made.

    Attributes:
        request: the job; its profile is not kept.
        source_sha256: of the source's file, or of its pixels where there is no file (editors).
        source_is: "file" or "pixels": what was hashed.
        pixels_sha256: of the print's pixels as computed: rows from the top, samples little-endian,
            in the request's layout, before a file format rounds them.
        report: what the server says was done (`pipeline.report.Report.to_map`).
        icc: name of the profile that the pixels are meant in, "" without one.
        selection_sha256: of the selection's file or pixels, "" without one.
        earlier_sharpening: what the source's own passport says of output sharpening, or None.
        version: of wallprint.
    """

    request: Request
    source_sha256: str
    source_is: str
    pixels_sha256: str
    report: Mapping[str, Any]
    icc: str = ""
    selection_sha256: str = ""
    earlier_sharpening: Mapping[str, Any] | None = None
    version: str = __version__

    @property
    def stages(self) -> list[dict[str, Any]]:
        """What was done, in order; each has a "stage" and, where there was one, a "network"."""
        return [dict(stage) for stage in self.report.get("stages", [])]

    @property
    def source_type(self) -> str:
        """IPTC term for what was done, "" when no network had a part in it."""
        networks = [stage for stage in self.stages if stage.get("network")]
        if not networks:
            return ""
        invents = any(stage.get("style") == "enhanced" for stage in networks)
        return INVENTED if invents else ENHANCED

    @property
    def output_sharpening(self) -> dict[str, Any] | None:
        """Medium, halo, sigma and amount: of this run, else of an earlier one that still shows."""
        for stage in self.stages:
            if stage["stage"] == "sharpen":
                return {key: value for key, value in stage.items() if key != "stage"}
        return dict(self.earlier_sharpening) if self.earlier_sharpening else None

    def to_map(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        request, out = self.request, self.request.out
        ppi = request.options.ppi
        selection = None
        if request.selection is not None:
            selection = {"sha256": self.selection_sha256, "layout": request.selection.to_map()}
        return {
            "passport": FORMAT,
            "wallprint": self.version,
            "software": dict(self.report.get("software", {})),
            "device": self.report.get("device", ""),
            "source": {
                "sha256": self.source_sha256,
                "of": self.source_is,
                "width": request.source.width,
                "height": request.source.height,
                "layout": request.layout.to_map(),
            },
            "selection": selection,
            "print": {
                "pixels_sha256": self.pixels_sha256,
                "width": out.width,
                "height": out.height,
                "width_mm": round(px_to_mm(out.width, ppi), 2),
                "height_mm": round(px_to_mm(out.height, ppi), 2),
                "ppi": ppi,
                "icc": self.icc,
            },
            "options": request.options.to_map(),
            "stages": self.stages,
            "output_sharpening": self.output_sharpening,
            "digital_source_type": self.source_type and SOURCE_TYPES + self.source_type,
        }

    def to_json(self) -> str:
        """One line of JSON; the same run gives the same line."""
        return json.dumps(self.to_map(), ensure_ascii=False, separators=(",", ":"))

    @classmethod
    def from_map(cls, value: Any) -> Passport:
        """Inverse of `to_map`, checked.

        Raises:
            ValueError: not a passport, of a later format, or with a value that no job can have.
        """
        try:
            found = int(value["passport"])
            if found != FORMAT:
                raise ValueError(f"it has format {found}; this wallprint reads {FORMAT}")
            source, out = value["source"], value["print"]
            source_size = Size(int(source["width"]), int(source["height"]))
            out_size = Size(int(out["width"]), int(out["height"]))
            selection = value["selection"]
            request = Request(
                source_size,
                PixelLayout.from_map(source["layout"]),
                out_size,
                Options.from_map(value["options"], source=source_size, out=out_size),
                PixelLayout.from_map(selection["layout"]) if selection else None,
            )
            return cls(
                request,
                source_sha256=str(source["sha256"]),
                source_is=str(source["of"]),
                pixels_sha256=str(out["pixels_sha256"]),
                report={
                    "stages": [{"stage": str(s["stage"]), **s} for s in value["stages"]],
                    "software": dict(value["software"]),
                    "device": str(value["device"]),
                },
                icc=str(out["icc"]),
                selection_sha256=str(selection["sha256"]) if selection else "",
                earlier_sharpening=value["output_sharpening"],
                version=str(value["wallprint"]),
            )
        except KeyError as error:
            raise ValueError(f"{error} is missing") from None
        except (TypeError, AttributeError, OverflowError) as error:
            raise ValueError(f"not a passport ({error})") from None

    def differences(self, other: Passport) -> list[str]:
        """What another run of the same job did otherwise, one sentence each."""
        here, there = self.to_map(), other.to_map()
        found = [
            f"{name}: {here[name] or 'nothing'} then, {there[name] or 'nothing'} now."
            for name in ("wallprint", "device")
            if here[name] != there[name]
        ]
        for name in sorted({*here["software"], *there["software"]}):
            then, now = (run["software"].get(name, "none") for run in (here, there))
            if then != now:
                found.append(f"{name}: {then} then, {now} now.")
        for index in range(max(len(self.stages), len(other.stages))):
            then, now = (
                describe_stage(run.stages[index]) if index < len(run.stages) else "nothing"
                for run in (self, other)
            )
            if then != now:
                found.append(f"Step {index + 1}: {then} then, {now} now.")
        return found


def describe_stage(stage: Mapping[str, Any]) -> str:
    """One line: what was done, by which network, how strongly; the first digits of its hash."""
    parts = [str(stage["stage"])]
    for key, value in stage.items():
        if key == "stage" or value in ("", None):
            continue
        parts.append(f"{key} {value[:16] if key == 'sha256' else value}")
    return ", ".join(parts)
