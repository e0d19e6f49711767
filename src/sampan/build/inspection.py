"""A way to look inside after a RUN failed: an image of what its command was executed on."""

from typing import TYPE_CHECKING

from sampan.build.export import export
from sampan.build.graph import Run, Scratch, Source, Step
from sampan.oci import platform as platforms
from sampan.oci.config import ContainerConfig, ImageConfig

if TYPE_CHECKING:
    from sampan.build.state import State, Stores
    from sampan.store.images import Image, Images


def keep(step: Run, state: "State", stores: "Stores", images: "Images") -> "Image | None":
    """Stores the image of ``state`` as the command of ``step`` found it, without a name; None if it has no files.

    Failing again on the same makes the same image. It goes as other images without a name do, or with the build cache.
    """
    if not state.layers:
        return None
    made = [dated.created for dated in state.layers if dated.created]
    created = made[0] if made else _base_created(step)
    history = tuple({"created": dated.created or created, "created_by": "build"} for dated in state.layers)
    found = ContainerConfig(env=step.env, user=step.user, working_dir=step.cwd, cmd=(_shell(step),))
    platform = step.platform or platforms.host()
    image = export(ImageConfig(platform, found, history=history), state, (), stores, images)
    images.put_aside(image.id)
    return image


def way_in(step: Run, image: "Image | None", command: str) -> str:
    """What looks inside (``command`` is what calls sampan on this store); an empty text if there is no image."""
    return f"look inside: {command} run -it --rm {image.id.short} {_shell(step)}" if image else ""


def _shell(step: Run) -> str:
    return step.argv[0] if len(step.argv) == 3 and step.argv[1].endswith("c") else "sh"


def _base_created(step: Step) -> str:
    while not isinstance(step, Source | Scratch):
        step = step.parent
    return step.image.created if isinstance(step, Source) else ""
