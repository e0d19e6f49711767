"""Places of images as copy writes them."""

import pytest

from sampan.archives.transports import Where, parse
from sampan.errors import SampanError


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("docker://localhost:5000/a:1", Where("docker", "", "localhost:5000/a:1")),
        ("oci:dir", Where("oci", "dir", "")),
        ("oci:/a/dir:tag", Where("oci", "/a/dir", "tag")),
        ("oci-archive:f.tar:quay.io/a:1", Where("oci-archive", "f.tar", "quay.io/a:1")),
        ("docker-archive:f.tar", Where("docker-archive", "f.tar", "")),
        ("dir:a:b", Where("dir", "a:b", "")),
        ("app:1", Where("store", "", "app:1")),
        ("localhost:5000/app", Where("store", "", "localhost:5000/app")),
        ("docker:dind", Where("store", "", "docker:dind")),
    ],
)
def test_places(text: str, where: Where) -> None:
    assert parse(text) == where
    assert parse(str(where)) == where


@pytest.mark.parametrize("text", ["", "oci:", "dir:", "docker://", "oci-archive::x", "docker-daemon:x", "sif:x"])
def test_no_places(text: str) -> None:
    with pytest.raises(SampanError):
        parse(text)
