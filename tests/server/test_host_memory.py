"""Whether a job fits into the computer's memory: planted limits, and a real one."""

from __future__ import annotations

import dataclasses
import os
import resource
import sys
from pathlib import Path

import pytest

from wallprint_protocol.errors import OutOfResources
from wallprint_protocol.pixels import PixelLayout
from wallprint_protocol.print_size import Size, place
from wallprint_protocol.request import Request
from wallprint_server import host_memory
from wallprint_server.host_memory import Memory, check, lies_in_memory, need, read_memory
from wallprint_server.pipeline.plan import make_plan
from wallprint_testing.servers import Picture

GIB, MIB = 1 << 30, 1 << 20
MEMINFO = "MemTotal: 8388608 kB\nMemFree: 1 kB\nMemAvailable: 6291456 kB\nHugePages_Total: 0\n"


SOURCE = Size(6000, 4000)


def request(source=SOURCE, scale=4, style="faithful", **options) -> Request:
    out = Size(source.width * scale, source.height * scale)
    layout = PixelLayout("RGB", "u8")
    return Request.build(source, layout, place(source, out, "crop"), style=style, **options)


# -- what there is ---------------------------------------------------------------------------------


def planted(folder: Path, groups: str, files: dict[str, str]) -> Memory:
    """What is read of a computer of 8 GiB, 6 free, with such control groups."""
    proc, cgroups = folder / "proc", folder / "cgroup"
    (proc / "self").mkdir(parents=True)
    (proc / "meminfo").write_text(MEMINFO)
    (proc / "self" / "cgroup").write_text(groups)
    for name, content in files.items():
        (cgroups / name).parent.mkdir(parents=True, exist_ok=True)
        (cgroups / name).write_text(content)
    return read_memory(proc, cgroups)


def test_a_computer_without_limits(tmp_path):
    memory = planted(tmp_path, "0::/\n", {})
    assert (memory.total, memory.free, memory.where) == (8 * GIB, 6 * GIB, "computer")
    assert memory.ours == 4 * GIB


V2 = "0::/user.slice/app\n"
V1 = "5:cpu:/a\n4:hugetlb,memory:/docker/abc\n0::/\n"


@pytest.mark.parametrize(
    ("groups", "files", "total", "free"),
    [
        (V2, {"user.slice/app/memory.max": "max\n", "user.slice/app/memory.current": "5"}, 8, 6),
        (V2, {"user.slice/app/memory.max": str(2 * GIB), "user.slice/app/memory.current": "0",
              "user.slice/memory.max": "max", "user.slice/memory.current": "0"}, 2, 2),
        # The tightest of all counts, and what only caches files is free.
        (V2, {"user.slice/app/memory.max": str(4 * GIB),
              "user.slice/app/memory.current": str(GIB),
              "user.slice/memory.max": str(3 * GIB), "user.slice/memory.current": str(2 * GIB),
              "user.slice/memory.stat": f"anon 7\ninactive_file {GIB}\n"}, 3, 2),
        # Inside a container: its own group is what is mounted.
        (V2, {"memory.max": str(3 * GIB), "memory.current": str(GIB)}, 3, 2),
        (V2, {"memory.max": str(GIB), "memory.current": str(3 * GIB)}, 1, 0),
        (V2, {"user.slice/app/memory.max": "nonsense", "memory.max": str(16 * GIB),
              "memory.current": "0"}, 8, 6),
        (V1, {"memory/docker/abc/memory.limit_in_bytes": str(2 * GIB),
              "memory/docker/abc/memory.usage_in_bytes": str(2 * GIB),
              "memory/docker/abc/memory.stat": f"total_inactive_file {GIB}"}, 2, 1),
        (V1, {"memory/memory.limit_in_bytes": str(2 * GIB),
              "memory/memory.usage_in_bytes": str(GIB)}, 2, 1),
        (V1, {"memory/memory.limit_in_bytes": "9223372036854771712",
              "memory/memory.usage_in_bytes": str(GIB)}, 8, 6),
    ],
)  # fmt: skip
def test_planted_control_groups(tmp_path, groups, files, total, free):
    memory = planted(tmp_path, groups, files)
    assert (memory.total, memory.free) == (total * GIB, free * GIB)
    assert memory.where == ("computer" if total == 8 else "container")


def test_without_the_kernels_files_there_is_what_the_system_says(tmp_path):
    memory = read_memory(tmp_path, tmp_path)
    assert memory.total == os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.skipif(sys.platform != "linux", reason="mountinfo is Linux's")
def test_files_that_take_memory_are_known(tmp_path):
    device = tmp_path.stat().st_dev
    here = f"{os.major(device)}:{os.minor(device)}"
    (tmp_path / "self").mkdir()
    for kind, answer in (("tmpfs", True), ("ext4", False)):
        text = f"1 1 0:999 / /x rw - tmpfs x rw\n2 1 {here} / /y rw shared:1 - {kind} tmpfs rw\n"
        (tmp_path / "self" / "mountinfo").write_text(text)
        assert lies_in_memory(tmp_path, tmp_path) is answer
    if Path("/dev/shm").is_dir():
        assert lies_in_memory(Path("/dev/shm"))


# -- what a job needs ------------------------------------------------------------------------------


