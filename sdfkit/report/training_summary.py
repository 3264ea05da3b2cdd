"""What the commands for training and fitting log about their results."""

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from sdfkit.errors import ReportInstead
from sdfkit.report.diagnostics.training import plot_losses
from sdfkit.report.plots import draw_panels
from sdfkit.report.tables import format_json, format_table
from sdfkit.wording import counted, duration, size

if TYPE_CHECKING:
    from sdfkit.evaluation.field_errors import DecoderErrors
    from sdfkit.evaluation.reconstruction_errors import ReconstructionErrors
    from sdfkit.evaluation.reconstructions import Reconstructions
    from sdfkit.evaluation.silhouettes import SilhouetteErrors
    from sdfkit.io.models.writer import ModelOutput
    from sdfkit.io.stores.contents.training_views import TrainingViews
    from sdfkit.options import Watch
    from sdfkit.rows import Row
    from sdfkit.training.costs import TrainingCost
    from sdfkit.training.dit.held_out import HeldOutLoss
    from sdfkit.training.dit.training import DiTTraining
    from sdfkit.training.flow.training import FlowTraining
    from sdfkit.training.run import Training

log = logging.getLogger(__name__)
# The report counts fits with a loss above this, as the paper "image to 3-D from small data" does.
OUTLIER = 0.01
# Number of views of each shape on which silhouettes are evaluated.
EVALUATED_VIEWS = 2
# Panels of a plot in a row.
COLUMNS = 2


def log_lines(lines: Iterable[str]) -> None:
    """Log each line."""
    for line in lines:
        log.info("%s", line)


def plot_training(
    watch: "Watch", target: "ModelOutput", training: "Training", held_out: "HeldOutLoss | None" = None
) -> Callable[[Sequence[float]], None]:
    """Return a function that plots the loss of each step to the file that is asked for, if one is.

    Args:
        watch: Options with the path of the plot. One that is there is replaced.
        target: The store that the training writes.
        training: The training.
        held_out: Losses of held-out shapes, to be plotted too.
    """

    def plot(losses: Sequence[float]) -> None:
        if watch.curve is None:
            return
        baselines, title = _find_baselines(training), f"{target.path}: loss in training"
        if held_out is not None:
            baselines["predicting the mean code, held-out shapes"] = held_out.mean_loss
        panels = plot_losses(
            losses, target.kind, target.settings, source=title, title=title,
            held_out=held_out.measured if held_out else (), baselines=baselines,
        )  # fmt: skip
        draw_panels(watch.curve, panels, overwrite=True, columns=min(len(panels), COLUMNS))

    return plot


def _find_baselines(training: "Training") -> dict[str, float]:
    """Return the losses that need no training, of those facts that are printed during the training."""
    known = {name: value for name, value in training.facts().items() if name != "held out"}
    return {f"predicting the {name}": value for name, value in known.items() if isinstance(value, float)}


def _worst(errors: Sequence[tuple[float, "Row"]], count: int) -> str:
    """List the `count` shapes with the largest errors, the largest first."""
    worst = sorted(errors, key=lambda pair: -pair[0])[:count]
    return "worst: " + "; ".join(
        " ".join(f"{row.uid} {row.category} {error:.5f}".split()) for error, row in worst
    )


def describe_decoder(errors: "DecoderErrors", rows: Sequence["Row"]) -> list[str]:
    """Describe the errors of the distances that a DeepSDF decoder predicts for the training shapes.

    The errors of clamped distances are listed too: the paper "image to 3-D from small data" reports these, and a
    decoder is trained only on clamped distances.
    """
    return [
        f"SDF L1 mean {errors.sdf_l1.mean():.5f}, max {errors.sdf_l1.max():.5f} "
        f"(clamped at 0.1: mean {errors.clamped_l1.mean():.5f}, max {errors.clamped_l1.max():.5f}); "
        f"mean cosine between codes {errors.code_cosine:.2f}",
        _worst(list(zip(errors.clamped_l1.tolist(), rows, strict=True)), 10),
    ]


def describe_reconstruction_errors(errors: Sequence["ReconstructionErrors"]) -> list[str]:
    """Describe the errors of a reconstruction network, for each number of views, beside those of the visual hull."""
    return [
        f"from {counted(one.views, 'view')}: clamped SDF L1 {one.network:.5f} on training shapes, "
        f"{one.hull:.5f} for the visual hull"
        for one in errors
    ]


