"""The command line as an ordinary user runs it on a machine that is a little different: with other mounts, in another
network."""

import os
import stat
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from commands import Account, Done, Sampan, run


class Elsewhere(Sampan):
    """Commands of ``sampan``'s user in ``namespaces`` (options of nsenter(1)), with ``variables`` beside his own."""

    def __init__(self, sampan: Sampan, namespaces: tuple[str, ...], variables: Mapping[str, str] = {}) -> None:
        super().__init__(sampan.root)
        assert sampan.account
        self._user: Account = sampan.account
        self._namespaces = namespaces
        self._variables = variables

    def __call__(self, *arguments: str | Path, check: bool = True, **options: object) -> Done:
        environment = {"HOME": str(self._user.home), **self._user.environment, **self._variables}
        return run(self.command(*arguments), check=check, environment=environment, cwd=self._user.home, **options)

    def processes(self) -> str:
        """What the user has running."""
        return run(["ps", "-ww", "-o", "args=", "-u", str(self._user.uid)], check=False).stdout

    def command(self, *arguments: str | Path) -> list[str]:
        user = (f"--reuid={self._user.uid}", f"--regid={self._user.gid}", "--clear-groups")
        return ["nsenter", *self._namespaces, "setpriv", *user, *super().command(*arguments)]


@contextmanager
def mounts(directory: Path, binds: Mapping[str, str | int]) -> Iterator[str]:
    """An option of nsenter(1) for a mount namespace in which paths of the host show something else.

    That is a text, or the character device with a number, open to all; it lies in ``directory``.
    """
    directory.chmod(0o755)
    words = []
    for number, (target, content) in enumerate(binds.items()):
        source = directory / f"bind{number}"
        if isinstance(content, int):
            os.mknod(source, stat.S_IFCHR, content)
            source.chmod(0o666)
        else:
            source.write_text(content)
        words.append(f"mount --bind {source} {target}")
    script = " && ".join([*words, "echo made", "exec sleep 1000"])
    with subprocess.Popen(["unshare", "--mount", "sh", "-c", script], stdout=subprocess.PIPE, text=True) as holder:
        try:
            assert holder.stdout
            assert holder.stdout.readline() == "made\n"
            yield f"--mount=/proc/{holder.pid}/ns/mnt"
        finally:
            holder.kill()
