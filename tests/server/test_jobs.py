"""What may be opened, what a tile must be, whose turn it is: arithmetic, without a server."""

from __future__ import annotations

import dataclasses
import os
import zlib

import pytest

from wallprint_protocol import flow, wire
from wallprint_protocol.errors import OutOfResources, ProtocolError, WallprintError
from wallprint_protocol.messages import JobOpen, Tile
from wallprint_protocol.pixels import Grid, PixelLayout, strip_cell
from wallprint_protocol.print_size import Rect, Size, place
from wallprint_protocol.request import Request
from wallprint_server import jobs, spool
from wallprint_server.config import Limits
from wallprint_server.jobs import JobTable, Pace, open_job
from wallprint_server.spool import SpoolRoom
from wallprint_testing.servers import wait_until

RGB = PixelLayout("RGB", "u8")


def opening(
    width=40, height=30, out=(80, 60), fmt=RGB, tile=None, key=None, options=None, **more
) -> JobOpen:
    source = Size(width, height)
    box = Size(*out)
    try:
        params = Request.build(source, fmt, place(source, box, "crop")).options.to_map()
    except (ValueError, ZeroDivisionError):  # sizes that no honest client has
        params = Request.build(Size(40, 30), fmt, place(Size(40, 30), Size(80, 60), "crop"))
        params = params.options.to_map()
    params.pop("model")
    message = JobOpen(
        id=1, j=os.urandom(16), key=bytes(32), op="enhance", model=more.pop("model", ""),
        w=width, h=height, out=box, fmt=fmt, tile=tile or Size(min(width, 40), min(height, 10)),
        params={**params, **(options or {})}, **more,
    )  # fmt: skip
    return dataclasses.replace(message, key=key or wire.job_key(message))


@pytest.fixture
def room(tmp_path):
    return SpoolRoom(tmp_path)


@pytest.fixture
def no_allocation(monkeypatch):
    """Whatever is refused must be refused before a byte is reserved."""

    def forbidden(*args):
        raise AssertionError("allocated")

    monkeypatch.setattr(spool, "reserve", forbidden)


def opened(room, message=None, peer=b"peer") -> jobs.Job:
    return open_job(message or opening(), peer, room, Limits(), flow.WINDOW_BYTES)


