"""What an editor knows of a print it has made: passport, the dialog's values, the server's report.

Handed to commands of the program that make something of the finished print: `wallprint report` and
`wallprint save`. Knows nothing of files and of pixels.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from .passport import Passport
from .print_plan import Plan, Settings, make_plan
from .print_size import Size


@dataclass(frozen=True)
class PrintRecord:
    """A print and how it came about.

    Attributes:
        passport: of the print, with the server's whole report.
        settings: of the dialog.
        canvas: of the document that the print was planned for, px.
        resolution: of that document, horizontal and vertical; only their ratio counts.
        name: of the layer or document, for people.
        seconds: the job took.
        notes: sentences of the server.
    """

    passport: Passport
    settings: Settings
    canvas: Size
    resolution: tuple[float, float] = (1.0, 1.0)
    name: str = ""
    seconds: float = 0.0
    notes: tuple[str, ...] = ()

    @property
    def plan(self) -> Plan:
        """Of the print."""
        return make_plan(self.canvas, self.settings, resolution=self.resolution)

    def to_json(self) -> str:
        """One line."""
        value = {
            "passport": self.passport.to_map(),
            "report": dict(self.passport.report),
            "settings": asdict(self.settings),
            "canvas": [self.canvas.width, self.canvas.height],
            "resolution": list(self.resolution),
            "name": self.name,
            "seconds": self.seconds,
            "notes": list(self.notes),
        }
        return json.dumps(value, ensure_ascii=False)

    @classmethod
    def from_map(cls, value: Mapping[str, Any]) -> PrintRecord:
        """Inverse of `to_json`, once it is parsed; unknown keys are ignored.

        Raises:
            ValueError: something is missing or damaged.
        """
        try:
            known = {field.name for field in fields(Settings)}
            settings = {k: v for k, v in value["settings"].items() if k in known}
            passport = Passport.from_map(value["passport"])
            x, y = (float(part) for part in value["resolution"])
            return cls(
                replace(passport, report=dict(value["report"])),
                Settings(**settings),
                Size(*(int(side) for side in value["canvas"])),
                (x, y),
                str(value["name"]),
                float(value["seconds"]),
                tuple(str(note) for note in value["notes"]),
            )
        except (KeyError, TypeError, AttributeError, OverflowError) as error:
            raise ValueError(f"it is no record of a print ({error})") from None
