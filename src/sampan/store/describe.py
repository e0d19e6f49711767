"""Images as the Docker Engine API describes them (API 1.43, ImageInspect and ImageHistory)."""

from __future__ import annotations

from sampan.oci import config as configs
from sampan.oci import manifest as manifests
from sampan.oci.config import ImageConfig
from sampan.oci.digest import Digest, chain_ids
from sampan.store.blobs import Blobs
from sampan.store.images import Image, Images

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, NamedTuple
else:
    from sampan.values import NamedTuple

_CONFIG: dict[str, Any] = {
    "User": "",
    "Env": [],
    "Cmd": None,
    "Entrypoint": None,
    "Volumes": None,
    "WorkingDir": "",
    "Labels": None,
    "OnBuild": None,
}


class Step(NamedTuple):
    """One line of an image's history; ``size`` in bytes is what its layer added."""

    image_id: Digest | None
    created: str
    created_by: str
    size: int
    comment: str


def inspect(image: Image, images: Images, blobs: Blobs) -> dict[str, Any]:
    """What ``inspect`` says of an image. Raises NotFound or Corrupt if its config is not there in good order."""
    data = blobs.read(image.id)
    config, raw = configs.parse(data), manifests.decode(data, "the image config")
    names = images.names(image.id)
    tags = [name.reference.familiar() for name in names if name.reference.tag]
    digests = sorted({f"{name.reference.familiar_name}@{name.target.digest}" for name in names})
    value: dict[str, Any] = {
        "Id": image.id,
        "RepoTags": tags,
        "RepoDigests": digests,
        "Parent": "",
        "Comment": str(config.history[-1].get("comment", "")) if config.history else "",
        "Created": config.created,
        "Author": config.author,
        "Config": _CONFIG | (raw.get("config") or {}),
        "Architecture": image.platform.architecture,
        "Variant": image.platform.variant,
        "Os": image.platform.os,
        "Size": image.size,
        "RootFS": {"Type": "layers", "Layers": list(config.diff_ids)},
        "Descriptor": image.manifest.to_json(),
    }
    if not image.platform.variant:
        del value["Variant"]
    return value


def history(image: Image, blobs: Blobs, measure: Callable[[Digest | None], int]) -> list[Step]:
    """The steps that made the image, the last one first. ``measure`` gives the bytes of an unpacked stack of layers."""
    config = configs.parse(blobs.read(image.id))
    sizes = _layer_sizes(config, measure)
    steps = [
        Step(
            None,
            str(entry.get("created", "")),
            str(entry.get("created_by", "")),
            0 if entry.get("empty_layer") else next(sizes, 0),
            str(entry.get("comment", "")),
        )
        for entry in config.history
    ]
    steps += [Step(None, config.created, "", size, "") for size in sizes]  # layers that the history does not tell of
    steps.reverse()
    return [step._replace(image_id=None if number else image.id) for number, step in enumerate(steps)]


def _layer_sizes(config: ImageConfig, measure: Callable[[Digest | None], int]) -> Any:
    below = 0
    for chain in chain_ids(config.diff_ids):
        total = measure(chain)
        yield total - below
        below = total