@pytest.mark.parametrize(
    ("change", "code", "limit"),
    [
        ({"width": 0}, "E_BAD_FIELD", None),
        ({"out": (0, 60)}, "E_BAD_FIELD", None),
        ({"width": 2**31}, "E_LIMIT", "side_px"),
        ({"out": (60, 2**32 - 1)}, "E_LIMIT", "side_px"),
        ({"width": 262_144, "height": 262_144}, "E_LIMIT", "input_px"),  # 2^36: 0 in 32 bits
        ({"width": 65_536, "height": 65_536}, "E_LIMIT", "input_px"),  # 2^32: 0 in 32 bits
        ({"out": (262_144, 16_384)}, "E_LIMIT", "output_px"),
        ({"width": 16_000, "height": 16_000, "out": (16_000, 250_000),
          "fmt": PixelLayout("CMYKA", "f32", "straight")}, "E_LIMIT", "output_bytes"),
        ({"tile": Size(0, 10)}, "E_BAD_FIELD", None),
        ({"tile": Size(41, 10)}, "E_BAD_FIELD", None),
        ({"width": 4000, "height": 2000, "tile": Size(4000, 2000)}, "E_LIMIT", "chunk"),
        ({"width": 2000, "height": 2000, "tile": Size(1, 1)}, "E_LIMIT", "tiles"),
        ({"key": bytes(32)}, "E_BAD_FIELD", None),
        ({"model": "../../etc/passwd"}, "E_BAD_FIELD", None),
        ({"model": "a" * 81}, "E_BAD_FIELD", None),
        ({"payload": bytes((4 << 20) + 1)}, "E_LIMIT", "icc_bytes"),
        ({"selection": PixelLayout("GRAY", "u8")}, "E_BAD_FIELD", None),
        ({"selection_tile": Size(1, 1)}, "E_BAD_FIELD", None),
        ({"selection": RGB, "selection_tile": Size(1, 1)}, "E_BAD_FIELD", None),
        ({"selection": PixelLayout("GRAY", "u8"), "selection_tile": Size(0, 1)}, "E_BAD_FIELD",
         None),
        ({"options": {"window": [0.0, 0.0, 41.0, 30.0]}}, "E_BAD_FIELD", None),
        ({"options": {"window": "abcd"}}, "E_BAD_FIELD", None),
        ({"options": {"window": 7}}, "E_BAD_FIELD", None),
        ({"options": {"rect": [80, 0, 5, 5]}}, "E_BAD_FIELD", None),  # beside the result
        ({"options": {"rect": [-5, 0, 5, 5]}}, "E_BAD_FIELD", None),
        ({"options": {"rect": [0, 0, 0, 60]}}, "E_BAD_FIELD", None),
        ({"options": {"rect": [0, 0, 262145, 60]}}, "E_BAD_FIELD", None),
        ({"options": {"rect": None}}, "E_BAD_FIELD", None),
        ({"options": {"ppi": 1e300}}, "E_BAD_FIELD", None),
        ({"options": {"repair": True}}, "E_BAD_FIELD", None),
        ({"options": {"device": "tpu"}}, "E_BAD_FIELD", None),
        ({"options": {"style": ["faithful"]}}, "E_BAD_FIELD", None),
        ({"options": {"tile_px": 63}}, "E_BAD_FIELD", None),
        ({"width": 400, "height": 300, "out": (5, 4)}, "E_BAD_FIELD", None),  # 1/80
    ],
)  # fmt: skip
def test_refused_before_anything_is_allocated(no_allocation, room, change, code, limit):
    if change.get("out") == (5, 4):
        change = {**change, "options": {"window": [0.0, 0.0, 400.0, 300.0], "rect": [0, 0, 5, 4]}}
        message = opening(width=400, height=300, out=(80, 60))
        params = {**message.params, **change["options"]}
        message = dataclasses.replace(message, out=Size(5, 4), params=params)
        message = dataclasses.replace(message, key=wire.job_key(message))
    else:
        message = opening(**change)
    with pytest.raises(ProtocolError) as caught:
        opened(room, message)
    assert caught.value.code == code, caught.value
    assert caught.value.detail.get("limit") == limit
    assert len(str(caught.value)) > 20


def test_job_that_does_not_fit_into_the_memory_gets_no_file(no_allocation, room):
    def refuse(request):
        raise OutOfResources(f"{request.out.width} px planted")

    with pytest.raises(OutOfResources, match="80 px planted"):
        open_job(opening(), b"peer", room, Limits(), flow.WINDOW_BYTES, refuse)
    assert room.used_bytes == 0


def test_a_good_job_is_opened_and_closed_without_a_trace(room, tmp_path):
    before = set(os.listdir("/proc/self/fd"))
    job = opened(room)
    assert job.grid.size == Size(80, 60)
    assert job.need_bytes == 40 * 30 * 3
    assert room.used_bytes == 40 * 30 * 3 + 80 * 60 * 3
    assert list(tmp_path.iterdir()) == []
    job.close()
    assert room.used_bytes == 0
    wait_until(lambda: set(os.listdir("/proc/self/fd")) == before)


def test_files_have_no_name_and_all_their_blocks(room):
    made = room.make(Size(100, 100), 4)
    status = os.fstat(made.raster.fd)
    assert (status.st_size, status.st_nlink) == (40_000, 0)
    assert status.st_blocks * 512 >= 40_000
    made.close()


def test_reserving_without_posix_fallocate_allocates_too(room, monkeypatch):
    monkeypatch.delattr(os, "posix_fallocate")
    made = room.make(Size(1000, 1100), 4)
    status = os.fstat(made.raster.fd)
    assert status.st_size == 4_400_000
    assert status.st_blocks * 512 >= 4_400_000
    made.close()


def test_full_disk_is_told_before_work_starts(tmp_path, monkeypatch):
    def full(descriptor, offset, nbytes):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    before = set(os.listdir("/proc/self/fd"))
    with pytest.raises(OutOfResources, match="MB are needed") as caught:
        opened(SpoolRoom(tmp_path))
    assert caught.value.code == "E_DISK_FULL"
    wait_until(lambda: set(os.listdir("/proc/self/fd")) == before)
    assert list(tmp_path.iterdir()) == []


