"""Trainings of tiny networks that stop or die at a chosen step, in this process or in those that torchrun starts.

torchrun ... -m tests.pipelines.tiny_runs RUNS.json   take the runs of the file, one after another
"""

import dataclasses
import json
import os
import signal
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest

from sdfkit.cli import app
from sdfkit.models.deepsdf import PRESETS as DECODERS
from sdfkit.models.mlp import PRESETS as MLPS
from sdfkit.models.recon.network import PRESETS as RECONS
from sdfkit.runtime import training_loop
from sdfkit.training.flow.recipes import NETWORKS
from tests.training.balls import CONFIG


class Run(NamedTuple):
    """A command line, and what happens in the last process: a signal after some steps, or SIGKILL in their place."""

    words: list[str]
    stops_after: int = 0
    dies_after: int = 0


def shrink(patch: pytest.MonkeyPatch) -> None:
    """Replace the networks of presets by small ones of the same kind."""
    flow, decoder = NETWORKS["small"]
    flow = dataclasses.replace(flow, code=8, channels=(4, 4, 4, 4), hidden=16, width=64, blocks=1)
    decoder = dataclasses.replace(decoder, code=8, hidden=16, layers=2, skip=1)
    patch.setitem(NETWORKS, "small", (flow, decoder))
    patch.setitem(DECODERS, "small", dataclasses.replace(DECODERS["small"], code=8, hidden=16))
    patch.setitem(MLPS, "relu-pe", dataclasses.replace(MLPS["relu-pe"], bands=1, hidden=8, layers=2))
    patch.setitem(RECONS, "small", CONFIG)


class Signals(list):
    """The signals that the last process has received, of which it is asked once after each step."""

    def __init__(self, run: Run) -> None:
        super().__init__([signal.SIGTERM])
        self.run, self.asked = run, 0

    def __bool__(self) -> bool:
        self.asked += 1
        if self.asked == self.run.dies_after:
            os.kill(os.getpid(), signal.SIGKILL)
        return self.asked == self.run.stops_after or self.asked > self.run.stops_after > 0


def take(run: Run) -> int:
    """Run a command line in this process, and return its exit status."""
    is_last = int(os.environ.get("RANK", "0")) == int(os.environ.get("WORLD_SIZE", "1")) - 1

    receive = training_loop._signals

    @contextmanager
    def signals():
        with receive() as received:
            yield Signals(run) if is_last and (run.stops_after or run.dies_after) else received

    with pytest.MonkeyPatch.context() as patch:
        shrink(patch)
        patch.setattr(training_loop, "_signals", signals)
        if run.dies_after:
            patch.setattr(training_loop, "SECONDS_TO_FIRST_SAVE", 0.0)
            patch.setattr(training_loop, "MINUTES_BETWEEN_SAVES", 0.0)
        try:
            app(run.words, prog_name="sdfkit")
        except SystemExit as end:
            return int(end.code or 0)
    return 0


if __name__ == "__main__":
    for number, words in enumerate(json.loads(Path(sys.argv[1]).read_text())):
        # The processes count their errors anew, as after a restart by torchrun.
        os.environ["TORCHELASTIC_RESTART_COUNT"] = str(number)
        run = Run(*words)
        status = take(run)
        sys.stdout.write(f"{number} {os.environ['RANK']} {status}\n")
        sys.stdout.flush()