def describe_held_out(errors: np.ndarray, rows: Sequence["Row"]) -> list[str]:
    """Describe the errors of held-out shapes after their codes were fitted; an empty list without such shapes.

    Args:
        errors: Mean absolute error of clamped distances of each shape.
        rows: The shapes.
    """
    if not rows:
        return []
    return [
        f"{counted(len(rows), 'held-out shape')}, fitted to half of the samples: SDF L1 of the others clamped at 0.1 "
        f"mean {errors.mean():.5f}, max {errors.max():.5f}; "
        + _worst(list(zip(errors.tolist(), rows, strict=True)), 5)
    ]


def describe_reconstructions(found: "Reconstructions", uids: Sequence[str]) -> list[str]:
    """Describe how well an autoencoder reconstructs weights and surfaces."""
    vectors, before, after, summaries = found.vectors, found.before, found.after, found.summaries
    lines = [
        f"weights: unexplained variance (FVU) {vectors.fvu:.4f} (1 for the mean); "
        f"centred cosine {summaries['centred']['mean']:.4f} on "
        f"average, {summaries['centred']['min']:.4f} at least",
        f"raw cosine {summaries['cosine']['mean']:.4f}, MSE {vectors.mse:.3g}: both mislead, as the raw cosine of two "
        f"different shapes is {vectors.original_cosine:.4f}",
        f"codes: mean cosine of pairs {vectors.code_cosine:.2f}",
        f"surfaces: IoU with the original {summaries['iou']['mean']:.3f} on average, "
        f"{summaries['iou']['median']:.3f} in the median, {summaries['iou']['min']:.3f} at least",
    ]
    if found.true_iou:
        lines.append(
            f"IoU with the true shape {found.true_iou['after']:.3f}; that of the original networks "
            f"{found.true_iou['before']:.3f}"
        )
    ranges = "".join(
        f"; {uids[row]} {after.low[row]:.3f} to {after.high[row]:.3f}"
        for row in np.flatnonzero(after.lost).tolist()[:10]
    )
    lines.append(
        f"networks without a surface: {before.lost.sum()} of {len(after.lost)} before reconstruction, "
        f"{after.lost.sum()} after it{ranges}"
    )
    return lines


def describe_denoiser(losses: Sequence[float], training: "DiTTraining") -> str:
    """Describe the losses of a denoiser, compared with the loss of always predicting the mean code."""
    last, mean = np.mean(losses[-100:]), training.mean_loss()
    text = f"loss {last:.3g} in the last 100 steps; predicting the mean code: {mean:.3g}"
    held_out = training.held_out
    if held_out is None or not held_out.measured:
        return text
    step, least = min(held_out.measured, key=lambda pair: pair[1])
    return (
        f"{text}; held-out shapes: {least:.3g} after step {step}, which is kept, and {held_out.measured[-1][1]:.3g} at "
        f"the end; predicting the mean code: {held_out.mean_loss:.3g}"
    )


def evaluate_silhouettes(
    training: "FlowTraining",
    known: "TrainingViews",
    held_out: "TrainingViews | None",
    *,
    check_gradients: bool,
) -> list[str]:
    """Measure and describe the errors of predicted silhouettes, compared with the ideal loss of exact distance fields.

    Every process must call this.

    Args:
        training: The training of a flow.
        known: Views of the training shapes.
        held_out: Views of held-out shapes, if there are any.
        check_gradients: Also list the norms of the last gradients.
    """
    from sdfkit.evaluation.silhouettes import measure_silhouettes

    lines = []
    for name, views in (("", known), ("held out: ", held_out)):
        if views is not None:
            pictures = views.pictures.to(training.context.device)
            errors = measure_silhouettes(training, pictures, min(EVALUATED_VIEWS, pictures.rgb.shape[1]))
            lines.append(name + describe_silhouettes(errors, views.ideal_loss))
    return [*lines, describe_gradients(training.gradient_norms())] if check_gradients else lines


