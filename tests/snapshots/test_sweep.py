"""What the collector leaves of snapshots."""

import os
from pathlib import Path

import pytest

from sampan.oci.digest import Digest
from sampan.snapshots.overlay import Overlay
from sampan.store.database import connect

BELOW, ABOVE = Digest(f"sha256:{'a' * 64}"), Digest(f"sha256:{'b' * 64}")


@pytest.fixture
def overlay(tmp_path: Path) -> Overlay:
    """Two snapshots that were unpacked side by side: the one below has the higher number."""
    overlay = Overlay(str(tmp_path / "snapshots"), connect(str(tmp_path / "db")), userxattr=False)
    for key in ("above", "below"):
        overlay.prepare(key, None)
    overlay.commit("below", BELOW, 1)
    overlay.commit("above", ABOVE, 1, parent=BELOW)
    return overlay


def test_snapshots_are_swept_in_whatever_order_they_were_numbered(overlay: Overlay) -> None:
    overlay.sweep(set(), set(), overlay.newest())
    assert not overlay.has(BELOW)
    assert not overlay.has(ABOVE)
    assert os.listdir(overlay.root) == []


def test_what_lies_below_a_kept_snapshot_is_kept(overlay: Overlay) -> None:
    overlay.sweep({ABOVE}, set(), overlay.newest())
    assert len(overlay.stack(ABOVE)) == 2


def test_what_began_after_it_was_known_what_to_keep_stays(overlay: Overlay) -> None:
    newest = overlay.newest()
    overlay.prepare("container-1", ABOVE)
    overlay.sweep(set(), set(), newest)
    assert overlay.has(BELOW)
    assert os.path.isdir(overlay.directory("container-1"))


def test_unfinished_snapshots_are_those_that_no_container_writes(overlay: Overlay) -> None:
    overlay.prepare("container-1", ABOVE)
    assert not overlay.unfinished()
    overlay.prepare("build-1", ABOVE)
    assert overlay.unfinished()
