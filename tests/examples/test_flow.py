"""examples/flow.py reads what train-flow logs."""

import importlib.util
from pathlib import Path

from sdfkit.evaluation.silhouettes import SilhouetteErrors
from sdfkit.report.training_summary import describe_silhouettes

PATH = Path(__file__).parents[2] / "examples/flow.py"


def test_the_results_are_read_from_the_last_lines_of_a_log(tmp_path):
    spec = importlib.util.spec_from_file_location("flow_example", PATH)
    flow = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(flow)
    known, held = SilhouetteErrors(0.003, 0.0053, 0.97, 0.071), SilhouetteErrors(0.003, 0.04, 0.9, 0.119)
    lines = [
        "100",
        f"sdfkit: {describe_silhouettes(known, 0.0027)}",
        f"sdfkit: held out: {describe_silhouettes(held, 0.0031)}",
        "sdfkit: gradients: flow 0.56",
        "160",
    ]
    (tmp_path / "rgb.log").write_text("\n".join(lines))
    assert flow.read_log(tmp_path / "rgb.log") == {
        "temperature": "0.003",
        "loss": "0.0053",
        "exact": "0.0027",
        "overlap": "0.970",
        "shades": "0.0710",
        "held_temperature": "0.003",
        "held_loss": "0.0400",
        "held_exact": "0.0031",
        "held_overlap": "0.900",
        "held_shades": "0.1190",
        "seconds": "60",
        "gradients": "flow 0.56",
    }
