"""Removing trees that others filled, and may be removing as well."""

import os
import threading
from pathlib import Path

from sampan.store.trees import remove_tree


def make_deep(top: Path, depth: int) -> None:
    top.mkdir()
    fd = os.open(top, os.O_RDONLY)
    for _ in range(depth):
        os.mkdir("d", dir_fd=fd)
        below = os.open("d", os.O_RDONLY, dir_fd=fd)
        os.close(fd)
        fd = below
    os.close(fd)


def test_a_tree_may_be_deeper_than_a_process_may_open_files(tmp_path: Path) -> None:
    make_deep(tmp_path / "tree", 3000)
    remove_tree(str(tmp_path / "tree"))
    assert list(tmp_path.iterdir()) == []


def test_several_may_remove_the_same_tree(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    for number in range(200):
        (tree / f"{number % 10}" / f"{number % 7}" / f"{number}").mkdir(parents=True)
        (tree / f"{number % 10}" / "file").write_text("x")
    failures: list[BaseException] = []
    together = threading.Barrier(4)

    def remove() -> None:
        together.wait()
        try:
            remove_tree(str(tree))
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=remove) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert not tree.exists()
