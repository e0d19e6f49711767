"""Images read from the archives that ``save`` writes, by nobody's code but the standard library's, and compared.

for difference in likeness.differences(likeness.read(one), likeness.read(other)): ...
"""

import hashlib
import itertools
import json
import tarfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

_OPAQUE = ".wh..wh..opq"
_WHITEOUT = ".wh."
SETTINGS = (
    "Env",
    "Cmd",
    "Entrypoint",
    "WorkingDir",
    "User",
    "Volumes",
    "ExposedPorts",
    "Labels",
    "Healthcheck",
    "OnBuild",
    "Shell",
    "StopSignal",
    "ArgsEscaped",
)
_TOP = ("architecture", "os", "author", "variant")


class Inode:
    """What one or more names in a layer stand for; files are told apart by identity."""

    __slots__ = ("content", "kind", "mode", "mtime", "owner", "xattrs")

    def __init__(self, entry: tarfile.TarInfo, content: str) -> None:
        self.kind = "directory" if entry.isdir() else "link" if entry.issym() else entry.type.decode()
        self.mode = entry.mode & 0o7777
        self.owner = (entry.uid, entry.gid)
        self.content = content
        self.mtime = float(entry.mtime)
        self.xattrs = {
            key.removeprefix("SCHILY.xattr."): value
            for key, value in entry.pax_headers.items()
            if key.startswith("SCHILY.xattr.")
        }


Files = Mapping[str, Inode | None]
"""What is at a path; None where a layer removes what was there, or, for a path that ends in "/", all that was in it."""


class Image(NamedTuple):
    config: Mapping[str, Any]
    layers: list[Files]


def read(archive: Path, known: dict[str, Files]) -> Image:
    """The one image of an archive; ``known`` keeps layers by their diff id, from one archive to the next."""
    with tarfile.open(archive) as outer:

        def member(name: str) -> Any:
            file = outer.extractfile(name)
            assert file
            return file

        (manifest,) = json.load(member("manifest.json"))
        config = json.load(member(manifest["Config"]))
        names = zip(config["rootfs"]["diff_ids"] or (), manifest["Layers"] or (), strict=True)
        for diff_id, name in names:
            if diff_id not in known:
                with tarfile.open(fileobj=member(name), encoding="utf-8", errors="surrogateescape") as layer:
                    known[diff_id] = _layer(layer)
        return Image(config, [known[diff_id] for diff_id in config["rootfs"]["diff_ids"] or ()])


def _layer(layer: tarfile.TarFile) -> Files:
    files: dict[str, Inode | None] = {}
    for entry in layer:
        parent, _, name = entry.name.removeprefix("./").strip("/").rpartition("/")
        path = f"{parent}/{name}".strip("/")
        if name == _OPAQUE:
            files[f"{parent}/"] = None
        elif name.startswith(_WHITEOUT):
            files[f"{parent}/{name.removeprefix(_WHITEOUT)}".strip("/")] = None
        elif entry.islnk():
            files[path] = files[entry.linkname.removeprefix("./").strip("/")]
        else:
            files[path] = Inode(entry, _content(layer, entry))
    return files


def _content(layer: tarfile.TarFile, entry: tarfile.TarInfo) -> str:
    if entry.issym():
        return entry.linkname
    if entry.ischr() or entry.isblk():
        return f"{entry.devmajor}:{entry.devminor}"
    file = layer.extractfile(entry) if entry.isfile() else None
    return f"{entry.size} bytes, {hashlib.file_digest(file, 'sha256').hexdigest()[:12]}" if file else ""  # type: ignore[arg-type]


def stacked(layers: list[Files]) -> Files:
    """The file system that layers make, each above those before it."""
    result: dict[str, Inode | None] = {}
    for layer in layers:
        for path, inode in layer.items():
            if inode is None or inode.kind != "directory":
                inside = f"{path.rstrip('/')}/".removeprefix("/")
                for covered in [known for known in result if known.startswith(inside)]:
                    del result[covered]
            if inode is None:
                result.pop(path, None)
        result.update({path: inode for path, inode in layer.items() if inode})
    return result


