"""The host's pip settings, put together for a step."""

import os
from configparser import RawConfigParser
from pathlib import Path

import pytest

from sampan.build import hostpip


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home directory; the settings of this machine itself stay out, except for /etc/pip.conf."""
    home = tmp_path / "home"
    (home / ".config/pip").mkdir(parents=True)
    return home


def config(text: str) -> dict[str, str]:
    parser = RawConfigParser()
    parser.read_string(text)
    return dict(parser["global"])


def read(home: Path, environment: dict[str, str]) -> hostpip.HostPip:
    return hostpip.read({"XDG_CONFIG_DIRS": str(home / "none"), **environment}, str(home))


def test_the_more_particular_wins(home: Path, tmp_path: Path) -> None:
    (home / ".pip").mkdir()
    (home / ".pip/pip.conf").write_text("[global]\nindex-url = https://old/\ntimeout = 1\nretries = 1\n")
    (home / ".config/pip/pip.conf").write_text("[global]\nindex_url = https://user/\ntimeout = 2\n")
    chosen = tmp_path / "chosen.conf"
    chosen.write_text("[install]\ntrusted-host = chosen\n")
    found = config(read(home, {"PIP_CONFIG_FILE": str(chosen), "PIP_TIMEOUT": "3"}).config)
    assert (found["index-url"], found["timeout"], found["retries"]) == ("https://user/", "3", "1")
    assert found["trusted-host"] == "chosen"


def test_devnull_means_no_files(home: Path) -> None:
    (home / ".config/pip/pip.conf").write_text("[global]\nindex-url = https://user/\n")
    found = config(read(home, {"PIP_CONFIG_FILE": os.devnull, "PIP_RETRIES": "3"}).config)
    assert found == {"retries": "3"}


def test_what_is_about_this_host_stays_here(home: Path) -> None:
    (home / ".config/pip/pip.conf").write_text("[global]\nuser = true\nrequire-virtualenv = true\n[list]\nformat = x\n")
    found = read(home, {"PIP_TARGET": "/x", "PIP_CACHE_DIR": "/y", "PIP_LOG": "/z", "PIP_NO_INDEX": "1", "HOME": "/h"})
    assert set(config(found.config)) & {"user", "require-virtualenv", "target", "cache-dir", "log", "format"} == set()
    assert config(found.config)["no-index"] == "1"
    assert not {"PIP_TARGET", "PIP_LOG", "HOME"} & found.environment().keys()


def test_local_directories_are_mounted(home: Path, tmp_path: Path) -> None:
    for name in ("wheels", "my index/simple", "plain", "home/relative"):
        (tmp_path / name).mkdir(parents=True)
    index = f"file://{tmp_path}/my%20index/simple"
    environment = {
        "PIP_CONFIG_FILE": os.devnull,
        "PIP_FIND_LINKS": f"{tmp_path}/wheels ~/relative https://host/links /not/there",
        "PIP_EXTRA_INDEX_URL": f"{index} {index} file://{tmp_path}/plain https://user:secret@host/simple",
    }
    found = read(home, environment)
    lines = config(found.config)
    assert lines["extra-index-url"].split() == [
        "file:///run/sampan/pip/0/simple",
        "file:///run/sampan/pip/0/simple",
        "file:///run/sampan/pip/1",
        "https://user:secret@host/simple",
    ]
    assert lines["find-links"].split() == ["/run/sampan/pip/2", "/run/sampan/pip/3", "https://host/links", "/not/there"]
    assert found.mounts[:4] == (
        (f"{tmp_path}/my index", "/run/sampan/pip/0"),  # pages of an index link to files beside it
        (f"{tmp_path}/plain", "/run/sampan/pip/1"),
        (f"{tmp_path}/wheels", "/run/sampan/pip/2"),
        (f"{tmp_path}/home/relative", "/run/sampan/pip/3"),
    )


def test_secrets_are_in_the_file_and_not_in_the_environment(home: Path, tmp_path: Path) -> None:
    found = read(home, {"PIP_INDEX_URL": "https://user:secret@host/simple", "PIP_PROXY": "http://secret@proxy"})
    assert "secret" not in str(found.environment())
    binds = {inside: path for path, inside in found.binds(str(tmp_path))}
    assert Path(binds["/run/sampan/pip/pip.conf"]).read_text().count("secret") == 2
    assert found.environment()["PIP_CONFIG_FILE"] == "/run/sampan/pip/pip.conf"


def test_the_bundle_that_is_named(home: Path, tmp_path: Path) -> None:
    bundle, other = tmp_path / "ca.pem", tmp_path / "other.pem"
    bundle.write_text("")
    other.write_text("")
    found = read(home, {"SSL_CERT_FILE": str(other), "REQUESTS_CA_BUNDLE": str(bundle), "PIP_CERT": "/not/there"})
    assert (str(bundle), "/run/sampan/pip/ca-certificates.crt") in found.mounts
    for variable in ("PIP_CERT", "REQUESTS_CA_BUNDLE", "SSL_CERT_FILE"):
        assert found.environment()[variable] == "/run/sampan/pip/ca-certificates.crt"


def test_a_damaged_file_is_left_out(home: Path) -> None:
    (home / ".config/pip/pip.conf").write_bytes(b"\xff[no section\n= x")
    assert "index-url" not in config(read(home, {"PIP_CONFIG_FILE": ""}).config)