def tile_of(job, index, number=0, **change) -> Tile:
    p = job.planes[number]
    rect = p.grid.rect(index)
    payload = os.urandom(rect.size.pixels * p.bytes_per_pixel)
    tile = Tile(j=job.j, plane=number, **wire.tile_fields(index, rect, payload, checksum=True))
    return dataclasses.replace(tile, **change)


@pytest.mark.parametrize(
    "change",
    [
        {"s": 3}, {"s": 2**32 - 1}, {"x": 1}, {"y": 10}, {"w": 39}, {"h": 2**32 - 1}, {"n": 1199},
        {"payload": b""}, {"payload": bytes(1201)}, {"plane": 1}, {"plane": 255},
        {"y": 2**32 - 10},
    ],
)  # fmt: skip
def test_illegal_tiles_are_refused_and_write_nothing(room, change):
    job = opened(room)
    with pytest.raises(ProtocolError) as caught:
        job.take(tile_of(job, 0, **change))
    assert caught.value.code == "E_BAD_FIELD"
    assert job.held().held == 0
    assert job.planes[0].spool.raster.read(Rect(0, 0, 40, 30)) == bytes(3600)
    job.close()


def test_tiles_land_where_they_belong_in_any_order(room):
    gray = PixelLayout("GRAY", "u16")
    job = opened(room, opening(tile=Size(13, 7), selection=gray, selection_tile=Size(40, 1)))
    expected = [bytearray(40 * 30 * 3), bytearray(40 * 30 * 2)]
    for number, plane in enumerate(job.planes):
        for index in reversed(range(len(plane.grid))):
            tile = tile_of(job, index, number)
            job.take(tile)
            size = plane.bytes_per_pixel
            for row in range(tile.h):
                start = ((tile.y + row) * 40 + tile.x) * size
                part = tile.payload[row * tile.w * size : (row + 1) * tile.w * size]
                expected[number][start : start + len(part)] = part
    assert job.held().complete
    assert job.need_bytes == 0
    for plane, pixels in zip(job.planes, expected, strict=True):
        assert plane.spool.raster.read(Rect(0, 0, 40, 30)) == pixels
    job.close()


def test_one_byte_too_many_is_a_credit_overrun(room):
    job = open_job(opening(height=200, tile=Size(40, 1)), b"p", room, Limits(), 0)
    granted = job.up.granted
    assert granted == 2 * flow.LEAST_COST_BYTES  # at least two tiles, 64 KiB each
    job.up.consume = lambda n: None  # a receiver that falls behind
    job.take(tile_of(job, 0))
    job.take(tile_of(job, 1))
    with pytest.raises(ProtocolError) as caught:
        job.take(tile_of(job, 2))
    assert caught.value.code == "E_CREDIT"
    job.close()


def test_credit_grows_by_quarters_and_never_beyond_the_window():
    credit, send = flow.ReceiveCredit(1 << 20, 1 << 16), flow.SendCredit()
    assert not send.allows(1)
    send.raise_to(credit.granted)
    in_flight, grants = [], 0
    for _ in range(1000):
        while send.allows(1 << 16):
            send.spend(1 << 16)
            in_flight.append(1 << 16)
        assert sum(in_flight) <= 1 << 20
        n = in_flight.pop(0)
        credit.receive(n)
        allowed = credit.consume(n)
        if allowed is not None:
            send.raise_to(allowed)
            send.raise_to(allowed - 1000)  # an old one changes nothing
            assert send.allowed == allowed
            grants += 1
    assert 200 <= grants <= 260  # one in four tiles


def test_damaged_tiles_stay_missing_and_the_third_ends_the_job(room):
    job = opened(room)
    for index in (0, 1):
        job.take(tile_of(job, index, crc=7))
    job.take(tile_of(job, 2))
    assert not job.held().complete
    assert job.held().missing_bitmap() == b"\x03"
    assert job.need_bytes == 2 * 1200
    with pytest.raises(ProtocolError) as caught:
        job.take(tile_of(job, 0, crc=7))
    assert caught.value.code == "E_CRC"
    job.close()


