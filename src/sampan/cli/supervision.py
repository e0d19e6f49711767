"""The flags of ``run`` and ``create`` that say what a container's monitor does for it."""

from sampan.cli.flags import Flag
from sampan.errors import Conflict

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from sampan.cli.flags import Parsed

FLAGS = (
    Flag("--health-cmd string", "Command to run to check health"),
    Flag("--health-interval duration", "Time between running the check (ms|s|m|h)"),
    Flag("--health-retries int", "Consecutive failures needed to report unhealthy"),
    Flag("--health-start-interval duration", "Time between running the check during the start period (ms|s|m|h)"),
    Flag("--health-start-period duration", "Start period for the container to initialize before failures count"),
    Flag("--health-timeout duration", "Maximum time to allow one check to run (ms|s|m|h)"),
    Flag("--log-driver string", "Logging driver for the container: json-file, local or none"),
    Flag("--log-opt list", "Log driver options"),
    Flag("--no-healthcheck", "Disable any container-specified HEALTHCHECK"),
    Flag("--restart string", "Restart policy: no, always, unless-stopped or on-failure[:N]", "no"),
)

_TIMES = ("health-interval", "health-timeout", "health-start-period", "health-start-interval")


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
    if any(name in arguments for name in ("health-cmd", "health-retries", "no-healthcheck", *_TIMES)):
        from sampan.containers import healthchecks

        times = {name.removeprefix("health-"): text for name in _TIMES if (text := arguments.text(name)) is not None}
        fields["health"] = healthchecks.read(
            arguments.text("health-cmd"), times, arguments.number("health-retries"), none=arguments.on("no-healthcheck")
        )
    return fields
