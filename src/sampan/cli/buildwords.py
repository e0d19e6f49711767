"""What the flags of a build mean: names, hosts, secrets, agents, limits, and what else its steps are given."""

from __future__ import annotations

import os

from sampan.cli.buildargs import EPOCH
from sampan.cli.flags import Parsed
from sampan.errors import Invalid, NotFound, Unsupported

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from sampan.build.host import Host
    from sampan.build.make import Caches
    from sampan.build.mounts import Secret
    from sampan.engine import Engine
    from sampan.oci.reference import Reference


def jobs(arguments: Parsed) -> int:
    jobs = arguments.number("jobs") or 0
    if jobs < 1:
        raise Invalid(f"invalid --jobs {jobs}: at least one step has to be performed at a time")
    return jobs


def names(tags: list[str]) -> list[Reference]:
    from sampan.oci import reference as references

    names = [references.parse(tag).tagged() for tag in tags]
    for name in names:
        if name.digest:
            raise Invalid(f"{name} cannot be a tag: a digest is not chosen, it follows from the content")
    return names


def check_attestations(arguments: Parsed) -> None:
    """What scripts say to get images without attestations is heeded, anything else refused. Raises Unsupported."""
    for flag in ("provenance", "sbom"):
        text = arguments.text(flag)
        if text is not None and text.lower() not in ("false", "0", "disabled=true"):
            raise Unsupported(f"--{flag}={text} is not supported: images have no attestations", hint=f"--{flag}=false")
    for text in arguments.texts("attest"):
        if "disabled=true" not in text.split(","):
            raise Unsupported(f"--attest {text} is not supported: images have no attestations", hint="leave it out")
    builder = arguments.text("builder")
    if builder not in (None, "", "default"):
        raise Unsupported(f"there is no builder {builder}", hint="leave --builder out: sampan builds by itself")


def labels(texts: list[str]) -> dict[str, str]:
    """``NAME=VALUE``; a name alone has an empty value."""
    pairs = dict(text.partition("=")[::2] for text in texts)
    if "" in pairs:
        raise Invalid("invalid --label: the name is missing", hint="write it as NAME=VALUE")
    return pairs


def hosts(texts: list[str]) -> tuple[tuple[str, str], ...]:
    """``NAME:ADDRESS`` or ``NAME=ADDRESS``; an IPv6 address may stand in brackets."""
    if not texts:
        return ()
    from ipaddress import ip_address

    found = []
    for text in texts:
        name, _, address = text.partition("=") if "=" in text else text.partition(":")
        address = address[1:-1] if address.startswith("[") and address.endswith("]") else address
        try:
            ip_address(address)
        except ValueError:
            raise Invalid(
                f"invalid --add-host {text!r}", hint="write it as NAME:ADDRESS, with a numeric address"
            ) from None
        if not name or not name.isprintable() or " " in name:
            raise Invalid(f"invalid --add-host {text!r}: {name!r} is no name")
        found.append((name, address))
    return tuple(found)


def epoch(build_args: dict[str, str], dockerfile: bytes, context: int | None) -> int | None:
    """SOURCE_DATE_EPOCH (reproducible-builds.org), seconds since 1970: the build argument, else what the Dockerfile has
    before the first FROM. "context" is when a context that was fetched last changed (BuildKit, docs/build-repro.md),
    and is replaced among ``build_args`` by what it means. Raises Invalid."""
    text = build_args.get(EPOCH)
    if text is None and EPOCH.encode() in dockerfile:
        from sampan.build.dockerfile import arguments, stages

        parsed = stages.parse(dockerfile)
        text = arguments.global_args(parsed.preamble, {}, build_args, parsed.escape).get(EPOCH)
    if text == "context":
        text = build_args[EPOCH] = "" if context is None else str(context)
    if not text:
        return None
    if not (text.isascii() and text.isdigit() and len(text) < 12):
        raise Invalid(f"SOURCE_DATE_EPOCH is {text!r}, not a number of seconds since 1970", hint='or "context"')
    return int(text)


