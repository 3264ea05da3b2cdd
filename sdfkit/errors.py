"""Errors that the user can correct, and the exit status of the program for each class of errors.

A message is one line "subject: fault; remedy", such as "shape.stl: is an empty file; was it copied completely?".
"""


def first_line(error: BaseException) -> str:
    """Return the first line of an error's message, or the name of its class if it has none."""
    return str(error).strip().partition("\n")[0] or type(error).__name__


class SdfkitError(Exception):
    """Base class of the errors that the program reports in one line, without a traceback."""

    status = 1


class StoppedError(SdfkitError):
    """A signal stopped the command after it saved its work; the exit status is 128 plus the signal number."""

    def __init__(self, message: str, signal: int) -> None:
        super().__init__(message)
        self.status = 128 + signal


class OtherProcessError(SdfkitError):
    """Another process of a distributed run has failed. Its own message says why, if it could write one."""


class DoneError(Exception):
    """The output is already there, made by the same command from the same inputs. The program ends with status 0."""


class ReportInstead(Exception):
    """The command was asked for a report in place of its output. The program prints it and ends with status 0."""


class UsageError(SdfkitError):
    """The command line combines options or arguments that contradict each other."""

    status = 2


class InputError(SdfkitError):
    """An input cannot be used, for example because it is of the wrong kind, truncated or damaged."""

    status = 3


class GeometryError(SdfkitError):
    """A shape cannot be processed, for example because its mesh is open or it has no surface."""

    status = 4


class MissingError(SdfkitError):
    """The machine lacks something that the command needs: a driver, pretrained weights, a GPU."""

    status = 5
