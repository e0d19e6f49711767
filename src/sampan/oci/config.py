"""Image configs (OCI image-spec, config.md, with the fields that Docker adds to ``config``)."""

from __future__ import annotations

from sampan.errors import Invalid
from sampan.oci import manifest
from sampan.oci.digest import Digest
from sampan.oci.platform import Platform

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any, NamedTuple
else:
    from sampan.values import NamedTuple


class ContainerConfig(NamedTuple):
    """How a container of the image is run. ``None`` for entrypoint or cmd means "not set", ``()`` "set to nothing"."""

    user: str = ""
    exposed_ports: tuple[str, ...] = ()
    env: tuple[str, ...] = ()
    entrypoint: tuple[str, ...] | None = None
    cmd: tuple[str, ...] | None = None
    volumes: tuple[str, ...] = ()
    working_dir: str = ""
    labels: Mapping[str, str] = {}
    stop_signal: str = ""
    shell: tuple[str, ...] | None = None
    healthcheck: Mapping[str, Any] | None = None
    on_build: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        value: dict[str, Any] = {
            "User": self.user,
            "ExposedPorts": {port: {} for port in self.exposed_ports},
            "Env": list(self.env),
            "Entrypoint": None if self.entrypoint is None else list(self.entrypoint),
            "Cmd": None if self.cmd is None else list(self.cmd),
            "Volumes": {volume: {} for volume in self.volumes},
            "WorkingDir": self.working_dir,
            "Labels": dict(self.labels),
            "StopSignal": self.stop_signal,
            "Shell": None if self.shell is None else list(self.shell),
            "Healthcheck": None if self.healthcheck is None else dict(self.healthcheck),
            "OnBuild": list(self.on_build),
        }
        return {key: item for key, item in value.items() if item or (key in ("Entrypoint", "Cmd") and item == [])}


class ImageConfig(NamedTuple):
    """An image's config blob as a value; ``diff_ids`` are those of its layers, lowest first."""

    platform: Platform
    config: ContainerConfig = ContainerConfig()
    diff_ids: tuple[Digest, ...] = ()
    history: tuple[Mapping[str, Any], ...] = ()
    created: str = ""
    author: str = ""

    def encode(self) -> bytes:
        value: dict[str, Any] = self.platform.to_json()
        value["config"] = self.config.to_json()
        value["rootfs"] = {"type": "layers", "diff_ids": list(self.diff_ids)}
        if self.history:
            value["history"] = [dict(entry) for entry in self.history]
        if self.created:
            value["created"] = self.created
        if self.author:
            value["author"] = self.author
        return manifest.encode(value)


def parse(data: bytes) -> ImageConfig:
    """The image config in ``data``. Raises Invalid when a field has a form that no reader could use."""
    value = manifest.decode(data, "the image config")
    rootfs = value.get("rootfs")
    diff_ids = rootfs.get("diff_ids") if isinstance(rootfs, dict) else None
    history = value.get("history")
    return ImageConfig(
        Platform(*(_text(value, key) for key in ("os", "architecture", "variant"))),
        _container_config(value.get("config")),
        tuple(Digest(each) for each in _texts(diff_ids, "diff_ids") or ()),
        tuple(dict(entry) for entry in history if isinstance(entry, dict)) if isinstance(history, list) else (),
        _text(value, "created"),
        _text(value, "author"),
    )


def from_container_json(value: object) -> ContainerConfig:
    """The ``config`` object of an image config (also Docker's ``Config`` in API calls). Raises Invalid."""
    return _container_config(value)


def _container_config(value: object) -> ContainerConfig:
    if value is None:
        return ContainerConfig()
    config: dict[str, Any] = _checked(value, dict, "config")
    labels = config.get("Labels")
    health = config.get("Healthcheck")
    return ContainerConfig(
        user=_text(config, "User"),
        exposed_ports=tuple(_checked(config.get("ExposedPorts") or {}, dict, "ExposedPorts")),
        env=_texts(config.get("Env"), "Env") or (),
        entrypoint=_command(config.get("Entrypoint"), "Entrypoint"),
        cmd=_command(config.get("Cmd"), "Cmd"),
        volumes=tuple(_checked(config.get("Volumes") or {}, dict, "Volumes")),
        working_dir=_text(config, "WorkingDir"),
        labels={str(key): str(text) for key, text in _checked(labels or {}, dict, "Labels").items()},
        stop_signal=_text(config, "StopSignal"),
        shell=_texts(config.get("Shell"), "Shell") or None,  # Docker reads an empty one as none
        healthcheck=_checked(health, dict, "Healthcheck") if health else None,
        on_build=_texts(config.get("OnBuild"), "OnBuild") or (),
    )


def _command(value: object, what: str) -> tuple[str, ...] | None:
    # Old images hold a plain text here; Docker reads it as a command of one word.
    return (value,) if isinstance(value, str) else _texts(value, what)


def _texts(value: object, what: str) -> tuple[str, ...] | None:
    if value is None:
        return None
    return tuple(_checked(item, str, what) for item in _checked(value, list, what))


def _text(value: dict[str, Any], key: str) -> str:
    text: str = _checked(value.get(key) or "", str, key)
    return text


def _checked(value: Any, kind: type, what: str) -> Any:
    if not isinstance(value, kind):
        raise Invalid(f"the image config's {what} is of the wrong form")
    return value
