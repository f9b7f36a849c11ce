"""Pipelines and an engine for tests of the command line; the server's settings name them."""

from __future__ import annotations

from wallprint_protocol.errors import BadInput
from wallprint_testing.pipelines import NoEngine, nearest


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


def slow(request, source, selection, result, **more):
    """Eight rows in a twentieth of a second."""
    return nearest(request, source, selection, result, pause_s=0.05, **more)


def no_memory(request, source, selection, result, **more):
    raise MemoryError


def broken(request, source, selection, result, **more):
    raise ValueError("a secret bug")
