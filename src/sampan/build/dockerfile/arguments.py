"""Build arguments before any stage: those that are predefined, and the ARGs before the first FROM."""

from collections.abc import Iterable, Mapping

from sampan.build.dockerfile import words
from sampan.build.dockerfile.instructions import Arg, From, Instruction
from sampan.build.dockerfile.words import Rules
from sampan.oci import platform as platforms
from sampan.oci.platform import Platform

_PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "FTP_PROXY", "NO_PROXY", "ALL_PROXY")
EPOCH_ARG = "SOURCE_DATE_EPOCH"
"""An argument to the build itself (reproducible-builds.org); stages see it if they declare it."""
KEEP_GIT_ARG = "BUILDKIT_CONTEXT_KEEP_GIT_DIR"
"""Whether a build context that is a git repository keeps its ``.git``."""
INLINE_CACHE_ARG = "BUILDKIT_INLINE_CACHE"
"""The same as --cache-to=type=inline."""
MULTI_PLATFORM_ARG = "BUILDKIT_MULTI_PLATFORM"
"""Whether an image for one platform is in an index, and its files in a directory, as those for several are."""
HOSTNAME_ARG = "BUILDKIT_SANDBOX_HOSTNAME"
"""The host name that RUN sees."""
CACHE_MOUNT_ARG = "BUILDKIT_CACHE_MOUNT_NS"
"""What keeps cache mounts apart from those of other builds."""
ANSWERED_ARGS = frozenset(
    (EPOCH_ARG, KEEP_GIT_ARG, INLINE_CACHE_ARG, MULTI_PLATFORM_ARG, HOSTNAME_ARG, CACHE_MOUNT_ARG,
     "BUILDKIT_DOCKERFILE_CHECK", "BUILDKIT_SYNTAX", "BUILDKIT_BUILD_NAME")
)  # fmt: skip
"""Arguments that mean something without an ARG. BUILDKIT_SYNTAX names a program, which is not run, and
BUILDKIT_BUILD_NAME what only buildx's history shows."""
PROXY_ARGS = frozenset((*_PROXIES, *(name.lower() for name in _PROXIES)))
"""Arguments that every RUN sees without an ARG, and that stay out of cache keys and history."""


def is_on(build_args: Mapping[str, str], name: str) -> bool:
    """Whether an argument says yes, as Go's ``strconv.ParseBool`` reads it."""
    return build_args.get(name, "") in ("1", "t", "T", "TRUE", "true", "True")


def platform_args(target: Platform, stage: str, build_args: Mapping[str, str]) -> dict[str, str]:
    """What ``ARG TARGETARCH`` and its kin mean: for FROM, and for stages that declare them."""
    build, target = _plain(platforms.host()), _plain(target)
    values = {
        "BUILDPLATFORM": str(build),
        "BUILDOS": build.os,
        "BUILDOSVERSION": "",
        "BUILDARCH": build.architecture,
        "BUILDVARIANT": build.variant,
        "TARGETPLATFORM": str(target),
        "TARGETOS": target.os,
        "TARGETOSVERSION": "",
        "TARGETARCH": target.architecture,
        "TARGETVARIANT": target.variant,
        "TARGETSTAGE": stage or "default",
    }
    return {name: build_args.get(name, value) for name, value in values.items()}


def global_args(
    preamble: Iterable[Arg], predefined: Mapping[str, str], build_args: Mapping[str, str], escape: str
) -> dict[str, str]:
    """The values of all arguments outside any stage. Raises Invalid, showing the line."""
    values = dict(predefined)
    for arg in preamble:
        for name, default in arg.definitions:
            with arg.line.showing(default or name):
                value = build_args.get(name, None if default is None else words.expand(default, values, Rules(escape)))
            if value is not None:
                values[name] = value
    return values


def proxies(build_args: Mapping[str, str]) -> dict[str, str]:
    """The proxy arguments that were given, each in upper and lower case, for programs read the one or the other."""
    return {
        name: build_args.get(name, build_args.get(name.swapcase(), ""))
        for name in sorted(PROXY_ARGS)
        if name in build_args or name.swapcase() in build_args
    }


def declared(found: Iterable[From | Instruction]) -> set[str]:
    """The names of all ARGs among ``found``."""
    return {name for arg in found if isinstance(arg, Arg) for name, _ in arg.definitions}


def _plain(platform: Platform) -> Platform:
    """Without a variant that is its architecture's first anyway (containerd/platforms, Normalize)."""
    first = {"amd64": "v1", "arm64": "v8"}.get(platform.architecture)
    return platform._replace(variant="") if platform.variant == first else platform
