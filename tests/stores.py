"""What may be wrong in a store, and what may be left in it."""

import os

from commands import Sampan
from sampan.engine import open_engine
from sampan.oci.digest import Digest
from sampan.snapshots.verify import Verifier
from sampan.store import collect


def problems(sampan: Sampan) -> list[object]:
    """What ``image verify --all`` has to say."""
    with open_engine(str(sampan.root)) as engine:
        verifier = Verifier(engine.images, engine.blobs, engine.snapshots)
        of_images = [problem for image in engine.images.all() for problem in verifier.image(image)]
        return [*of_images, *verifier.store(engine.database)]


def half_done(sampan: Sampan) -> list[str]:
    """What is on the disk and nothing keeps: it should have been freed."""
    with open_engine(str(sampan.root)) as engine:
        begun = [key for (key,) in engine.database.execute("SELECT key FROM snapshot WHERE key IS NOT NULL")]
        rows = {str(number) for (number,) in engine.database.execute("SELECT number FROM snapshot")}
        places = (engine.blobs.aside, engine.blobs.partial, engine.paths.temporary, engine.paths.containers)
        files = [f"{place}/{name}" for place in places if os.path.isdir(place) for name in os.listdir(place)]
        kept = collect.roots(engine.database, engine.blobs)[0]
        kept |= {Digest(digest) for (digest,) in engine.database.execute("SELECT digest FROM conversion")}
        return [*begun, *files, *(set(os.listdir(engine.snapshots.root)) - rows), *(set(engine.blobs.all()) - kept)]
