"""The errors a person can act on, each with its exit status.

A message is one line: subject, fault, remedy.
"""


class SdfkitError(Exception):
    """An error that is told in one line, without a traceback."""

    status = 1


class StoppedError(SdfkitError):
    """A signal stopped the command after it had saved its work; the exit status is 128 plus the signal's number."""

    def __init__(self, message: str, signal: int) -> None:
        super().__init__(message)
        self.status = 128 + signal


class UsageError(SdfkitError):
    """The command line asks for something that does not go together."""

    status = 2


class InputError(SdfkitError):
    """Readable, but not what is needed: wrong kind, wrong axes, cut stream."""

    status = 3


class GeometryError(SdfkitError):
    """A shape cannot be processed: open mesh, no surface."""

    status = 4


class MissingError(SdfkitError):
    """The machine lacks something: a driver, weights, a GPU."""

    status = 5