def test_half_is_the_editors():
    """The same job: told with what it needs, what there is and what helps; and it fits in twice."""
    wanted = need(
        request(style="enhanced"),
        on_cpu=True,
        files_in_memory=False,
        memory=Memory(2 * GIB, 2 * GIB),
    ).total
    assert GIB < wanted < 2 * GIB  # all of the memory would do
    with pytest.raises(OutOfResources, match="half of this computer's 2,147 MB") as caught:
        check(request(style="enhanced"), on_cpu=True, memory=Memory(2 * GIB, 2 * GIB))
    error = caught.value
    assert error.code == "E_OOM_HOST"
    assert f"needs {wanted / 1e6:,.0f} MB of memory and may have 1,074 MB" in error.message
    assert "the style faithful" in error.message
    assert error.detail == {
        "needed_bytes": wanted, "ours_bytes": GIB, "free_bytes": 2 * GIB
    }  # fmt: skip
    check(request(style="enhanced"), on_cpu=True, memory=Memory(6 * GIB, 6 * GIB))
    check(request(), on_cpu=True, memory=Memory(2 * GIB, 2 * GIB))


def test_what_other_programs_hold_is_not_there():
    with pytest.raises(OutOfResources, match=r"only 210 MB of .* close other programs"):
        check(request(), on_cpu=True, memory=Memory(8 * GIB, 200 * MIB))
    check(request(), on_cpu=True, memory=Memory(8 * GIB, 600 * MIB))


def test_tiles_on_a_graphics_card_take_none_of_it():
    little = Memory(2 * GIB, 2 * GIB)
    check(request(style="enhanced"), on_cpu=False, memory=little)


def test_pictures_count_where_files_lie_in_memory():
    """On a live system without a disk: 24 and 384 megapixels."""
    memory = Memory(2 * GIB, 2 * GIB)
    pictures = 3 * 17 * 24_000_000
    on_disk, in_memory = (
        need(request(), on_cpu=True, files_in_memory=place, memory=memory)
        for place in (False, True)
    )
    assert in_memory.total - on_disk.total == pictures
    with pytest.raises(OutOfResources, match="on a disk"):
        check(request(), on_cpu=True, files_in_memory=True, memory=memory)
    mask = dataclasses.replace(request(), selection=PixelLayout("GRAY", "u8"))
    assert (
        need(mask, on_cpu=True, files_in_memory=True, memory=memory).files == pictures + 24_000_000
    )


@pytest.mark.parametrize("gib", [1.5, 2, 3, 8, 64])
@pytest.mark.parametrize("scale", [1, 4, 16, 40])
def test_tiles_shrink_to_what_there_is_and_then_the_job_fits(gib, scale):
    """Less memory makes smaller tiles, and only where even those do not fit a refusal."""
    memory = Memory(int(gib * GIB), int(gib * GIB))
    job = request(Size(1500, 1000), scale)
    check(job, on_cpu=True, memory=memory)
    usual, most = host_memory.tile_budget(job, memory)
    assert usual <= most <= memory.ours
    plan = make_plan(job, repair_amount=0, memory_bytes=usual, most_bytes=most)
    assert plan.tile_bytes <= need(job, on_cpu=True, files_in_memory=False, memory=memory).tile
    assert plan.tile_bytes <= memory.ours / 2


def test_unknown_network_is_left_to_the_pipeline_to_refuse():
    check(request(model="no-such-network"), on_cpu=True, memory=Memory(2 * GIB, 2 * GIB))


# -- when it is told -------------------------------------------------------------------------------


@pytest.fixture
def tight_server(start_server):
    """A server whose processes may address 900 MiB each, by a real limit of the system."""

    def start(**settings):
        server = start_server(**settings)
        resource.prlimit(server.process.pid, resource.RLIMIT_AS, (900 * MIB, 900 * MIB))
        return server

    return start


@pytest.mark.skipif(sys.platform != "linux", reason="prlimit is Linux's")
def test_real_limit_is_told_at_the_opening(tight_server):
    server, read = tight_server(), []
    picture = Picture(300, 200, (1200, 800), style="enhanced", device="cpu")
    with server.connect() as connection:
        with pytest.raises(OutOfResources, match=r"944 MB \(the limit of a process") as caught:
            picture.enhance(connection, read=lambda rect: read.append(rect))
        assert caught.value.code == "E_OOM_HOST"
        assert caught.value.detail["needed_bytes"] > 900 * MIB
        assert read == []
        status = connection.status()
        assert (status["jobs"], status["spool_bytes"]) == ({}, 0)
        small = Picture(30, 20, device="cpu")
        small.enhance(connection)
    assert small.result == small.expected()


@pytest.mark.skipif(sys.platform != "linux", reason="prlimit is Linux's")
def test_what_only_the_worker_knows_is_told_before_it_works(tight_server):
    """Which device `auto` is nobody knows before the first worker is there."""
    server, phases = tight_server(prestart=False), set()
    picture = Picture(300, 200, (1200, 800), style="enhanced")
    with server.connect() as connection:
        with pytest.raises(OutOfResources, match="the limit of a process") as caught:
            picture.enhance(connection, on_progress=lambda p: phases.add(p.phase))
        assert caught.value.code == "E_OOM_HOST"
        assert "run" not in phases
        with pytest.raises(OutOfResources):  # now it is known
            picture.enhance(connection, read=lambda rect: pytest.fail("asked for pixels"))
