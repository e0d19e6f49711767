"""The table of commands: which module is imported for a verb, and what the verb is for.

A module of one verb has ``COMMAND: Command`` and ``main(arguments: Parsed, context: Context) -> int``. A module for a
verb of two words ("base host") has ``COMMANDS: dict[str, tuple[Command, main]]`` by the second word.
"""

COMMANDS = {
    "run": ("sampan.cli.run", "Create and run a new container from an image"),
    "exec": ("sampan.cli.exec", "Execute a command in a running container"),
    "ps": ("sampan.cli.ps", "List containers"),
    "build": ("sampan.cli.build", "Build an image from a Dockerfile"),
    "pull": ("sampan.cli.pull", "Download an image from a registry"),
    "push": ("sampan.cli.push", "Upload an image to a registry"),
    "images": ("sampan.cli.images", "List images"),
    "login": ("sampan.cli.login", "Authenticate to a registry"),
    "logout": ("sampan.cli.logout", "Log out from a registry"),
    "version": ("sampan.cli.version", "Show the version information"),
    "info": ("sampan.cli.info", "Display system-wide information"),
    "history": ("sampan.cli.history", "Show the history of an image"),
    "inspect": ("sampan.cli.inspect", "Return low-level information on containers, images and volumes"),
    "kill": ("sampan.cli.kill", "Kill one or more running containers"),
    "load": ("sampan.cli.load", "Load images from a tar archive, an image layout or STDIN"),
    "lint": ("sampan.cli.lint", "Check a Dockerfile without building it"),
    "logs": ("sampan.cli.logs", "Fetch the logs of a container"),
    "rm": ("sampan.cli.rm", "Remove one or more containers"),
    "rmi": ("sampan.cli.rmi", "Remove one or more images"),
    "save": ("sampan.cli.save", "Save one or more images to a tar archive (streamed to STDOUT by default)"),
    "stop": ("sampan.cli.stop", "Stop one or more running containers"),
    "tag": ("sampan.cli.tag", "Create a tag TARGET_IMAGE that refers to SOURCE_IMAGE"),
    "container prune": ("sampan.cli.container", "Remove all stopped containers"),
    "image prune": ("sampan.cli.image", "Remove unused images"),
    "system df": ("sampan.cli.system", "Show disk usage"),
    "system prune": ("sampan.cli.system", "Remove unused data"),
    "volume create": ("sampan.cli.volume", "Create a volume"),
    "volume inspect": ("sampan.cli.volume", "Display detailed information on one or more volumes"),
    "volume ls": ("sampan.cli.volume", "List volumes"),
    "volume prune": ("sampan.cli.volume", "Remove unused volumes"),
    "volume rm": ("sampan.cli.volume", "Remove one or more volumes"),
    "cache ls": ("sampan.cli.cache", "List what builds remember"),
    "cache prune": ("sampan.cli.cache", "Remove build cache"),
    "cache export": ("sampan.cli.cache", "Write the build cache to a directory, an archive or a registry"),
    "cache import": ("sampan.cli.cache", "Take over a build cache from a directory, an archive or a registry"),
    "base host": ("sampan.cli.base", "Make a base image of this machine's Python, without a network"),
    "base debian": ("sampan.cli.base", "Make a base image from the Debian mirror that apt is configured for"),
}

COMMON = ("run", "exec", "ps", "build", "pull", "push", "images", "login", "logout", "version", "info")
"""The verbs that help shows first."""

GROUPS = {
    "base": "Make base images where no registry answers",
    "builder": "Manage builds",
    "cache": "Manage what builds remember",
    "container": "Manage containers",
    "image": "Manage images",
    "system": "Manage sampan",
    "volume": "Manage volumes",
}
"""First words of verbs of two words."""

ALIASES = {
    "builder build": ("build",),
    "builder du": ("cache ls",),
    "builder prune": ("cache prune",),
    "container exec": ("exec",),
    "container inspect": ("inspect", "--type=container"),
    "container kill": ("kill",),
    "container list": ("ps",),
    "container logs": ("logs",),
    "container ls": ("ps",),
    "container ps": ("ps",),
    "container remove": ("rm",),
    "container rm": ("rm",),
    "container run": ("run",),
    "container stop": ("stop",),
    "image build": ("build",),
    "image history": ("history",),
    "image inspect": ("inspect", "--type=image"),
    "image load": ("load",),
    "image list": ("images",),
    "image ls": ("images",),
    "image pull": ("pull",),
    "image push": ("push",),
    "image remove": ("rmi",),
    "image rm": ("rmi",),
    "image save": ("save",),
    "image tag": ("tag",),
    "system info": ("info",),
    "volume list": ("volume ls",),
    "volume remove": ("volume rm",),
}
"""Docker's verbs of two words, and what they are short for."""

LATER = (
    "attach commit compose cp create diff events export import network pause port rename restart search start "
    "stats top unpause update wait"
)
"""Docker's verbs that are not built yet."""