def test_bitmap_is_least_significant_bit_first():
    tiles = flow.TileSet(11)
    for index in (0, 9):
        tiles.add(index)
        tiles.add(index)
    assert (tiles.bitmap(), tiles.missing_bitmap()) == (b"\x01\x02", b"\xfe\x05")
    assert tiles.held == 2


def test_clients_take_turns_and_places_are_told(room):
    table = JobTable()
    a = [opened(room, peer=b"a") for _ in range(3)]
    b = [opened(room, peer=b"b") for _ in range(2)]
    for job in [*a, *b]:
        table.add(job)
        table.enqueue(job)
    assert [j.position for j in a + b] == [0] * 5
    changed = table.moved(busy=True)
    assert [j.position for j in a] == [1, 3, 5]
    assert [j.position for j in b] == [2, 4]
    assert set(map(id, changed)) == set(map(id, a + b))
    assert table.moved(busy=True) == []
    table.remove(a[1])  # cancelled while it waits
    order = []
    while (job := table.next()) is not None:
        order.append(job)
    assert order == [a[0], b[0], a[2], b[1]]
    for job in table:
        table.remove(job)
    assert room.used_bytes == 0


def test_other_clients_jobs_do_not_exist(room):
    table = JobTable()
    job = opened(room, peer=b"a")
    table.add(job)
    assert table.get(b"b", job.j) is None
    assert table.get(b"a", job.j) is job
    table.remove(job)


def test_output_waits_for_finished_rows_and_for_credit(room):
    job = opened(room, opening(width=600, height=600, out=(1200, 1200), tile=Size(600, 100)))
    rows = job.grid.cell.height
    tile_bytes = rows * 1200 * 3
    job.state, job.rows_done = "running", rows
    assert job.next_ready() is None  # no credit
    job.down.raise_to(tile_bytes)
    assert job.next_ready() == 0
    job.rows_done = rows - 1
    assert job.next_ready() is None
    job.rows_done, job.next_tile = 1200, len(job.grid)
    assert job.next_ready() is None
    job.close()


def test_progress_never_falls_and_is_one_to_ten_a_second():
    pace, sent = Pace(), []
    assert pace.message(b"j", 0.0) is None
    for step in range(400):
        now_s = 100 + step * 0.01
        pace.update("run", [step, step - 5][step % 2] if step > 5 else 0, 400, now_s)
        message = pace.message(b"j", now_s)
        if message:
            sent.append((now_s, message.done))
    assert 36 <= len(sent) <= 40
    assert [d for _, d in sent] == sorted(d for _, d in sent)
    quiet = [t for t in range(100) if pace.message(b"j", 200 + t / 10)]
    assert 9 <= len(quiet) <= 10


def test_eta_is_the_time_that_the_rest_takes_at_the_same_speed():
    pace = Pace()
    pace.update("run", 0, 100, 50.0)
    pace.update("run", 25, 100, 60.0)
    assert pace.message(b"j", 60.0).eta_s == pytest.approx(30.0)
    pace.update("save", 0, 10, 61.0)
    assert pace.message(b"j", 62.5).eta_s is None


def test_strip_geometry_covers_the_picture_once():
    for size, width in ((Size(1, 1), 1), (Size(262_144, 3), 20), (Size(70_001, 5), 16)):
        grid = Grid(size, strip_cell(size, width))
        assert sum(rect.size.pixels for rect in grid) == size.pixels
        flow.check_grid(size, grid.cell, width, "x")
        assert grid.columns == 1 or grid.cell.height == 1


def test_crc_is_zlib_crc32(room):
    job = opened(room)
    tile = tile_of(job, 0)
    assert tile.crc == zlib.crc32(tile.payload)
    assert flow.intact(tile)
    assert not flow.intact(dataclasses.replace(tile, payload=b"x" + tile.payload[1:] + b""))
    job.close()


def test_errors_keep_their_codes():
    assert WallprintError("x", code="E_BUSY").retry == "later"
