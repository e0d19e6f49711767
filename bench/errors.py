"""What goes wrong in a benchmark."""


class BenchError(Exception):
    """The benchmark cannot go on: one sentence."""


class CaseFailed(BenchError):
    """An engine did not do what a case asks for; the others go on."""


class NotOffered(BenchError):
    """An engine has no such operation: no failure, and no number."""
