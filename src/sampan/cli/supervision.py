"""The flags of ``run`` and ``create`` that say what a container's monitor does for it."""

from sampan.cli.flags import Flag
from sampan.errors import Conflict

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from sampan.cli.flags import Parsed

FLAGS = (
    Flag("--log-driver string", "Logging driver for the container: json-file, local or none"),
    Flag("--log-opt list", "Log driver options"),
    Flag("--restart string", "Restart policy: no, always, unless-stopped or on-failure[:N]", "no"),
)


def read(arguments: "Parsed") -> "dict[str, Any]":
    """The fields of ``Options`` that these flags set; only what was given loads anything."""
    fields: dict[str, Any] = {}
    driver, options = arguments.text("log-driver") or "", arguments.texts("log-opt")
    if driver or options:
        from sampan.containers import logdrivers

        fields["logging"] = logdrivers.parse(driver, options)
    policy = arguments.text("restart") or "no"
    if policy != "no":
        from sampan.containers import restarts

        fields["restart"] = restarts.parse(policy)
        if arguments.on("rm") and fields["restart"].name != "no":
            raise Conflict("--restart and --rm say opposite things of what is to become of the container at its end")
    return fields
