"""What may be removed, and what goes with it."""

import pytest

from sampan.engine import Engine
from sampan.errors import Conflict
from sampan.oci.digest import Digest
from sampan.store import removal
from sampan.store.removal import User
from shelf import put_image

STOPPED, RUNNING = User("old_ark", False), User("web", True)


def remove(engine: Engine, text: str, *users: User, force: bool = False) -> tuple[list[str], Digest | None]:
    plan = removal.plan(engine.images, text, engine.images.find(text), users, force=force)
    removal.perform(plan, engine.images)
    return [name.reference.familiar() for name in plan.names], plan.image.id if plan.image else None


def names(engine: Engine) -> list[str]:
    return [name.reference.familiar() for name in engine.images.names()]


def test_one_of_several_names(engine: Engine) -> None:
    image = put_image(engine, "a", "b:1")
    assert remove(engine, "a", RUNNING) == (["a:latest"], None)
    assert (names(engine), engine.images.all()) == (["b:1"], [image])


def test_the_image_goes_with_its_last_name(engine: Engine) -> None:
    image = put_image(engine, "a")
    assert remove(engine, "docker.io/library/a:latest") == (["a:latest"], image.id)
    assert (names(engine), engine.images.all()) == ([], [])


@pytest.mark.parametrize("digits", [12, 64])
def test_by_id(engine: Engine, digits: int) -> None:
    image = put_image(engine, "a")
    other = put_image(engine, "b", created="2025-01-01T00:00:00Z")
    assert remove(engine, image.id.encoded[:digits]) == (["a:latest"], image.id)
    assert engine.images.all() == [other]


def test_by_id_without_a_name(engine: Engine) -> None:
    image = put_image(engine)
    assert remove(engine, image.id) == ([], image.id)


def test_by_id_with_several_names(engine: Engine) -> None:
    image = put_image(engine, "a", "b:1")
    with pytest.raises(Conflict, match=r"\(must be forced\) - image is referenced in multiple repositories") as caught:
        remove(engine, image.id)
    assert caught.value.hint == "its names are a:latest, b:1"
    assert names(engine) == ["a:latest", "b:1"]
    assert remove(engine, image.id, force=True) == (["a:latest", "b:1"], image.id)
    assert engine.images.all() == []


def test_by_a_digest_go_the_names_of_that_repository(engine: Engine) -> None:
    image = put_image(engine, "a:1", "a:2", "b")
    assert remove(engine, f"a@{image.manifest.digest}") == (["a:1", "a:2"], None)
    assert names(engine) == ["b:latest"]


def test_the_last_name_of_an_image_in_use(engine: Engine) -> None:
    image = put_image(engine, "a")
    with pytest.raises(Conflict) as caught:
        remove(engine, "a", STOPPED)
    assert caught.value.message == (
        f'conflict: unable to remove repository reference "a" (must force) - '
        f"container old_ark is using its referenced image {image.id.short}"
    )
    assert caught.value.hint == "sampan rm old_ark removes that container"
    assert remove(engine, "a", STOPPED, force=True) == (["a:latest"], image.id)


def test_force_takes_the_name_but_not_the_image_from_a_running_container(engine: Engine) -> None:
    image = put_image(engine, "a")
    assert remove(engine, "a", RUNNING, force=True) == (["a:latest"], None)
    assert engine.images.all() == [image]


@pytest.mark.parametrize("force", [False, True])
def test_the_id_of_an_image_in_use_by_a_running_container(engine: Engine, force: bool) -> None:
    image = put_image(engine, "a")
    with pytest.raises(
        Conflict, match=r"\(cannot be forced\) - image is being used by running container web"
    ) as caught:
        remove(engine, image.id, STOPPED, RUNNING, force=force)
    assert caught.value.hint == "sampan rm -f web removes that container"
    assert names(engine) == ["a:latest"]


def test_the_id_of_an_image_in_use_by_a_stopped_container(engine: Engine) -> None:
    image = put_image(engine, "a")
    with pytest.raises(Conflict, match=r"\(must be forced\) - image is being used by stopped container old_ark"):
        remove(engine, image.id, STOPPED)
    assert remove(engine, image.id, STOPPED, force=True) == (["a:latest"], image.id)
