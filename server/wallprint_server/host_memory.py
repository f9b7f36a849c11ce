"""How much of the computer's memory a job needs and may have; told before any work is done for it.

Half of the memory belongs to the user's editor, which holds the document and gets the print. The
other half must hold both processes of the server and one tile; pictures wait in files, which count
only where files lie in memory. Knows neither sockets nor torch: both processes ask here.
"""

from __future__ import annotations

import contextlib
import os
import resource
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from wallprint_protocol.errors import OutOfResources, WallprintError
from wallprint_protocol.request import Request

# What a tile may use on a CPU where memory is plenty; the second where it would otherwise be mostly
# border (networks that reach far), or where the user wants large ones.
CPU_TILE_BYTES, MOST_TILE_BYTES = 1 << 30, 3 << 30
# Both processes with torch and the networks, no tile: 230 and 66 MiB, and what allocators keep.
PROCESSES_BYTES = 400 << 20
# Strips of the source and of the result that are looked at or filled as a whole.
STRIP_ROWS = 64
EDITORS_SHARE = 0.5
_FLOAT_BYTES = 4
_PROC, _CGROUPS = Path("/proc"), Path("/sys/fs/cgroup")
_IN_MEMORY = {"tmpfs", "ramfs"}


@dataclass(frozen=True)
class Memory:
    """Memory that there is, bytes.

    Attributes:
        total: of the computer, or of the container that these processes are in.
        free: of it, without taking any from other programs; what only caches files counts as free.
        process: that one process may address (`ulimit -v`), None where nothing limits it.
        where: "computer" or "container".
    """

    total: int
    free: int
    process: int | None = None
    where: str = "computer"

    @property
    def ours(self) -> int:
        """What the server may use."""
        half = int(self.total * (1 - EDITORS_SHARE))
        return half if self.process is None else min(half, self.process)


@dataclass(frozen=True)
class Need:
    """Memory that a job takes, bytes.

    Attributes:
        processes: of the server, whatever it computes.
        tile: one tile, where it is computed by the processor.
        strips: of the pictures.
        files: source, selection and result, where files lie in memory.
    """

    processes: int
    tile: int
    strips: int
    files: int

    @property
    def total(self) -> int:
        """All of it."""
        return self.processes + self.tile + self.strips + self.files


def read_memory(proc: Path = _PROC, cgroups: Path = _CGROUPS) -> Memory:
    """What there is now: of the computer, of its tightest control group, of a process.

    Args:
        proc: where the kernel tells about itself.
        cgroups: where the control groups are mounted, version 1 or 2.
    """
    try:
        lines = (proc / "meminfo").read_text("ascii").splitlines()
        values = {name: int(rest.split()[0]) << 10 for name, _, rest in map(_halves, lines)}
        memory = Memory(values["MemTotal"], values.get("MemAvailable", values["MemTotal"]))
    except (OSError, ValueError, KeyError, IndexError):  # not Linux
        total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        memory = Memory(total, total)
    for limit, used in _groups(proc, cgroups):
        if limit < memory.total:
            memory = Memory(limit, min(memory.free, max(0, limit - used)), None, "container")
    soft = resource.getrlimit(resource.RLIMIT_AS)[0]
    process = None if soft == resource.RLIM_INFINITY else soft
    return Memory(memory.total, memory.free, process, memory.where)


def _halves(line: str) -> tuple[str, str, str]:
    return line.partition(":")


def _groups(proc: Path, cgroups: Path) -> Iterator[tuple[int, int]]:
    """(limit, use without file caches) of each control group that this process is in."""
    try:
        lines = (proc / "self" / "cgroup").read_text("utf-8").splitlines()
    except OSError:
        return
    for line in lines:
        # https://www.kernel.org/doc/html/latest/admin-guide/cgroup-v2.html, "0::/PATH"; of version
        # 1 the line of the memory controller counts.
        number, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if number == "0" and not controllers:
            root, names = cgroups, ("memory.max", "memory.current", "inactive_file")
        elif "memory" in controllers.split(","):
            root = cgroups / "memory"
            names = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
        else:
            continue
        inner = root / path.lstrip("/")
        # In a container the path is often the host's, and what is mounted begins at its own group.
        for folder in (inner, *inner.parents):
            if folder.is_relative_to(root):
                with contextlib.suppress(OSError, ValueError):  # none here, or "max"
                    limit, used = (int((folder / name).read_text()) for name in names[:2])
                    yield limit, used - _cached(folder / "memory.stat", names[2])


def _cached(stat: Path, name: str) -> int:
    """Bytes of files that the kernel gives back when memory is wanted."""
    with contextlib.suppress(OSError):
        for line in stat.read_text("ascii").splitlines():
            if line.startswith(f"{name} "):
                return int(line.split()[1])
    return 0