def describe_silhouettes(errors: "SilhouetteErrors", ideal_loss: float) -> str:
    """Describe the errors of silhouettes; examples/flow.py reads this line."""
    return (
        f"silhouettes at temperature {errors.temperature:g}: loss {errors.loss:.4f} (ideal loss {ideal_loss:.4f}), "
        f"IoU {errors.overlap:.3f}; mean shading error {errors.shading:.4f}"
    )


def describe_gradients(norms: Mapping[str, float]) -> str:
    """List the norm of the gradient of each network in the last training step."""
    return "gradients: " + ", ".join(f"{name} {norm:.3g}" for name, norm in norms.items())


def describe_fits(losses: Sequence[tuple[float, "Row"]], clamp: float) -> list[str]:
    """Describe the losses of fitted networks on held-out samples; an empty list if no network was fitted."""
    if not losses:
        return []
    values = np.array([loss for loss, _ in losses])
    median, high = np.percentile(values, [50, 95])
    return [
        f"loss on held-out samples (distances clamped at {clamp:g}): median {median:.5f}, p95 {high:.5f}, "
        f"max {values.max():.5f}; {(values > OUTLIER).sum()} of {len(values)} above {OUTLIER:g}",
        _worst(losses, 5),
    ]


def describe_codes(errors: Mapping[str, float], clamp: float) -> list[str]:
    """Describe the errors of the distances decoded from fitted codes; an empty list if no code was fitted."""
    if not errors:
        return []
    worst = max(errors, key=errors.__getitem__)
    mean = np.mean(list(errors.values()))
    return [f"SDF L1 clamped at {clamp:g}: mean {mean:.5f}, worst {errors[worst]:.5f} ({worst})"]


def describe_overlaps(overlaps: Mapping[str, float]) -> list[str]:
    """Describe how well the silhouettes of shapes agree with their images; an empty list without shapes.

    Args:
        overlaps: Intersection over union of the silhouettes, by uid.
    """
    if not overlaps:
        return []
    worst = min(overlaps, key=overlaps.__getitem__)
    mean = np.mean(list(overlaps.values()))
    return [f"silhouette IoU with the images: mean {mean:.3f}, worst {overlaps[worst]:.3f} ({worst})"]


def answer_dry_run(watch: "Watch", training: "Training", settings: Mapping[str, Any]) -> None:
    """With --dry-run, measure a training, and end the command with a report on its settings and what it takes.

    Args:
        watch: Options of the command.
        training: A training that has taken no step.
        settings: All settings of the run.

    Raises:
        ReportInstead: The option is given.
    """
    from sdfkit.training.costs import measure_training

    if not watch.dry_run:
        return
    cost, device = measure_training(training), training.context.device.type
    if watch.as_json:
        facts = {
            "settings": dict(settings), "device": device, "seconds": cost.seconds, "error": cost.error,
            **cost._asdict(), "steps": [kind._asdict() for kind in cost.steps],
        }  # fmt: skip
        raise ReportInstead(format_json(facts))
    raise ReportInstead(format_cost(cost, settings, device))


def format_cost(cost: "TrainingCost", settings: Mapping[str, Any], device: str) -> str:
    """Lay out the settings of a training and what it takes as text."""
    recipe = [
        (name, value if isinstance(value, str) else format_json(value)) for name, value in settings.items()
    ]
    count = sum(len(kind.seconds) for kind in cost.steps)
    kinds = [
        (kind.name or "steps", kind.number, f"{1000 * np.mean(kind.seconds):.3g} ms each")
        for kind in cost.steps
    ]
    where = {"cpu": f"{cost.cores:.1f} cores"}.get(device, f"the {device} device")
    facts = [
        ("parameters", f"{cost.parameters:,}"),
        (
            "time",
            f"{duration(cost.seconds)} ± {duration(cost.error)} on {where}, without reading and reports",
        ),
        ("memory", f"{size(cost.memory)}, the peak of this process"),
        *([] if cost.gpu_memory is None else [("GPU memory", f"{size(cost.gpu_memory)}, the peak")]),
        ("state", f"{size(cost.state)} in each save, and in the model"),
    ]
    note = f"measured in {counted(count, 'step')}; nothing was written"
    return "\n\n".join(
        [format_table(("setting", ""), recipe), format_table((), kinds), format_table((), facts), note]
    )