def differences(theirs: Image, ours: Image, *, now: float, history: bool = True) -> list[str]:
    """One line for each thing in which the images differ; files last changed since ``now`` may have any time."""
    found = [*_config_differences(theirs.config, ours.config)]
    if history:
        found += _history_differences(theirs.config, ours.config)
    found += _file_differences("", stacked(theirs.layers), stacked(ours.layers), now)
    if history:
        if len(theirs.layers) != len(ours.layers):
            found.append(f"layers: {len(theirs.layers)} | {len(ours.layers)}")
        for number, (_, other) in enumerate(zip(theirs.layers, ours.layers, strict=False)):
            found += _file_differences(f"layer {number} ", _needed(theirs.layers, number, other), other, now)
    return found


def _needed(layers: list[Files], number: int, ours: Files) -> Files:
    """A layer without what only it repeats from those below: docker 20.10 tells changes by times in seconds, and at
    times keeps files of the step before that nobody touched."""
    below = stacked(layers[:number])

    def is_repeated(path: str, inode: Inode | None) -> bool:
        known = below.get(path)
        return path not in ours and inode is not None and known is not None and _same(inode, known)

    return {path: inode for path, inode in layers[number].items() if not is_repeated(path, inode)}


def _same(one: Inode, other: Inode) -> bool:
    return all(getattr(one, name) == getattr(other, name) for name in Inode.__slots__)


def _config_differences(theirs: Mapping[str, Any], ours: Mapping[str, Any]) -> Iterator[str]:
    for key in _TOP:
        if (theirs.get(key) or None) != (ours.get(key) or None):
            yield f"{key}: {theirs.get(key)!r} | {ours.get(key)!r}"
    for key in SETTINGS:
        one, other = ((image.get("config") or {}).get(key) or None for image in (theirs, ours))
        if one != other:
            yield f"{key}: {one!r} | {other!r}"


def _history_differences(theirs: Mapping[str, Any], ours: Mapping[str, Any]) -> Iterator[str]:
    steps = ([_step(step) for step in image.get("history") or ()] for image in (theirs, ours))
    for one, other in itertools.zip_longest(*steps):
        if one != other:
            yield f"history: {one} | {other}"


def _step(step: Mapping[str, Any]) -> str:
    return f"{step.get('created_by', '')} {'(no layer)' if step.get('empty_layer') else ''}".strip()


def _file_differences(where: str, theirs: Files, ours: Files, now: float) -> Iterator[str]:
    names = [_names(files) for files in (theirs, ours)]
    for path in sorted({*theirs, *ours}):
        one, other = theirs.get(path), ours.get(path)
        # Whoever adds to a directory changes its time, and may put it back.
        timed = not (one and one.kind == "directory" and one.mtime >= now)
        shown = [
            _description(inode, its[id(inode)], now if timed else 0) if path in files else "missing"
            for inode, files, its in zip((one, other), (theirs, ours), names, strict=True)
        ]
        if shown[0] != shown[1]:
            yield f"{where}/{path}: {' | '.join(shown)}"


def _names(files: Files) -> dict[int, list[str]]:
    names: dict[int, list[str]] = {}
    for path in sorted(files):
        names.setdefault(id(files[path]), []).append(path)
    return names


def _description(inode: Inode | None, names: list[str], now: float) -> str:
    """``now``: later times are all the same."""
    if inode is None:
        return "removed"
    mode = "" if inode.kind == "link" else f"{inode.mode:04o}"
    time = f"at {int(inode.mtime)}" if inode.mtime < now else ""
    links = f"also {names}" if len(names) > 1 else ""
    words = (inode.kind, mode, "{}:{}".format(*inode.owner), inode.content, time, links, str(inode.xattrs or ""))
    return " ".join(word for word in words if word)
