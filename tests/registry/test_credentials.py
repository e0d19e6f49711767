import base64
import json
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from sampan.errors import Invalid, Unavailable
from sampan.registry.credentials import Credentials, config_path, forget, lookup, save

ME = Credentials("me", "pass:with:colons é")
HUB = "https://index.docker.io/v1/"


@pytest.fixture(autouse=True)
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "docker"))
    return tmp_path / "docker" / "config.json"


@pytest.fixture
def helper(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A helper program ``docker-credential-fake`` on PATH, which keeps each secret in a file of this directory."""
    kept = tmp_path / "kept"
    kept.mkdir()
    program = tmp_path / "bin" / "docker-credential-fake"
    program.parent.mkdir()
    program.write_text(
        f"""#!/bin/sh
cd {kept}
input=$(cat)
name=$(printf %s "$input" | sed 's/.*"ServerURL": *"\\([^"]*\\)".*/\\1/' | tr / _)
case $1 in
get) [ -e "$name" ] && cat "$name" || {{ echo 'credentials not found in native keychain'; exit 1; }} ;;
store) printf %s "$input" > "$name" ;;
erase) rm "$name" ;;
esac
"""
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")
    return kept


def write(path: Path, value: object) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(value))


def entry(user: str, password: str) -> dict[str, str]:
    return {"auth": base64.b64encode(f"{user}:{password}".encode()).decode()}


def test_without_a_file_there_are_none(config: Path) -> None:
    assert lookup("registry.example") is None
    assert forget("registry.example") is False
    assert not config.exists()


def test_saved_ones_are_found_and_forgotten(config: Path) -> None:
    assert save("registry.example:5000", ME) == str(config)
    assert lookup("registry.example:5000") == ME
    assert stat.S_IMODE(config.stat().st_mode) == 0o600
    assert stat.S_IMODE(config.parent.stat().st_mode) == 0o700
    assert forget("registry.example:5000") is True
    assert lookup("registry.example:5000") is None
    assert [path.name for path in config.parent.iterdir()] == ["config.json"]


def test_docker_hub_has_a_key_of_its_own(config: Path) -> None:
    save("docker.io", ME)
    assert list(json.loads(config.read_text())["auths"]) == [HUB]
    assert lookup("docker.io") == lookup("index.docker.io") == ME
    assert lookup("example.io") is None
    assert forget("docker.io")
    assert json.loads(config.read_text())["auths"] == {}


def test_what_is_not_ours_is_kept(config: Path) -> None:
    write(config, {"auths": {"other": entry("a", "b")}, "HttpHeaders": {"X": "y"}, "psFormat": "z"})
    save("registry.example", ME)
    forget("registry.example")
    assert json.loads(config.read_text()) == {
        "auths": {"other": entry("a", "b")},
        "HttpHeaders": {"X": "y"},
        "psFormat": "z",
    }


def test_a_link_to_the_file_stays_one(config: Path, tmp_path: Path) -> None:
    config.parent.mkdir()
    config.symlink_to(tmp_path / "elsewhere.json")
    save("registry.example", ME)
    assert config.is_symlink()
    assert lookup("registry.example") == ME
    assert stat.S_IMODE((tmp_path / "elsewhere.json").stat().st_mode) == 0o600


@pytest.mark.parametrize(
    "key",
    ["registry.example", "https://registry.example", "https://registry.example/v2/", "http://registry.example/v1"],
)
def test_keys_as_docker_writes_them(config: Path, key: str) -> None:
    write(config, {"auths": {key: entry("me", "x")}})
    assert lookup("registry.example") == Credentials("me", "x")


@pytest.mark.parametrize(
    "key",
    [
        "registry.example:5000",
        "evilregistry.example",
        "registry.example.evil",
        "example",
        "registry.example/namespace",
        "registry.example/v2/namespace",
        "https://user@registry.example",
        "REGISTRY.example",
    ],
)
def test_nobody_elses_credentials(config: Path, key: str) -> None:
    write(config, {"auths": {key: entry("me", "x")}})
    assert lookup("registry.example") is None


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"username": "u", "password": "p"}, Credentials("u", "p")),
        (entry("u", "p\0\0"), Credentials("u", "p")),
        (entry("u", "") | {"identitytoken": "T"}, Credentials("u", "", "T")),
        ({}, None),
        ("nonsense", None),
    ],
)
def test_forms_of_an_entry(config: Path, value: object, expected: Credentials | None) -> None:
    write(config, {"auths": {"r.example": value}})
    assert lookup("r.example") == expected


@pytest.mark.parametrize(
    "text", ["nonsense", "[]", '{"auths": []}', '{"auths": {"r.example": {"auth": "!"}}}', '{"credsStore": "../../x"}']
)
def test_a_damaged_file(config: Path, text: str) -> None:
    config.parent.mkdir()
    config.write_text(text)
    with pytest.raises(Invalid):
        lookup("r.example")


def test_an_empty_file_is_as_good_as_none(config: Path) -> None:
    write(config, "")
    config.write_text("")
    assert lookup("r.example") is None


def test_identity_tokens_are_kept_instead_of_the_password(config: Path) -> None:
    save("r.example", Credentials("me", "secret", "T"))
    assert lookup("r.example") == Credentials("me", "", "T")
    assert base64.b64encode(b"secret").decode() not in config.read_text()


@pytest.mark.parametrize("where", [{"credsStore": "fake"}, {"credHelpers": {"r.example": "fake"}}])
def test_a_helper_keeps_the_secret(config: Path, helper: Path, where: dict[str, object]) -> None:
    write(config, where)
    assert lookup("r.example") is None
    assert save("r.example", ME) == "fake"
    assert json.loads(config.read_text()) == {**where, "auths": {"r.example": {}}}
    assert json.loads((helper / "r.example").read_text()) == {
        "ServerURL": "r.example",
        "Username": ME.username,
        "Secret": ME.password,
    }
    assert lookup("r.example") == ME
    assert forget("r.example") is True
    assert list(helper.iterdir()) == []
    assert forget("r.example") is False


def test_a_helper_is_only_for_its_registry(config: Path, helper: Path) -> None:
    write(config, {"credHelpers": {"r.example": "fake"}, "auths": {"s.example": entry("s", "t")}})
    save("r.example", ME)
    assert lookup("s.example") == Credentials("s", "t")


def test_a_helper_keeps_identity_tokens(config: Path, helper: Path) -> None:
    write(config, {"credsStore": "fake"})
    save("docker.io", Credentials("me", "p", "T"))
    assert json.loads((helper / "https:__index.docker.io_v1_").read_text())["Username"] == "<token>"
    assert lookup("docker.io") == Credentials("", "", "T")


def test_a_helper_that_is_missing(config: Path, helper: Path) -> None:
    write(config, {"credsStore": "absent"})
    with pytest.raises(Unavailable, match="docker-credential-absent is not on PATH") as caught:
        lookup("r.example")
    assert caught.value.hint
    assert str(config) in caught.value.hint


@pytest.mark.parametrize(
    ("script", "match"), [("echo secret-canary; exit 3", "exit code 3"), ("echo secret-canary", "does not answer")]
)
def test_a_helper_that_fails(config: Path, helper: Path, script: str, match: str) -> None:
    program = helper.parent / "bin" / "docker-credential-broken"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    write(config, {"credsStore": "broken"})
    with pytest.raises(Unavailable, match=match) as caught:
        lookup("r.example")
    assert "canary" not in str(caught.value)


def test_where_the_file_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_CONFIG", "/x")
    assert config_path() == "/x/config.json"
    monkeypatch.delenv("DOCKER_CONFIG")
    monkeypatch.setenv("HOME", "/home/me")
    assert config_path() == "/home/me/.docker/config.json"


def test_secrets_do_not_show() -> None:
    text = repr(Credentials("me", "canary", "canary"))
    assert "canary" not in text + str(Credentials("me", "canary", "canary"))


def test_logins_at_the_same_time_keep_each_others(config: Path) -> None:
    script = "import sys; from sampan.registry.credentials import *; save(sys.argv[1], Credentials('me', 'x'))"
    names = [f"r{number}.example" for number in range(12)]
    running = [subprocess.Popen([sys.executable, "-c", script, name]) for name in names]
    assert [process.wait() for process in running] == [0] * 12
    assert sorted(json.loads(config.read_text())["auths"]) == sorted(names)
    assert [path.name for path in config.parent.iterdir()] == ["config.json"]
