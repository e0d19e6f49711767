"""Checks for people who put Python into images: what works, and is slow, large, or another thing tomorrow."""

from __future__ import annotations

import re
from collections.abc import Iterator

from sampan.build.dockerfile import instructions, rules, stages, values
from sampan.build.dockerfile.credentials import credentials
from sampan.build.dockerfile.findings import Finding
from sampan.build.dockerfile.installs import Install, installs
from sampan.build.dockerfile.instructions import Entrypoint, Env, Instruction, Run, Transfer, User
from sampan.build.dockerfile.lines import Line
from sampan.build.dockerfile.stages import Dockerfile
from sampan.build.dockerfile.view import View
from sampan.errors import Invalid
from sampan.oci import reference as references

_FLOATING = frozenset(
    "latest stable testing unstable sid edge nightly main master dev devel rolling current lts mainline slim alpine "
    "full bookworm bullseye buster trixie windowsservercore".split()
)
"""Words of tags that follow whatever is the newest. The code name of a Debian is a version of Debian alone."""
_DISTRIBUTIONS = ("debian", "ubuntu", "buildpack-deps")
_CACHE_OFF = {
    "pip": (("--no-cache-dir", "--no-cache"), "PIP_NO_CACHE_DIR"),
    "uv": (("--no-cache", "--no-cache-dir", "-n"), "UV_NO_CACHE"),
}
_CACHE_PLACE = re.compile(r"\.cache|pip|uv|\$")
_CACHE_REMOVED = re.compile(r"cache purge|cache clean|rm\s+-\w+\s[^;&|]*\.cache")


def of_file(dockerfile: Dockerfile) -> Iterator[Finding]:
    """What concerns the text alone."""
    for instruction in (*dockerfile.preamble, *(found for stage in dockerfile.stages for found in stage.body)):
        for secret in credentials(instruction):
            message = f"{instruction.line.text.split()[0].upper()} holds what looks like a credential"
            yield Finding(rules.CredentialsInImage, message, instruction.line, secret)


def of_base(view: View) -> Iterator[Finding]:
    """What concerns the image that a stage begins with."""
    if len(view.bases) == 1:
        yield from _of_image_name(view, "base image", view.base, view.stage.base.line, view.stage.base.image)


def of_instruction(view: View, instruction: Instruction, dockerfile: Dockerfile) -> Iterator[Finding]:
    """What concerns an instruction in its stage."""
    yield from _of_origins(view, instruction, dockerfile)
    if isinstance(instruction, Entrypoint):
        command = instruction.command
        if command.shell and command.words and not command.words[0].startswith("exec "):
            message = "the shell that runs ENTRYPOINT does not pass on the signal to stop"
            yield Finding(rules.ShellFormEntrypoint, message, instruction.line, command.words[0])
    elif isinstance(instruction, Run):
        for install in installs(instruction):
            yield from _of_install(instruction, install)
        view.of_layers += _cache_left(view, instruction)
    elif isinstance(instruction, Env):
        yield from _of_env(instruction)


def of_stage(view: View) -> Iterator[Finding]:
    """What concerns a stage when all of it was read."""
    everything = None
    for found in view.body:
        if isinstance(found, Transfer) and not everything and _is_everything(found):
            everything = found
        elif isinstance(found, Run) and any(install.from_file for install in installs(found)):
            if everything:
                message = "everything is copied before the requirements are installed"
                yield Finding(rules.SourceBeforeRequirements, message, everything.line)
            return


def of_image(view: View) -> Iterator[Finding]:
    """What concerns the image that comes of the target, when all of it was read."""
    yield from view.of_layers
    if view.base == "scratch" and not _commands(view):
        return
    user = view.user if view.user is not None else "" if "nonroot" not in view.base else "nonroot"
    name = user.partition(":")[0]
    if name in ("", "root") or (name.isdecimal() and not name.strip("0")):
        last = next((found for found in reversed(view.body) if isinstance(found, User)), None)
        line = last.line if last else view.stage.base.line
        yield Finding(rules.RunsAsRoot, "the image runs as root", line, last.user if last else view.stage.base.image)
    if _is_python(view) and not view.env.get("PYTHONUNBUFFERED") and not _is_unbuffered(view):
        message = "PYTHONUNBUFFERED is not set"
        yield Finding(rules.PythonOutputBuffered, message, view.stage.base.line, view.stage.base.image)