def host(arguments: Parsed, engine: Engine, build_args: Mapping[str, str]) -> Host:
    from sampan.build.dockerfile.arguments import HOSTNAME_ARG
    from sampan.build.host import Host
    from sampan.cli import limits
    from sampan.runtime.defaults import SHM_BYTES

    network = arguments.text("network") or "default"
    if network not in ("default", "bridge", "host", "none"):
        raise Unsupported(f"--network {network} is not supported by build", hint="default, host or none")
    isolation = arguments.text("isolation") or "default"
    if isolation not in ("default", "chroot"):
        raise Unsupported(f"--isolation {isolation} is not supported by build", hint="default or chroot")
    pip = None
    if arguments.on("host-pip"):
        from sampan.build import hostpip

        pip = hostpip.read(os.environ, os.path.expanduser("~"))
    network = "default" if network == "bridge" else network
    paths = engine.paths
    return Host(
        paths.temporary,
        paths.networks,
        engine.rootless,
        network,
        pip,
        paths.caches,
        secrets(arguments.texts("secret")),
        agents(arguments.texts("ssh")),
        hosts(arguments.texts("add-host")),
        arguments.on("package-cache"),
        limits.size(shm, "--shm-size") if (shm := arguments.text("shm-size")) else SHM_BYTES,
        tuple(limits.limit(text) for text in arguments.texts("ulimit")),
        build_args.get(HOSTNAME_ARG, ""),
        isolation,
    )


def caches(arguments: Parsed, build_args: Mapping[str, str]) -> Caches:
    from sampan.build.dockerfile.arguments import INLINE_CACHE_ARG, is_on
    from sampan.build.make import Caches

    sources, targets = arguments.texts("cache-from"), arguments.texts("cache-to")
    if is_on(build_args, INLINE_CACHE_ARG):
        targets = [*targets, "type=inline"]
    if not sources and not targets:
        return Caches()
    from sampan.build import endpoints

    return Caches(
        [endpoints.parse_source(text) for text in sources], [endpoints.parse_target(text) for text in targets]
    )


def allowed(entitlements: list[str]) -> list[str]:
    from sampan.build.dockerfile.apply import HOST_NETWORK, INSECURE

    for entitlement in entitlements:
        if entitlement not in (HOST_NETWORK, INSECURE):
            raise Unsupported(f"--allow {entitlement} is not supported", hint=f"{HOST_NETWORK} and {INSECURE} are")
    return entitlements


def secrets(texts: list[str]) -> dict[str, Secret]:
    """``id=NAME[,src=FILE|,env=VARIABLE]``, as with buildx: without either a variable NAME, else a file NAME."""
    from sampan.build.mounts import Secret

    found = {}
    for text in texts:
        words = dict(word.partition("=")[::2] for word in text.split(","))
        kind, name = words.pop("type", ""), words.pop("id", "")
        path, variable = words.pop("src", "") or words.pop("source", ""), words.pop("env", "")
        if words or kind not in ("", "file", "env") or not name or (path and variable):
            what = f"for {name}" if name else "without an id"
            raise Invalid(f"invalid --secret {what}", hint="id=NAME,src=FILE or id=NAME,env=VARIABLE")
        if not path and (variable or kind == "env" or name in os.environ):
            variable = variable or name
            if variable not in os.environ:
                raise NotFound(f"the secret {name} is not there: the environment has no {variable}")
        path = "" if variable else os.path.abspath(path or name)
        if path and not os.path.isfile(path):
            raise NotFound(f"the secret {name} is not there: {path} is no file")
        found[name] = Secret(path, variable)
    return found


def agents(texts: list[str]) -> dict[str, str]:
    """``default`` or ``NAME=SOCKET``; without a socket the one in SSH_AUTH_SOCK."""
    import stat

    found = {}
    for text in texts:
        name, equals, path = text.partition("=")
        path = path if equals else os.environ.get("SSH_AUTH_SOCK", "")
        if not name or not path:
            hint = "start one (eval $(ssh-agent)), or name its socket: --ssh default=SOCKET"
            raise NotFound(f"there is no ssh agent for --ssh {text}: SSH_AUTH_SOCK is not set", hint=hint)
        if not os.path.exists(path) or not stat.S_ISSOCK(os.stat(path).st_mode):
            raise Unsupported(f"--ssh {text}: {path} is not a socket", hint="add the key to an agent: ssh-add KEY")
        found[name] = os.path.abspath(path)
    return found


def contexts(texts: list[str]) -> dict[str, str]:
    contexts = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name or not value:
            raise Invalid(
                f"invalid --build-context {text!r}", hint="write it as NAME=docker-image://IMAGE or NAME=PATH"
            )
        contexts[name] = value
    return contexts
