"""What a user or an administrator has settled once: files in TOML, and variables that override them.

The files are ``/etc/sampan/config.toml`` and then ``$XDG_CONFIG_HOME/sampan/config.toml`` (else ``~/.config``); or only
the one that SAMPAN_CONFIG names. A later one overrides an earlier one, key by key and registry by registry::

    jobs = 8
    compression = "zstd:9"
    runtime = "crun"

    [registry."docker.io"]
    mirrors = ["mirror.example:5000", "http://10.0.0.5:5000"]

    [registry."lab.example:5000"]
    insecure = true

SAMPAN_JOBS, SAMPAN_COMPRESSION and SAMPAN_RUNTIME override all files; SAMPAN_MIRRORS are Docker Hub's, before
those of the files, and SAMPAN_INSECURE_REGISTRIES are added to theirs (both with commas between).
"""

from __future__ import annotations

import os

from sampan.errors import Invalid

TYPE_CHECKING = False  # nothing is imported here that the start of a container does not need
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any, NamedTuple
else:
    from sampan.values import NamedTuple

MAX_JOBS = 64
_HUB = "docker.io"


class Registry(NamedTuple):
    """How a registry is reached: mirrors are asked before it, in their order; ``insecure`` allows certificates that do
    not hold, and no encryption at all."""

    mirrors: tuple[str, ...] = ()
    insecure: bool = False


class Settings(NamedTuple):
    """``jobs`` are the layers that are moved at the same time; ``compression`` is how layers are pushed ("": as they
    are stored), ``cdi_directories`` where files describe devices (none: in the usual places), ``runtime`` the OCI
    runtime that containers get ("": sampan's own)."""

    jobs: int = 4
    compression: str = ""
    registries: Mapping[str, Registry] = {}
    cdi_directories: tuple[str, ...] = ()
    runtime: str = ""

    def registry(self, name: str) -> Registry:
        """The settings for the registry ``name``, as in references."""
        return self.registries.get(name, Registry())


def read(environment: Mapping[str, str] = os.environ) -> Settings:
    """The settings that hold now. Raises Invalid, naming the file or the variable and the key."""
    settings = Settings()
    for path in _paths(environment):
        settings = _with_file(settings, path, required=path == environment.get("SAMPAN_CONFIG"))
    return _with_environment(settings, environment)


def _paths(environment: Mapping[str, str]) -> tuple[str, ...]:
    if chosen := environment.get("SAMPAN_CONFIG"):
        return (chosen,)
    home = environment.get("XDG_CONFIG_HOME") or os.path.join(environment.get("HOME", "/"), ".config")
    return ("/etc/sampan/config.toml", os.path.join(home, "sampan/config.toml"))


def _with_file(settings: Settings, path: str, *, required: bool) -> Settings:
    try:
        with open(path, "rb") as file:
            import tomllib

            values = tomllib.load(file)
    except FileNotFoundError:
        if required:
            raise Invalid(f"{path}, which SAMPAN_CONFIG names, is not there") from None
        return settings
    except (OSError, ValueError, RecursionError) as error:
        why = error.strerror if isinstance(error, OSError) else str(error)
        raise Invalid(f"the settings {path} cannot be read: {why}") from None
    return _with_values(settings, values, path)


def _with_values(settings: Settings, values: dict[str, Any], path: str) -> Settings:
    registries = dict(settings.registries)
    for key, value in values.items():
        if key == "jobs":
            settings = settings._replace(jobs=_jobs(value, f"{path}: jobs"))
        elif key == "compression":
            settings = settings._replace(compression=_checked(value, str, f"{path}: compression"))
        elif key == "runtime":
            settings = settings._replace(runtime=_checked(value, str, f"{path}: runtime"))
        elif key == "cdi-spec-dirs":
            where = f"{path}: {key}"
            directories = tuple(_checked(item, str, where) for item in _checked(value, list, where))
            settings = settings._replace(cdi_directories=directories)
        elif key == "registry":
            for name, table in _checked(value, dict, f"{path}: registry").items():
                registries[name] = _registry(registries.get(name, Registry()), table, f'{path}: registry."{name}"')
        else:
            raise Invalid(
                f"{path}: there is no setting {key!r}",
                hint="known are jobs, compression, runtime, cdi-spec-dirs and registry",
            )
    return settings._replace(registries=registries)


def _registry(before: Registry, table: object, where: str) -> Registry:
    for key, value in _checked(table, dict, where).items():
        if key == "mirrors":
            mirrors = tuple(_checked(item, str, f"{where}.mirrors") for item in _checked(value, list, where))
            before = before._replace(mirrors=mirrors)
        elif key == "insecure":
            before = before._replace(insecure=_checked(value, bool, f"{where}.insecure"))
        else:
            raise Invalid(f"{where}: there is no setting {key!r}", hint="known are mirrors and insecure")
    return before


def _with_environment(settings: Settings, environment: Mapping[str, str]) -> Settings:
    registries = dict(settings.registries)
    if jobs := environment.get("SAMPAN_JOBS"):
        settings = settings._replace(jobs=_jobs(int(jobs) if jobs.isdecimal() else jobs, "SAMPAN_JOBS"))
    if compression := environment.get("SAMPAN_COMPRESSION"):
        settings = settings._replace(compression=compression)
    if runtime := environment.get("SAMPAN_RUNTIME"):
        settings = settings._replace(runtime=runtime)
    for name in _words(environment, "SAMPAN_INSECURE_REGISTRIES"):
        registries[name] = registries.get(name, Registry())._replace(insecure=True)
    if mirrors := _words(environment, "SAMPAN_MIRRORS"):
        hub = registries.get(_HUB, Registry())
        registries[_HUB] = hub._replace(mirrors=(*mirrors, *hub.mirrors))
    return settings._replace(registries=registries)


def _words(environment: Mapping[str, str], name: str) -> tuple[str, ...]:
    return tuple(word.strip() for word in environment.get(name, "").split(",") if word.strip())


def _jobs(value: object, what: str) -> int:
    if isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= MAX_JOBS:
        return value
    raise Invalid(f"{what} is a whole number from 1 to {MAX_JOBS}, not {value!r}")


def _checked(value: Any, kind: type, what: str) -> Any:
    if not isinstance(value, kind):
        raise Invalid(f"{what} is of the wrong form: {value!r}")
    return value
