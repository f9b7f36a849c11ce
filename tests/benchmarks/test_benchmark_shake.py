"""The shakes, the measure of rings and the tables of benchmarks/shake.py."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import shake
from scipy.ndimage import gaussian_filter

from wallprint_testing.engines import FakeEngine


def picture(side: int = 160) -> np.ndarray:
    """Blobs on the left, a soft ramp on the right."""
    noise = np.random.default_rng(1).normal(size=(side, side, 3))
    smooth = gaussian_filter(noise, (1.5, 1.5, 0))
    found = (128 + 40 * smooth / smooth.std()).clip(1, 254)
    found[:, side // 2 :] = 100 + np.arange(side - side // 2)[:, None] / 4
    return found.astype(np.uint8)


def test_the_middle_of_a_motion_is_the_sharp_picture() -> None:
    for seed in range(5):
        moved = shake.motion(seed)
        assert len(moved.poses) % 2 == 1
        assert not moved.poses[len(moved.poses) // 2].any()
        apart = np.hypot(*(moved.poses[:, None, :2] - moved.poses[None, :, :2]).transpose(2, 0, 1))
        assert apart.max() == pytest.approx(moved.extent_px)
        assert np.abs(moved.poses[:, 2]).max() <= np.deg2rad(shake.ROLL_DEG)
    assert shake.motion(1, 14.0).extent_px == 14.0


def test_a_still_camera_changes_nothing_and_a_moving_one_blurs_along_its_way() -> None:
    sharp = picture()
    still = shake.Motion(np.zeros((3, 4)), 0.0)
    assert np.abs(shake.shaken(sharp, still).astype(int) - sharp).max() <= 1
    way = np.zeros((21, 4))
    way[:, 0] = np.linspace(-5, 5, 21)
    soft = shake.shaken(sharp, shake.Motion(way, 10.0)).astype(float)[:, :80]
    across, along = (np.abs(np.diff(soft, axis=axis)).mean() for axis in (0, 1))
    assert along < 0.5 * across


def test_rings_count_in_flat_places_only_and_wherever_the_picture_lies() -> None:
    sharp = picture()
    assert shake.ring(sharp, sharp) == 0
    assert shake.ring(np.roll(sharp, (2, -3), (0, 1)), sharp) < 0.1
    busy, ringing = sharp.copy(), sharp.copy()
    busy[40:60, 20:60] = 255 - busy[40:60, 20:60]
    ringing[:, 100:140] += (
        (4 * np.sin(np.arange(40) / 2)).round().astype(np.int8).view(np.uint8)[:, None]
    )
    assert shake.ring(busy, sharp) < 0.1
    assert 1 < shake.ring(ringing, sharp) < 4
    assert shake.ring(sharp[:, :80], sharp[:, :80]) is None


def test_the_tables_have_their_rows(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """With a pipeline that changes nothing."""

    class Left:
        def to_map(self) -> dict:
            return {"shake": None, "seams": {"left": 0}}

    monkeypatch.setattr(shake, "enhanced", lambda taken, *_args, **_options: (taken, Left()))
    given = shake.Data({"a": picture(), "b": picture()[::-1]}, FakeEngine(), tmp_path)  # type: ignore[arg-type]
    rows = list(shake.photographs(given))
    assert len(rows) == 2 + 2 + len(shake.CAMERAS)
    assert "+0.00 | +0.00" in rows[2]
    assert "2 left alone" in rows[4]
    assert (tmp_path / "a-as it is.png").exists()
    assert len(list(shake.rolled(given))) == 2 + len(shake.ROLLED)
    others = list(shake.others(given))
    assert len(others) == 7
    assert "0 of 2" in others[-1]
