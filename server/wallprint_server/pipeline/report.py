"""What was done to a picture: plain values for messages and JSON, sentences for people."""

from __future__ import annotations

import contextlib
import functools
import importlib.metadata
import platform
from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any

import torch

from wallprint_protocol.detail_budget import DetailBudget
from wallprint_protocol.print_size import px_to_mm
from wallprint_protocol.request import Options

from .blur import Blur
from .halo import OutputSharpening
from .halo_meter import Halo
from .noise import noise_amount
from .plan import Plan
from .repair import Blocking
from .seams import SeamCheck
from .shake import Shake


@dataclass
class Report:
    """What was done; grows while the job runs.

    Attributes:
        plan: the plan.
        device: name of the device.
        ppi: of the print.
        blocking: measured JPEG grid, when repair was automatic.
        blur: measured blur, where the deblurring depended on it.
        noise: its deviation in levels of 255, when repair was automatic; 0 where it does not count.
        shake: of the camera, where it was looked for and found.
        repair_amount: 0..100, as used.
        detail: how far the picture's detail reaches on the print; None for a cut-out of one.
        networks: sha256 of the weights by network name.
        seconds: time by stage.
        redone: tiles computed again in float32.
        calmed: tiles with pixels at which a network ran away.
        halved: how often a tile was cut because memory ran out.
        halo: as measured on the finished print; None without output sharpening, for a cut-out, and
            for what is sharpened or visible only in parts.
        fitted_edges: on how many edges the sharpening for a halo that was asked for rests.
        seams: what was found at the borders between tiles.
        pieces: into which each tile is cut since then.
        notes: sentences for the user.
    """

    plan: Plan
    device: str
    ppi: float
    blocking: Blocking | None
    repair_amount: int
    blur: Blur | None = None
    noise: float = 0.0
    shake: Shake | None = None
    detail: DetailBudget | None = None
    networks: dict[str, str] = field(default_factory=dict)
    seconds: defaultdict[str, float] = field(default_factory=lambda: defaultdict(float))
    halo: Halo | None = None
    fitted_edges: int = 0
    redone: int = 0
    calmed: int = 0
    halved: int = 0
    pieces: int = 1
    seams: SeamCheck = field(default_factory=SeamCheck)
    notes: list[str] = field(default_factory=list)

    def to_map(self) -> dict[str, Any]:
        """Plain values, for messages and JSON."""
        how = self.plan.sharpening
        return {
            "device": self.device,
            "software": _software(),
            "stages": self._stages(),
            "ladder": [spec.name for spec in self.plan.ladder],
            "network_scale": self.plan.scale,
            "networks": dict(self.networks),
            "repair": self.repair_amount,
            "deblur": self.plan.deblur[1] if self.plan.deblur else 0,
            "blur_px": round(self.blur.width_px, 2) if self.blur else None,
            "shake": self._shake_map(),
            "noise": round(self.noise, 2),
            "detail": self.detail.to_map() if self.detail else None,
            "jpeg_step": round(self.blocking.step, 3) if self.blocking else None,
            "sharpening": None
            if how is None
            else {
                "medium": how.medium,
                "sigma_px": round(how.sigma_px, 4),
                "amount": round(how.amount, 4),
                "halo_px": round(how.halo_px, 3),
                "overshoot": round(how.overshoot, 4),
                "edge_px": round(how.edge_px, 3),
            },
            "halo": self.halo.to_map(self.ppi) if self.halo else None,
            "tiles": self.plan.tiles,
            "tile_px": list(self.plan.window_px),
            "border_px": round(self.plan.reach_px, 2),
            "blend_px": self.plan.blend_px,
            "redone_tiles": self.redone,
            "calmed_tiles": self.calmed,
            "halved_tiles": self.halved,
            "seams": self.seams.to_map(),
            "seconds": {stage: round(s, 3) for stage, s in self.seconds.items()},
        }

    def _stages(self) -> list[dict[str, Any]]:
        """What was done, in order, each with its network and strength."""
        plan = self.plan
        stages: list[dict[str, Any]] = []
        used = [
            *([("repair", plan.repair[0], self.repair_amount)] if plan.repair else []),
            *([("deblur", *plan.deblur)] if plan.deblur else []),
            *(("enlarge", spec, 100) for spec in plan.ladder),
        ]
        for stage, spec, strength in used:
            stages.append(
                {
                    "stage": stage,
                    "network": spec.name,
                    "sha256": self.networks.get(spec.name, ""),
                    "strength": strength,
                    "style": spec.style,
                }
            )
            if stage == "deblur" and self.shake is not None:
                stages[-1]["shake"] = self._shake_map()
        step = max(axis.step for axis in plan.axes)
        if step * plan.scale != 1.0:
            stages.append({"stage": "resample", "kernel": "Lanczos 3", "scale": round(1 / step, 4)})
        if plan.sharpening is not None:
            how = plan.sharpening
            stages.append(
                {
                    "stage": "sharpen",
                    "medium": how.medium,
                    "sigma_px": round(how.sigma_px, 4),
                    "amount": round(how.amount, 4),
                    "halo_px": round(how.halo_px, 3),
                    **({"measured": self.halo.to_map(self.ppi)} if self.halo else {}),
                }
            )
        return stages

    def add_notes(self, options: Options) -> None:
        """Put into sentences what the user of a job with these options should know."""
        if self.repair_amount and self.blocking is not None:
            step, noise = self.blocking.step, self.noise
            found = [f"JPEG blocks of {step:.1f} levels"] if self.blocking.amount else []
            found += [f"noise of {noise:.0f} levels"] if noise_amount(noise) else []
            what, verb = " and ".join(found), "were" if self.blocking.amount else "was"
            self.notes.append(
                f"{what[0].upper()}{what[1:]} {verb} found and removed "
                f"(repair {self.repair_amount})."
            )
        elif any(spec.robust for spec in self.plan.ladder):
            self.notes.append(
                "The picture was a JPEG; it was enlarged by a network that knows them."
            )
        self.notes += self._blur_notes(options)
        if self.detail is not None:
            self.notes.append(self.detail.sentence())
        if options.halo_mm and self.plan.sharpening is not None:
            self.notes += self._halo_notes(self.plan.sharpening, options)
        if self.redone:
            self.notes.append(f"{self.redone} tile(s) were computed again in float32.")
        if self.calmed:
            self.notes.append(
                f"In {self.calmed} tile(s) a network could not cope with extreme colours; "
                "such pixels were enlarged plainly."
            )
        if self.seams.redone:
            self.notes.append(
                f"{self.seams.redone} tile(s) were computed again with more overlap, because a "
                "border between tiles showed."
            )
        if self.seams.left:
            self.notes.append(
                f"At {self.seams.left} border(s) between tiles a step of up to "
                f"{self.seams.worst:.1f} levels of 255 is left; look there, or try --tile with "
                "another size or another network."
            )
        self.notes += self.plan.notes
        if self.halved:
            self.notes.append(f"Memory ran short: tiles were cut into {self.pieces} pieces each.")

    def _halo_notes(self, how: OutputSharpening, options: Options) -> list[str]:
        """What became of a halo that was asked for."""
        notes = []
        if not self.fitted_edges:
            notes.append(
                "The picture shows too few edges to fit a halo to; it was made for edges of "
                f"{how.edge_px:g} px."
            )
        if how.narrowest:
            notes.append(
                f"A halo of {options.halo_mm:g} mm is narrower than these edges allow, so that the "
                "sharpening hardly shows; ask for "
                f"{1.1 * px_to_mm(1, options.ppi) * how.halo_px:.2f} mm or more."
            )
        return notes

    def _shake_map(self) -> dict[str, Any] | None:
        """The camera's motion in plain values."""
        shake = self.shake
        if shake is None:
            return None
        return {
            "px": round(shake.extent_px, 1),
            "roll_degrees": round(shake.roll_degrees, 2),
            "misfit": round(shake.misfit, 3),
            "windows": shake.windows,
        }

    def _blur_notes(self, options: Options) -> list[str]:
        """How much blur there was, in the picture and on the wall, and what was done about it."""
        if self.shake is not None and self.plan.deblur is not None:
            return [
                f"The camera moved by {self._on_the_wall(self.shake.extent_px)} while the picture "
                f"was taken; that was taken out (deblur {self.plan.deblur[1]})."
            ]
        asked = bool(options.deblur)
        if self.blur is not None and (self.blur.amount or (asked and self.blur.may_be_shake)):
            found = f"Blur of {self._on_the_wall(self.blur.width_px)} was found"
            if self.plan.deblur is not None:
                return [f"{found}, and removed (deblur {self.plan.deblur[1]})."]
            return [f"{found}; no movement of the camera explains it, so it stays."]
        if asked and self.plan.deblur is None:
            return [
                "Deblurring was asked for, but no blur was seen in the edges; "
                "nothing was deblurred."
            ]
        return []

    def _on_the_wall(self, source_px: float) -> str:
        step = max(axis.step for axis in self.plan.axes)
        wall_mm = source_px / step * 25.4 / self.ppi
        return f"{source_px:.1f} px, {wall_mm:.1f} mm on the wall,"


@functools.cache
def _software() -> dict[str, str]:
    """Versions on which the last bits of a result depend."""
    found = {"python": platform.python_version(), "torch": str(torch.__version__)}
    with contextlib.suppress(importlib.metadata.PackageNotFoundError):
        found["ncnn"] = importlib.metadata.version("ncnn")
    return found
