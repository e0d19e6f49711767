"""Every folder of tests/dockerfiles: a Dockerfile, what it is given (given.json), and what must come of it.

``graph.json`` is the graph with its config and the warnings; ``error.txt`` the error's kind, message and hint. To write
them anew after a change that was meant, run this file with SAMPAN_GOLDEN=write and read the difference.
"""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from sampan.build import graph
from sampan.build.context import Directory, open_context
from sampan.build.dockerfile.translate import translate
from sampan.errors import NotFound, SampanError
from sampan.events import Event, Warned
from sampan.oci import config as configs
from sampan.oci import platform as platforms
from sampan.oci.config import ImageConfig
from sampan.oci.descriptor import Descriptor
from sampan.oci.digest import Digest
from sampan.oci.platform import Platform
from sampan.store.images import Image

FOLDERS = Path(__file__).parents[2] / "dockerfiles"
CASES = sorted(path.parent.name for path in FOLDERS.glob("*/Dockerfile"))
AMD64 = Platform("linux", "amd64")
DIGEST = Digest("sha256:" + "0" * 64)


class Images:
    """Image configs by name, and which were asked for."""

    def __init__(self, known: dict[str, Any]) -> None:
        self.known = known
        self.names: dict[str, str] = {}
        self.asked: list[str] = []

    def resolve(self, name: str, platform: Platform) -> tuple[Image, ImageConfig]:
        self.asked.append(f"{name} {platform}")
        if name not in self.known and self.known:
            raise NotFound(f"there is no image {name}")
        value = {"os": platform.os, "architecture": platform.architecture, **self.known.get(name, {})}
        value.setdefault("rootfs", {"diff_ids": [DIGEST]})
        identity = Digest("sha256:" + f"{len(self.asked):064x}")
        self.names[identity] = name
        chain = DIGEST if value["rootfs"]["diff_ids"] else None
        image = Image(identity, Descriptor("", DIGEST, 1), chain, platform, "", 0)
        return image, configs.parse(json.dumps(value).encode())


def outcome(folder: Path) -> tuple[str, str]:
    """The name of the file that should hold what comes of a folder, and its content."""
    given = json.loads((folder / "given.json").read_text()) if (folder / "given.json").exists() else {}
    warnings: list[str] = []
    images = Images(given.get("images", {}))

    def report(event: Event) -> None:
        assert isinstance(event, Warned)
        warnings.append(event.message)

    try:
        made = translate(
            (folder / "Dockerfile").read_bytes(),
            filename="Dockerfile",
            context=open_context(str(folder)),
            resolve=images.resolve,
            platform=platforms.parse(given.get("platform", "linux/amd64")),
            build_args=given.get("build_args", {}),
            target=given.get("target"),
            contexts={name: value.replace("DIR", str(folder)) for name, value in given.get("contexts", {}).items()},
            report=report,
            allowed=given.get("allowed", ()),
            is_explicit="platform" in given,
        )
    except SampanError as error:
        return "error.txt", f"{type(error).__name__}\n{error.message}\n{error.hint or ''}".strip() + "\n"
    config = json.loads(made.config.encode())
    del config["rootfs"]
    value = {
        "asked": images.asked,
        "warnings": warnings,
        "steps": _steps(made.target, images.names),
        "config": config,
    }
    return "graph.json", json.dumps(value, indent=1, ensure_ascii=False) + "\n"


def _steps(target: graph.Step, names: dict[str, str]) -> list[dict[str, Any]]:
    ordered = graph.ordered(target)
    numbers = {id(step): number for number, step in enumerate(ordered)}

    def plain(value: object) -> object:
        if isinstance(value, graph.STEPS):
            return f"step {numbers[id(value)]}"
        if isinstance(value, Image):
            return names[value.id]
        if isinstance(value, Directory):
            return f"context {os.path.basename(value.root)}"
        if isinstance(value, bytes):
            return value.decode(errors="backslashreplace")
        return [plain(item) for item in value] if isinstance(value, tuple) else value

    return [
        {
            "kind": type(step).__name__,
            **{
                name: plain(value)
                for name, value in step._asdict().items()
                if value != step._field_defaults.get(name) or name in ("text", "line")
                if name != "platform"  # says whether the machine of the test can run it
            },
        }
        for step in ordered
    ]


@pytest.mark.parametrize("case", CASES)
def test_golden(case: str) -> None:
    folder = FOLDERS / case
    name, content = outcome(folder)
    if os.environ.get("SAMPAN_GOLDEN") == "write":
        for old in ("graph.json", "error.txt"):
            (folder / old).unlink(missing_ok=True)
        (folder / name).write_text(content)
    expected = [path.name for path in folder.iterdir() if path.name in ("graph.json", "error.txt")]
    assert expected == [name], content
    assert content == (folder / name).read_text()


def test_there_are_cases() -> None:
    assert len(CASES) > 50
