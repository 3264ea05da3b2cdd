"""Lengths of trainings: epochs converted to steps."""

import math


def count_steps(epochs: int | float, rows: int, batch: int) -> int:
    """Return the number of steps in which each row is used `epochs` times on average; at least 1.

    Args:
        epochs: Average number of uses of each row.
        rows: Number of training shapes, or of their views or samples.
        batch: Number of rows that a step uses.
    """
    return max(1, math.ceil(epochs * rows / batch))


def choose_steps(steps: int | None, epochs: int | None, rows: int, batch: int) -> int | None:
    """Return the number of steps that the options --steps and --epochs give; None for that of the preset.

    Args:
        steps: The number itself.
        epochs: Average number of uses of each row, in place of `steps`.
        rows, batch: As for `count_steps`.
    """
    return steps if epochs is None else count_steps(epochs, rows, batch)
