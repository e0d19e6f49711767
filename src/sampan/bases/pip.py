"""The pip of this machine, as files to put into an image."""

import os
from typing import NamedTuple

from sampan.bases import certificates
from sampan.bases.contents import Contents, files
from sampan.bases.interpreter import Interpreter, plan_byte_code, plan_module
from sampan.errors import Invalid

_BUNDLE = "pip/_vendor/certifi/cacert.pem"
_DEBIAN_WHEELS = "/usr/share/python-wheels"


class Pip(NamedTuple):
    """``source`` is the directory or wheel that it was taken from, ``bundle`` the CA certificates that came with it."""

    source: str
    bundle: bytes | None


def plan(python: Interpreter, contents: Contents) -> Pip | None:
    """Puts pip in: the interpreter's own, else that of the running environment, else the one in ensurepip.

    None if this machine has no pip. Raises Invalid for a wheel that cannot be read.
    """
    target = _packages(python)
    installed = next((place for place in _places(python) if os.access(f"{place}/pip/__main__.py", os.R_OK)), None)
    if installed:
        pip = Pip(installed, _plan_installed(installed, target, contents))
    else:
        wheels = _wheels(f"{python.stdlib}/ensurepip/_bundled") + _wheels_apart(python)
        wheel = next((path for path in wheels if os.path.basename(path).startswith("pip-")), None)
        if not wheel:
            return None
        pip = Pip(wheel, _plan_wheel(wheel, target, contents))
    for path in _wheels_apart(python):
        contents.copy(path)
    script = (
        f"#!{python.bin}/{python.name}\nimport sys\nfrom pip._internal.cli.main import main\n\n"
        'if __name__ == "__main__":\n    sys.exit(main())\n'
    )
    for name in ("pip", "pip3", "pip{}.{}".format(*python.version)):
        contents.write(f"{python.bin}/{name}", script, 0o755)
    return pip


def _plan_installed(directory: str, target: str, contents: Contents) -> bytes | None:
    names = sorted(name for name in os.listdir(directory) if name.startswith("pip-") and name.endswith(".dist-info"))
    bundle = None
    for name in ("pip", *names):
        for path in files(f"{directory}/{name}", lambda name: name != "__pycache__"):
            inside = os.path.relpath(path, directory)
            if inside == _BUNDLE:
                bundle = certificates.as_recorded(path, inside, _record(directory, names))
                if bundle:
                    contents.write(f"{target}/{inside}", bundle)
                else:
                    contents.link(f"{target}/{inside}", certificates.BUNDLE)
            elif path.endswith(".py"):
                plan_module(path, f"{target}/{inside}", contents)
            else:
                contents.copy(path, f"{target}/{inside}")
    return bundle


def _record(directory: str, names: list[str]) -> str:
    try:
        with open(f"{directory}/{names[-1]}/RECORD", encoding="utf-8") as file:
            return file.read()
    except (OSError, IndexError):
        return ""


def _plan_wheel(wheel: str, target: str, contents: Contents) -> bytes | None:
    import calendar
    import zipfile

    bundle = None
    try:
        with zipfile.ZipFile(wheel) as archive:
            for member in archive.infolist():
                if member.is_dir():
                    continue
                if member.filename.startswith("/") or ".." in member.filename.split("/"):
                    raise Invalid(f"the wheel {wheel} holds a path that leads out of it: {member.filename!r}")
                path, data = f"{target}/{member.filename}", archive.read(member)
                contents.write(path, data, mtime=calendar.timegm((*member.date_time, 0, 0, 0)))
                if path.endswith(".py"):
                    plan_byte_code(data, None, path, contents)
                elif member.filename == _BUNDLE:
                    bundle = data
    except (OSError, zipfile.BadZipFile) as error:
        raise Invalid(f"the wheel {wheel} cannot be read: {error}") from None
    return bundle


def _places(python: Interpreter) -> tuple[str, ...]:
    import sysconfig

    return (
        f"{python.stdlib}/site-packages",
        f"{python.prefix}/lib/{python.name}/site-packages",
        f"{python.prefix}/lib/python3/dist-packages",
        sysconfig.get_path("purelib"),
    )


def _wheels(directory: str) -> list[str]:
    try:
        return [f"{directory}/{name}" for name in sorted(os.listdir(directory)) if name.endswith(".whl")]
    except OSError:
        return []


def _wheels_apart(python: Interpreter) -> list[str]:
    """ensurepip's wheels where a distribution keeps them apart from it; python -m venv unpacks them."""
    import sysconfig

    ensurepip = f"{python.stdlib}/ensurepip"
    if not os.path.isdir(ensurepip) or os.path.isdir(f"{ensurepip}/_bundled"):
        return []
    directory = sysconfig.get_config_var("WHEEL_PKG_DIR") or _DEBIAN_WHEELS
    return _wheels(directory.rstrip("/"))


def _packages(python: Interpreter) -> str:
    # Debian's Python looks nowhere else below /usr (its site.py); its mark is the scheme that it adds.
    import sysconfig

    if python.image_prefix == "/usr" and "deb_system" in sysconfig.get_scheme_names():
        return "/usr/lib/python3/dist-packages"
    return f"{python.image_prefix}/lib/{python.name}/site-packages"
