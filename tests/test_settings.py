"""Settings: files over files, the environment over all, and nothing that is passed over in silence."""

from pathlib import Path

import pytest

from sampan import settings
from sampan.errors import Invalid
from sampan.settings import Registry, Settings


def read(tmp_path: Path, text: str | None = None, **environment: str) -> Settings:
    if text is not None:
        path = tmp_path / "config.toml"
        path.write_text(text)
        environment["SAMPAN_CONFIG"] = str(path)
    return settings.read({"HOME": str(tmp_path), "XDG_CONFIG_HOME": "", **environment})


def test_without_any(tmp_path: Path) -> None:
    found = read(tmp_path)
    assert found == Settings()
    assert found.registry("docker.io") == Registry((), False)


def test_a_file(tmp_path: Path) -> None:
    found = read(
        tmp_path,
        """
        jobs = 8
        compression = "zstd:9"
        [registry."docker.io"]
        mirrors = ["m.example", "http://10.0.0.5:5000"]
        [registry."lab.example:5000"]
        insecure = true
        """,
    )
    assert (found.jobs, found.compression) == (8, "zstd:9")
    assert found.registry("docker.io") == Registry(("m.example", "http://10.0.0.5:5000"), False)
    assert found.registry("lab.example:5000") == Registry((), True)
    assert found.registry("lab.example") == Registry()


def test_where_the_users_file_is(tmp_path: Path) -> None:
    for directory, jobs in ((".config", 2), ("xdg", 3)):
        path = tmp_path / directory / "sampan/config.toml"
        path.parent.mkdir(parents=True)
        path.write_text(f"jobs = {jobs}")
    assert read(tmp_path).jobs == 2
    assert read(tmp_path, XDG_CONFIG_HOME=str(tmp_path / "xdg")).jobs == 3


def test_the_environment_overrides(tmp_path: Path) -> None:
    found = read(
        tmp_path,
        'jobs = 8\ncompression = "gzip"\n[registry."docker.io"]\nmirrors = ["a"]\n[registry.lab]\nmirrors = ["b"]',
        SAMPAN_JOBS="1",
        SAMPAN_COMPRESSION="none",
        SAMPAN_MIRRORS="m.example, n.example",
        SAMPAN_INSECURE_REGISTRIES="lab,other:5000",
    )
    assert (found.jobs, found.compression) == (1, "none")
    assert found.registry("docker.io").mirrors == ("m.example", "n.example", "a")
    assert found.registry("lab") == Registry(("b",), True)
    assert found.registry("other:5000").insecure


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("jobs = ", "cannot be read: "),
        ("jobs = 0", "jobs is a whole number from 1 to 64, not 0"),
        ("jobs = true", "jobs is a whole number"),
        ('jobs = "4"', "jobs is a whole number"),
        ("compression = 3", "compression is of the wrong form"),
        ("mirrors = []", "there is no setting 'mirrors'"),
        ("registry = 3", "registry is of the wrong form"),
        ("[registry]\nlab = 3", r'registry\."lab" is of the wrong form'),
        ("[registry.lab]\nsecure = true", "there is no setting 'secure'"),
        ('[registry.lab]\ninsecure = "no"', "insecure is of the wrong form"),
        ('[registry.lab]\nmirrors = "m"', "is of the wrong form"),
        ("[registry.lab]\nmirrors = [3]", "mirrors is of the wrong form"),
    ],
)
def test_what_is_refused(tmp_path: Path, text: str, complaint: str) -> None:
    with pytest.raises(Invalid, match=complaint) as caught:
        read(tmp_path, text)
    assert str(tmp_path / "config.toml") in caught.value.message


def test_variables_that_are_refused(tmp_path: Path) -> None:
    with pytest.raises(Invalid, match="SAMPAN_JOBS is a whole number"):
        read(tmp_path, SAMPAN_JOBS="many")
    with pytest.raises(Invalid, match="which SAMPAN_CONFIG names, is not there"):
        read(tmp_path, SAMPAN_CONFIG=str(tmp_path / "absent"))
