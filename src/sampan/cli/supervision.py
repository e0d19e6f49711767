"""The flags of ``run`` and ``create`` that say what a container's monitor does for it."""

from sampan.cli.flags import Flag

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from sampan.cli.flags import Parsed

FLAGS = (
    Flag("--log-driver string", "Logging driver for the container: json-file, local or none"),
    Flag("--log-opt list", "Log driver options"),
)


def read(arguments: "Parsed") -> "dict[str, Any]":
    """The fields of ``Options`` that these flags set; only what was given loads anything."""
    fields: dict[str, Any] = {}
    driver, options = arguments.text("log-driver") or "", arguments.texts("log-opt")
    if driver or options:
        from sampan.containers import logdrivers

        fields["logging"] = logdrivers.parse(driver, options)
    return fields
