"""Krita's nodes as raw strips: which layout their bytes have, reading, writing.

No arithmetic on pixels. All functions here belong into Krita's main thread.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from wallprint_protocol.errors import BadInput
from wallprint_protocol.pixels import PixelLayout
from wallprint_protocol.print_size import Rect

from .texts import _

Read = Callable[[Rect], bytes]

_DTYPES = {"U8": "u8", "U16": "u16", "F16": "f16", "F32": "f32"}
# Krita names its linear profiles so; its own U16, F16 and F32 default is one of them.
_LINEAR_MARKS = ("-g10", "linear", "scrgb")


@dataclass(frozen=True)
class Space:
    """A colour space by Krita's names; `layout` says how its bytes lie."""

    model: str
    depth: str
    profile: str

    @property
    def layout(self) -> PixelLayout:
        """Raises BadInput for what cannot be enlarged, with the cure."""
        integer = self.depth in ("U8", "U16")
        # Krita keeps integer RGB as B, G, R, A and float RGB as R, G, B, A.
        models = {"RGBA": "BGRA" if integer else "RGBA", "GRAYA": "GRAYA"}
        if integer:  # float inks run from 0 to 100 in Krita
            models["CMYKA"] = "CMYKA"
        if self.model not in models or self.depth not in _DTYPES:
            raise BadInput(
                _(
                    "Layers in {model} {depth} cannot be enlarged; convert the image to RGB first "
                    "(Image > Convert Image Color Space)."
                ).format(model=self.model, depth=self.depth)
            )
        linear = self.model != "CMYKA" and any(
            mark in self.profile.lower() for mark in _LINEAR_MARKS
        )
        trc = "linear" if linear else "perceptual"
        return PixelLayout(models[self.model], _DTYPES[self.depth], "straight", trc)


def space_of(item) -> Space:
    """Of a node or a document."""
    return Space(item.colorModel(), item.colorDepth(), item.colorProfile())


def rect_of(node) -> Rect:
    """Where the node has pixels, canvas px.

    Raises:
        BadInput: nowhere.
    """
    bounds = node.bounds()
    if bounds.width() <= 0 or bounds.height() <= 0:
        raise BadInput(_("The layer is empty; select one with a picture."))
    return Rect(bounds.x(), bounds.y(), bounds.width(), bounds.height())


def shows_own_pixels(node) -> bool:
    """Whether `pixelData` is what the node shows: a paint layer without masks on it."""
    return node.type() == "paintlayer" and not node.childNodes()


def node_reader(node, origin: Rect, *, own: bool = False) -> Read:
    """Reads strips of a node; groups, vectors, masked layers as what they show, unless `own`."""
    fetch = node.pixelData if own or shows_own_pixels(node) else node.projectionPixelData

    def read(rect: Rect) -> bytes:
        data = fetch(origin.x + rect.x, origin.y + rect.y, rect.width, rect.height)
        return bytes(data)

    return read


def document_reader(document) -> Read:
    """Reads strips of the visible picture."""

    def read(rect: Rect) -> bytes:
        return bytes(document.pixelData(rect.x, rect.y, rect.width, rect.height))

    return read


def sampled(document, most_px: int):
    """A node with every n-th pixel of the visible picture, at most so many px wide and high.

    Krita's own thumbnail reads the whole picture, seconds for a large one.
    """
    width, height = document.width(), document.height()
    step = max(1, -(-max(width, height) // most_px))
    node = empty_node(document, "small", space_of(document))
    columns = range(step // 2, width, step)
    rows = range(step // 2, height, step)
    parts = []
    for y in rows:
        row = bytes(document.pixelData(0, y, width, 1))
        size = len(row) // width
        parts += [row[x * size : (x + 1) * size] for x in columns]
    node.setPixelData(b"".join(parts), 0, 0, len(columns), len(rows))
    return node


def selection_reader(selection, origin: Rect) -> Read:
    """Reads strips of the selection's 8-bit mask over a layer."""

    def read(rect: Rect) -> bytes:
        data = selection.pixelData(origin.x + rect.x, origin.y + rect.y, rect.width, rect.height)
        return bytes(data)

    return read


def empty_node(document, name: str, space: Space):
    """A paint layer that is not in the document yet, in the given colour space."""
    node = document.createNode(name, "paintlayer")
    if space_of(node) != space:
        node.setColorSpace(space.model, space.depth, space.profile)
    return node
