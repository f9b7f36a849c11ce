"""Pipelines and an engine for tests of the command line; the server's settings name them."""

from __future__ import annotations

from wallprint_protocol.errors import BadInput
from wallprint_protocol.print_size import Rect
from wallprint_testing.pipelines import NoEngine, Report, nearest


class CpuOnly(NoEngine):
    """A computer without a graphics card."""

    def __init__(self, device: str = "auto") -> None:
        super().__init__(device)
        if device == "cuda":
            raise BadInput("There is no CUDA device here; use --device auto.", code="E_DEVICE")

    def describe(self) -> str:
        return "a test device"


def quick(request, source, selection, result, **more):
    """Nearest neighbour, with a report like the real one's."""
    report = nearest(request, source, selection, result, **more)
    report.report = {"device": "a test device", "networks": {"span-x4": "0" * 64}}
    return report


def framed(request, source, selection, result, *, on_progress, **more):
    """Nearest neighbour from the window into the rectangle; margins are the real pipeline's."""
    from wallprint_server.pipeline.edges import Margins  # needs torch, which the others do not

    window, rect, px = request.window, request.rect, source.bytes_per_pixel
    for y in range(rect.height):
        at = int(window.y + (y + 0.5) * window.height / rect.height)
        row = source.read(Rect(0, at, source.size.width, 1))
        columns = (int(window.x + (x + 0.5) * window.width / rect.width) for x in range(rect.width))
        line = b"".join([row[x * px : x * px + px] for x in columns])
        result.write(Rect(rect.x, rect.y + y, rect.width, 1), line)
    done = Margins(result, request.layout, request.options).extend(request.out.height)
    on_progress("run", 1, 1, done)
    return Report()


def slow(request, source, selection, result, **more):
    """Eight rows in a twentieth of a second."""
    return nearest(request, source, selection, result, pause_s=0.05, **more)


def no_memory(request, source, selection, result, **more):
    raise MemoryError


def broken(request, source, selection, result, **more):
    raise ValueError("a secret bug")
