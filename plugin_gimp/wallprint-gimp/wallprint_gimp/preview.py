"""The spot: a small part of the print, computed by the server, before and after.

The server gets the layer and a window of it; the pixels are those of the full run. "Before" is the
same spot with an empty selection, which the server enlarges plainly.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import gi

gi.require_version("Gtk", "3.0")
from gi.repository import Gdk, GdkPixbuf, Gegl, Gimp, GLib, Gtk  # noqa: E402

from wallprint_protocol import client  # noqa: E402
from wallprint_protocol.errors import Cancelled, WallprintError  # noqa: E402
from wallprint_protocol.pixels import PixelLayout  # noqa: E402
from wallprint_protocol.print_plan import Plan, Settings, Spot, layer_job, spot  # noqa: E402
from wallprint_protocol.print_size import Rect, Size  # noqa: E402
from wallprint_protocol.request import Request  # noqa: E402

from . import pixels, run  # noqa: E402
from .texts import _, explain  # noqa: E402
from .turns import Turns  # noqa: E402
from .window import pump  # noqa: E402

_SPOT = Size(400, 220)
_THUMB_PX = 140
_CHECKS = (0x999999, 0x666666)


class Preview:
    """Thumbnail to choose the spot, the spot itself with a movable split, a line of text.

    Args:
        image: the document.
        layer: the active layer.
        settings: gives the dialog's present values.
        turns: of the dialog.
    """

    def __init__(
        self,
        image: Gimp.Image,
        layer: Gimp.Layer,
        settings: Callable[[], Settings],
        turns: Turns,
    ) -> None:
        self._image, self._layer, self._turns = image, layer, turns
        self._plan: Plan | None = None
        self._settings: Settings = settings()
        self._centre = (0.5, 0.5)
        self._pictures: tuple[GdkPixbuf.Pixbuf, GdkPixbuf.Pixbuf] | None = None
        self._split = 0.5
        self.widget = Gtk.Box(orientation=Gtk.Orientation.VERTICAL, spacing=6)
        row = Gtk.Box(orientation=Gtk.Orientation.HORIZONTAL, spacing=12)
        row.pack_start(self._thumbnail(), False, False, 0)
        self._text = Gtk.Label(xalign=0.0, yalign=0.0)
        self._text.set_line_wrap(True)
        self._text.set_max_width_chars(22)
        row.pack_start(self._text, True, True, 0)
        self.widget.pack_start(row, False, False, 0)
        self.widget.pack_start(self._canvas(), False, False, 0)
        self._say(_("Click into the small picture to see a spot of the print at 1:1."))

    def changed(self, plan: Plan, settings: Settings) -> None:
        """Values have changed: what is shown no longer holds."""
        self._plan, self._settings = plan, settings
        if self._pictures is not None:
            self._pictures = None
            self._show()
            self._say(_("Values have changed; click to see the spot again."))

    # -- widgets -----------------------------------------------------------------------------------

    def _thumbnail(self) -> Gtk.Widget:
        picture = _thumbnail(self._layer)
        self._thumb_size = (picture.get_width(), picture.get_height())
        shown = Gtk.Image.new_from_pixbuf(picture)
        box = Gtk.EventBox(valign=Gtk.Align.START)
        box.set_can_focus(True)
        box.get_accessible().set_name(_("Choose the spot"))
        box.add(shown)
        box.connect("button-press-event", self._clicked)
        box.connect("key-press-event", self._key)
        return box

    def _canvas(self) -> Gtk.Widget:
        self._shown = Gtk.Image()
        self._shown.set_size_request(_SPOT.width, _SPOT.height)
        box = Gtk.EventBox()
        box.add_events(Gdk.EventMask.BUTTON_PRESS_MASK | Gdk.EventMask.BUTTON1_MOTION_MASK)
        box.add(self._shown)
        box.connect("button-press-event", self._move_split)
        box.connect("motion-notify-event", self._move_split)
        self._show()
        return box

    def _say(self, text: str) -> None:
        self._text.set_text(text)

    def _clicked(self, _box, event) -> bool:
        width, height = self._thumb_size
        self._centre = (min(1.0, event.x / width), min(1.0, event.y / height))
        self._turns.start(self.compute)
        return True

    def _key(self, _box, event) -> bool:
        if event.keyval not in (Gdk.KEY_Return, Gdk.KEY_space):
            return False
        self._turns.start(self.compute)
        return True

    def _move_split(self, _box, event) -> bool:
        if self._pictures is not None:
            width = self._pictures[0].get_width()
            left = (_SPOT.width - width) / 2  # Gtk.Image centres what is smaller
            self._split = min(1.0, max(0.0, (event.x - left) / width))
            self._show()
        return True

    def _show(self) -> None:
        """Join both pictures at the split. Pixbufs alone: PyGObject may lack its cairo part."""
        if self._pictures is None:
            empty = GdkPixbuf.Pixbuf.new(
                GdkPixbuf.Colorspace.RGB, True, 8, _SPOT.width, _SPOT.height
            )
            empty.fill(0x80808040)
            self._shown.set_from_pixbuf(empty)
            return
        before, after = self._pictures
        width, height = after.get_width(), after.get_height()
        middle = round(width * self._split)
        joined = after.copy()
        if middle:
            before.copy_area(0, 0, middle, height, joined, 0, 0)
        if 0 < middle < width:
            line = GdkPixbuf.Pixbuf.new(GdkPixbuf.Colorspace.RGB, True, 8, 1, height)
            line.fill(0xFFFFFFFF)
            line.copy_area(0, 0, 1, height, joined, middle, 0)
        self._shown.set_from_pixbuf(joined)

    # -- the job -----------------------------------------------------------------------------------

    def compute(self) -> None:
        """Have the spot made; the dialog stays usable meanwhile."""
        if self._plan is None:
            return
        plan, settings = self._plan, self._settings
        self._say(_("Computing the spot…"))
        try:
            pictures = self._spot_pictures(plan, settings)
            if plan is self._plan:
                self._pictures = pictures
                self._say(_("Left: plainly enlarged. Right: the print. Drag the line."))
        except Cancelled:
            pass
        except (WallprintError, ValueError) as error:
            self._say(explain(error))
        if not self._turns.stopped:
            self._show()

    def _should_cancel(self, plan: Plan) -> bool:
        pump()
        return self._turns.should_end() or plan is not self._plan

    def _spot_pictures(self, plan: Plan, settings: Settings):
        with run.source_of(self._image, self._layer, settings) as source:
            whole = layer_job(plan, source.rect)
            part = spot(whole, self._centre, _SPOT, fitted=settings.fits_halo)
            with client.connect(
                on_status=lambda text: self._say(_(text)),
                should_cancel=lambda: self._should_cancel(plan),
                editor="GIMP",
                editor_version=Gimp.version(),
            ) as link:
                job = (link, source, part, plan, settings)
                before, _report = self._job(*job, plain=True)
                draft = settings.deblur != 0
                after, report = self._job(*job, draft=draft)
                if draft and report.get("deblur"):  # else it is what the whole would be
                    if plan is self._plan:
                        self._pictures = (before, after)
                        self._show()
                        self._say(_("A first look; the whole is being computed…"))
                    after, _report = self._job(*job)
        return before, after

    def _job(
        self, link, source, part: Spot, plan: Plan, settings: Settings, *, plain=False, draft=False
    ):
        """The spot's picture, and the server's report."""
        size = Size(source.rect.width, source.rect.height)
        layout, read_mask = None, None
        if plain:
            layout = PixelLayout("GRAY", "u8")

            def read_mask(rect: Rect) -> bytes:
                return bytes(rect.width * rect.height)

            settings = replace(settings, medium="none")  # or a halo would be fitted for nothing
        elif settings.source == "selection":
            layout, read_mask = pixels.selection_reader(self._image, (source.rect.x, source.rect.y))
        request = Request.build(
            size, source.format.layout, part.placement, selection=layout,
            draft=draft, **settings.job_options(plan),
        )  # fmt: skip
        out = part.placement.out
        buffer = Gegl.Buffer.new(source.format.name, 0, 0, out.width, out.height)
        result = client.enhance(
            request,
            pixels.reader(source.drawable, source.format.name),
            pixels.writer(buffer, source.format.name),
            read_selection=read_mask,
            should_cancel=lambda: self._should_cancel(plan),
            connection=link,
        )
        return _picture(buffer, part.inner), result.report


def _thumbnail(layer: Gimp.Layer) -> GdkPixbuf.Pixbuf:
    """The layer, small, on checks. GIMP's own thumbnails exist for 8-bit layers only."""
    scale = _THUMB_PX / max(layer.get_width(), layer.get_height())
    width, height = (max(1, int(px * scale)) for px in (layer.get_width(), layer.get_height()))
    picture = _picture(layer.get_buffer(), Rect(0, 0, width, height), scale)
    nearest = GdkPixbuf.InterpType.NEAREST
    return picture.composite_color_simple(width, height, nearest, 255, 8, *_CHECKS)


def _picture(buffer: Gegl.Buffer, rect: Rect, scale: float = 1.0) -> GdkPixbuf.Pixbuf:
    """A part of a buffer, in scaled pixels, for the screen; babl converts what it holds."""
    box = Gegl.Rectangle.new(rect.x, rect.y, rect.width, rect.height)
    data = buffer.get(box, scale, "R'G'B'A u8", Gegl.AbyssPolicy.CLAMP)
    return GdkPixbuf.Pixbuf.new_from_bytes(
        GLib.Bytes.new(bytes(data)),
        GdkPixbuf.Colorspace.RGB,
        True,
        8,
        rect.width,
        rect.height,
        4 * rect.width,
    )