def lies_in_memory(folder: Path, proc: Path = _PROC) -> bool:
    """Whether files of a folder take memory, as on a live system (proc_pid_mountinfo(5))."""
    try:
        device = folder.stat().st_dev
        lines = (proc / "self" / "mountinfo").read_text("utf-8").splitlines()
    except OSError:
        return False
    here = f"{os.major(device)}:{os.minor(device)}"
    return any(
        line.split()[2] == here and line.partition(" - ")[2].split()[0] in _IN_MEMORY
        for line in lines
    )


def tile_budget(request: Request, memory: Memory | None = None) -> tuple[int, int]:
    """Bytes that one tile may use on a processor: usually, and at most.

    Of the total, not of what happens to be free: the same computer then cuts the same tiles.
    """
    ours = (memory or read_memory()).ours
    left = max(0, ours - PROCESSES_BYTES - _strip_bytes(request))
    return min(CPU_TILE_BYTES, left), min(MOST_TILE_BYTES, left)


def _strip_bytes(request: Request) -> int:
    """A strip of the wider picture, as bytes and as planes."""
    width = max(request.source.width, request.out.width)
    layout = request.layout
    return STRIP_ROWS * width * (layout.bytes_per_pixel + layout.channels * _FLOAT_BYTES)


def need(request: Request, *, on_cpu: bool, files_in_memory: bool, memory: Memory) -> Need:
    """What a job takes.

    Args:
        request: the job, checked.
        on_cpu: whether its tiles are computed, and so lie, in the computer's own memory.
        files_in_memory: whether the spool's do.
        memory: what there is, which decides how large the tiles are.
    """
    layout, source, out = request.layout, request.source, request.out
    selection = request.selection.bytes_per_pixel if request.selection else 0
    files = source.pixels * (layout.bytes_per_pixel + selection)
    files += out.pixels * layout.bytes_per_pixel
    return Need(
        PROCESSES_BYTES,
        _tile_bytes(request, *tile_budget(request, memory)) if on_cpu else 0,
        _strip_bytes(request),
        files if files_in_memory else 0,
    )


def _tile_bytes(request: Request, usual: int, most: int) -> int:
    """Of the plan that is dearest in memory; more than the budget where even small tiles are."""
    from .pipeline.plan import make_plan  # only a server that has a job

    asked = request.options.repair
    try:
        plans = [
            make_plan(request, repair_amount=amount, memory_bytes=usual, most_bytes=most)
            for amount in ((0, 100) if asked is None else (asked,))
        ]
    except WallprintError:
        return 0  # a network that is not there: the pipeline says so better
    return max(plan.tile_bytes for plan in plans)


def check(
    request: Request,
    *,
    on_cpu: bool,
    files_in_memory: bool = False,
    memory: Memory | None = None,
) -> None:
    """Refuse a job that does not fit, before any work.

    Args:
        request: the job, checked.
        on_cpu: see `need`.
        files_in_memory: see `need`; False once they are there.
        memory: what there is; None looks.

    Raises:
        OutOfResources: E_OOM_HOST; says how much is needed, how much there is and what to do.
    """
    memory = memory or read_memory()
    wanted = need(request, on_cpu=on_cpu, files_in_memory=files_in_memory, memory=memory)
    detail = {"needed_bytes": wanted.total, "ours_bytes": memory.ours, "free_bytes": memory.free}
    if wanted.total > memory.ours:
        limit = f"half of this {memory.where}'s {_mb(memory.total)}, the rest is the editor's"
        if memory.process == memory.ours:
            limit = "the limit of a process here (ulimit -v)"
        raise OutOfResources(
            f"This print needs {_mb(wanted.total)} of memory and may have {_mb(memory.ours)} "
            f"({limit}); {_advice(wanted)}.",
            code="E_OOM_HOST",
            detail=detail,
        )
    # The server's own processes are there already, or will be asked again when they are.
    if wanted.total - wanted.processes > memory.free:
        raise OutOfResources(
            f"This print needs {_mb(wanted.total - wanted.processes)} of free memory and only "
            f"{_mb(memory.free)} of this {memory.where}'s {_mb(memory.total)} are free; close "
            "other programs and try again.",
            code="E_OOM_HOST",
            detail=detail,
        )


def _advice(wanted: Need) -> str:
    """What helps against the largest part."""
    parts = {
        "keep the server's files on a disk (WALLPRINT_STATE_DIR), or make a smaller print": (
            wanted.files
        ),
        "make a smaller print, or choose the style faithful": wanted.tile,
        "make a narrower print": wanted.strips,
        "use a computer with more memory": wanted.processes,
    }
    return max(parts, key=lambda advice: parts[advice])


def _mb(count: int) -> str:
    return f"{count / 1e6:,.0f} MB"