def _of_origins(view: View, instruction: Instruction, dockerfile: Dockerfile) -> Iterator[Finding]:
    """The images that files are taken from."""
    if isinstance(instruction, Transfer):
        names = [instruction.from_]
    else:
        names = [mount.from_ for mount in instruction.mounts] if isinstance(instruction, Run) else []
    for name in names:
        if not name.isdecimal() and not stages.find(dockerfile.stages[: view.stage.number], name):
            yield from _of_image_name(view, "image", name, instruction.line, name)


def _of_image_name(view: View, what: str, name: str, line: Line, at: str) -> Iterator[Finding]:
    if name in ("", "scratch", "context") or "$" in name or view.around.is_context(name):
        return
    try:
        reference = references.parse(name)
    except Invalid:
        return  # translate says what is wrong with it
    if reference.registry != "localhost" and not reference.digest and _is_floating(name, reference.tag):
        shown = reference.familiar_name + (f":{reference.tag}" if reference.tag else "")
        yield Finding(rules.UnpinnedBase, f"the {what} {shown} has no version", line, at)


def _is_floating(name: str, tag: str | None) -> bool:
    words = re.split(r"[-_.]", tag or "latest")
    is_distribution = name.partition(":")[0].rpartition("/")[2] in _DISTRIBUTIONS
    newest = {"latest", "stable", "testing", "unstable", "sid", "rolling", "devel", "slim"}
    return set(words) <= (newest if is_distribution else _FLOATING)


def _of_install(run: Run, install: Install) -> Iterator[Finding]:
    packages = install.open_packages
    if packages:
        message = f"whatever version is the newest will be installed of {', '.join(packages)}"
        yield Finding(rules.UnpinnedInstall, message, run.line, packages[0])
    flag = _cache_off(install)
    if flag:
        yield Finding(rules.CacheDisabled, f"{flag} downloads everything anew in every build", run.line, flag)


def _of_env(env: Env) -> Iterator[Finding]:
    for name, value in env.pairs:
        # pip takes any value of its variable for "no cache", also "off".
        if name == "PIP_NO_CACHE_DIR" or (name == "UV_NO_CACHE" and value.lower() not in ("", "0", "false", "off")):
            yield Finding(rules.CacheDisabled, f"{name} downloads everything anew in every build", env.line, name)


def _cache_off(install: Install) -> str:
    """The option that keeps ``install`` from using a cache, if it has one."""
    flags, _ = _CACHE_OFF.get(install.tool, ((), ""))
    return next((word for word in install.arguments if word in flags), "")


def _cache_left(view: View, run: Run) -> Iterator[Finding]:
    if _CACHE_REMOVED.search(" ".join((*run.command.words, *(each.body for each in run.line.heredocs)))):
        return
    if any(_holds_cache(view, dict(mount.words)) for mount in run.mounts):
        return
    for install in installs(run):
        _, variable = _CACHE_OFF.get(install.tool, ((), ""))
        is_off = variable in view.variables or variable in install.variables or "--no-index" in install.arguments
        if variable and not is_off and not _cache_off(install):
            message = f"the cache of {install.tool} stays in the layer of a builder that mounts none"
            yield Finding(rules.CacheLeftInLayer, message, run.line, install.tool)


def _holds_cache(view: View, mount: dict[str, str]) -> bool:
    target = mount.get("target", "")
    places = (view.variables.get("PIP_CACHE_DIR"), view.variables.get("UV_CACHE_DIR"))
    return mount.get("type") in ("cache", "tmpfs") and bool(_CACHE_PLACE.search(target) or target in places)


def _is_everything(transfer: Transfer) -> bool:
    return not transfer.from_ and any(values.inside(each) in (".", "*", "**") for each in transfer.sources)


def _commands(view: View) -> list[tuple[str, ...]]:
    return [found.command.words for found in view.body if isinstance(found, instructions.Cmd | Entrypoint)]


def _is_python(view: View) -> bool:
    if "python" in view.base.lower() or "PYTHON_VERSION" in view.env:
        return True
    return any(re.match(r"(?:\S*/)?(?:python|gunicorn|uvicorn)", words[0]) for words in _commands(view) if words)


def _is_unbuffered(view: View) -> bool:
    """The command itself says so: ``python -u``."""
    return any(re.search(r"python[0-9.]*(?: -\w+)* -\w*u", " ".join(words)) for words in _commands(view))
