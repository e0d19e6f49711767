"""What can go wrong, told once.

    SampanError
    ├── Invalid        what was asked for cannot be understood
    ├── Unsupported    understood, and not to be had here
    ├── NotFound       there is no such thing
    ├── Conflict       it exists already, or something uses it
    ├── Denied         not allowed, or not logged in
    ├── Unavailable    a server, a kernel feature or a program does not answer; trying again may help
    ├── Corrupt        bytes that are not what their digest or size says
    ├── NotExecutable  the container's command exists and cannot be executed   (exit 126)
    └── CommandMissing the container's command does not exist                  (exit 127)

One kind for each thing that a caller might do about it. A message is one sentence that says what failed and on what;
a hint is a likely way out. Errors are raised where they are known and printed only at the edge (CLI, API).
"""


class SampanError(Exception):
    """Base of every error that sampan raises on purpose.

    ``http_status`` is what the Docker Engine API answers for this kind, ``exit_code`` what a verb exits with.
    """

    http_status = 500
    exit_code = 1

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class Invalid(SampanError):
    http_status = 400


class Unsupported(SampanError):
    http_status = 501


class NotFound(SampanError):
    http_status = 404


class Conflict(SampanError):
    http_status = 409


class Denied(SampanError):
    http_status = 403


class Unavailable(SampanError):
    http_status = 503


class Corrupt(SampanError):
    http_status = 500


class NotExecutable(SampanError):
    http_status = 400
    exit_code = 126


class CommandMissing(SampanError):
    http_status = 400
    exit_code = 127


def unwritten(stream: str, error: OSError) -> SampanError:
    """That a standard stream, by its name, takes nothing: it is closed, or where it leads to is full."""
    from errno import EBADF

    reason = "it is closed" if error.errno == EBADF else (error.strerror or str(error)).lower()
    return SampanError(f"cannot write to {stream}: {reason}")
