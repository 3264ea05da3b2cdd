"""The tables of presets in --help: equal to the presets in the code, and read without torch."""

import subprocess
import sys

import pytest

from sdfkit.report.presets import format_tables, make_tables, preset_table
from sdfkit.training.recon.training import RECIPES


def test_the_stored_tables_agree_with_the_code():
    tables = make_tables()
    stored = format_tables({command: preset_table(command) for command in tables})
    assert stored == format_tables(tables), "run python -m sdfkit.report.presets > sdfkit/report/presets.txt"


@pytest.mark.parametrize(
    ("command", "row"),
    [
        ("train-deepsdf", ["parameters", "of", "the", "decoder", "250,625", "250,625", "1,945,089"]),
        (
            "train-dit",
            ["parameters,", "768-d", "features", "733,888", "10,372,288", "6,755,009", "131,242,689"],
        ),
        (
            "train-ae",
            ["parameters,", "for", "networks", "of", "54,785", "weights", "28,302,465", "116,717,185"],
        ),
        ("train-flow", ["steps", "of", "stage", "rgb", "(--steps,", "--epochs)", "120", "5,000"]),
        (
            "train-recon",
            ["steps", "(--steps,", "--epochs)", *(f"{recipe.steps:,}" for recipe in RECIPES.values())],
        ),
        ("fit-mlp", ["steps", "(--steps,", "--epochs)", "2,000", "2,000", "200", "epochs", "200", "epochs"]),
    ],
)
def test_tables_list_the_presets_within_80_columns(command, row):
    lines = preset_table(command).splitlines()
    assert row in [line.split() for line in lines]
    assert lines[0].startswith("preset ") and max(map(len, lines)) <= 78


def test_other_commands_have_no_table():
    assert preset_table("mesh") is None


def test_tables_are_printed_without_importing_torch():
    script = (
        "import sys, sdfkit.report.presets as p; p.preset_table('fit-mlp'); print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
