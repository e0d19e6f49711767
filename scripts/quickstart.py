"""The walkthrough of ``scripts/quickstart``: base image, build, run, look, stop. Everything lies in one temporary
directory, which is removed at the end, however that comes about. The arguments are the command for pip."""

import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager

CHECKOUT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
NAME = "hello"
REGISTRY_IMAGE = "python:slim"
PATIENCE = 3.0  # seconds for a registry, or a package index, to answer


def main() -> int:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    signal.signal(signal.SIGHUP, lambda *_: sys.exit(128 + signal.SIGHUP))
    root = tempfile.mkdtemp(prefix="sampan-quickstart-", dir=directory_for_images())
    try:
        walk(Sampan(root))
    except subprocess.CalledProcessError as error:
        say(f"quickstart: this step failed (exit code {error.returncode})")
        return 1
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        clean_up(root)
    say("==> That was all. Nothing is left running.")
    say(f"    {sys.prefix}/bin/sampan is ready: try its --help")
    return 0


class Sampan:
    """The command line with a store of its own; shows each command, and its output as it comes."""

    def __init__(self, root: str) -> None:
        self._command = [f"{sys.prefix}/bin/sampan", "--root", root]

    def __call__(self, *arguments: str) -> None:
        say(f"    $ sampan {' '.join(arguments)}")
        subprocess.run([*self._command, *arguments], check=True, stdin=subprocess.DEVNULL)


def walk(sampan: Sampan) -> None:
    base = get_base(sampan)
    with step("Is a Python package index in reach?"):
        example = "hello" if index_answers() else "hello-stdlib"
        if example == "hello":
            say("    yes: examples/hello is a web application with Flask")
        else:
            say("    no: examples/hello-stdlib is the same without packages to install")
    with step("Build the image from its Dockerfile"):
        context = f"python:latest=docker-image://{base}"
        sampan("build", "--host-pip", "--build-context", context, "-t", NAME, f"{CHECKOUT}/examples/{example}")
        sampan("images")
    port = free_port()
    with step("Run it in the background, its port 8000 published"):
        sampan("run", "-d", "-p", f"{port}:8000", "--name", NAME, NAME)
    with step(f"Fetch the page at http://127.0.0.1:{port}/"):
        say(f"    {fetch(f'http://127.0.0.1:{port}/')}")
    with step("Look at what runs, and at what it said"):
        sampan("ps")
        sampan("logs", NAME)
    with step("Stop it and remove it"):
        sampan("stop", NAME)
        sampan("rm", NAME)


def get_base(sampan: Sampan) -> str:
    """Makes sure of an image with Python, and gives its name."""
    with step(f"Get a base image: does a registry answer within {PATIENCE:.0f} seconds?"):
        if registry_answers():
            try:
                sampan("pull", REGISTRY_IMAGE)
                return REGISTRY_IMAGE
            except subprocess.CalledProcessError:
                say("    it does not give the image away")
        say("    no: make one of this machine's Python")
        sampan("base", "host")
        return "localhost/python:host"


def registry_answers() -> bool:
    """Whether the registry of REGISTRY_IMAGE has it, and says so in time."""
    from sampan.errors import SampanError
    from sampan.oci.reference import parse
    from sampan.registry.client import connect

    reference = parse(REGISTRY_IMAGE)
    answered = threading.Event()

    def ask() -> None:
        try:
            with connect(reference.registry) as client:
                client.manifest(reference.repository, reference.selector)
        except (SampanError, OSError):
            return
        answered.set()

    asking = threading.Thread(target=ask, daemon=True)
    asking.start()
    asking.join(PATIENCE)
    return answered.is_set()


def index_answers() -> bool:
    """Whether pip, as it is set up here, finds Flask without insisting."""
    with tempfile.TemporaryDirectory() as directory:
        command = [*sys.argv[1:], "download", "--quiet", "--no-deps", "--only-binary=:all:", "--retries=0"]
        command += [f"--timeout={PATIENCE}", "--disable-pip-version-check", f"--dest={directory}", "flask"]
        try:
            subprocess.run(command, check=True, capture_output=True, stdin=subprocess.DEVNULL, timeout=5 * PATIENCE)
        except (subprocess.CalledProcessError, subprocess.TimeoutExpired):
            return False
        return True


def free_port() -> int:
    """8000 if nobody has it, else any other."""
    for port in (8000, 0):
        with socket.socket() as probe:
            try:
                probe.bind(("", port))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise SystemExit("quickstart: no port is free")


def fetch(url: str) -> str:
    """The page, once the application has come up. Raises CalledProcessError if it does not."""
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    end = time.monotonic() + 30
    while True:
        try:
            with direct.open(url, timeout=5) as page:
                return page.read().decode().strip()
        except (urllib.error.URLError, ConnectionError, TimeoutError) as error:
            if time.monotonic() > end:
                say(f"    no answer: {error}")
                raise subprocess.CalledProcessError(1, "fetch") from None
            time.sleep(0.1)


def directory_for_images() -> str:
    """Where file systems keep extended attributes, without which an ordinary user's layers cannot be stacked."""
    for directory in (tempfile.gettempdir(), "/var/tmp", os.path.expanduser("~")):
        try:
            with tempfile.NamedTemporaryFile(dir=directory) as probe:
                os.setxattr(probe.name, "user.sampan", b"")
            return directory
        except OSError:
            continue
    return tempfile.gettempdir()


def clean_up(root: str) -> None:
    """Ends what still runs and removes the store, as root of the user namespace that its files belong to."""
    command = [f"{sys.prefix}/bin/sampan", "--root", root]
    left = subprocess.run([*command, "ps", "-aq"], check=False, capture_output=True, text=True).stdout.split()
    if left:
        subprocess.run([*command, "rm", "-f", *left], check=False, stdout=subprocess.DEVNULL)
    remove = (
        "import shutil, sys; from sampan.linux.namespaces import enter_user_namespace as enter; enter(); "
        "shutil.rmtree(sys.argv[1])"
    )
    subprocess.run([sys.executable, "-c", remove, root], check=True)


@contextmanager
def step(text: str) -> Iterator[None]:
    """Says what is going to be done, and afterwards how long it took."""
    say(f"==> {text}")
    began = time.monotonic()
    yield
    say(f"    {time.monotonic() - began:.1f} s")


def say(text: str) -> None:
    print(text, flush=True)


if __name__ == "__main__":
    sys.exit(main())
