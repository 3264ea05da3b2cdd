#!/usr/bin/env python3
"""Compare each claim of the paper on weight space with the reports of weight_space.sh, and print a table.

    python weight_space.py reports/ --autoencoders ae_*.zarr --costs costs.txt

Marks are computed. "reproduced": the figures of the claim are found here too; "not reproduced": they are not;
"explained otherwise": they are found, but vanish if something other than the claimed cause is changed.
"""

import argparse
import itertools
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

YES, NO, OTHER = "reproduced", "not reproduced", "explained otherwise"
PAPERS_TIMESTEPS = 6  # the first of the eight timesteps measured; these are in the paper's table
RECALLED = 0.8  # least share of predictions whose true shape ranks first, with a greater cosine than the mean
DITS = {
    "weights": "weight DiT",
    "hidden": "weight DiT, positions hidden by noise",
    "thin": "weight DiT, thin shell",
    "independent": "weight DiT, independent fits",
    "phase6": "weight DiT, phase 6: one view",
    "phase8": "weight DiT, phase 8: raw weights",
    "phase9": "weight DiT, phase 9: raw, no dropout",
    "ae": "DiT of the autoencoder's codes",
    "deepsdf": "DiT of DeepSDF's codes",
}
MESHES = {
    "anchored": "fits from an anchor",
    "thin_fits": "the same at rate 1e-4",
    "independent_fits": "independent fits",
    "ae_brief": "autoencoder, stopped early",
    "ae_weights": "autoencoder, loss of weights",
    "ae_field": "autoencoder, loss of fields",
    "decoded": "DeepSDF, codes of training",
}

Reports = Mapping[str, Any]


@dataclass(frozen=True)
class Claim:
    """A claim of the paper: its text, the figure in the paper, our figure, and the mark of the claim."""

    text: str
    paper: str
    ours: str
    mark: str


def read_reports(folder: Path) -> dict[str, Any]:
    return {path.name.removesuffix(".json"): json.loads(path.read_text()) for path in folder.glob("*.json")}


def read_autoencoders(paths: Sequence[Path]) -> dict[str, Any]:
    import zarr

    return {path.stem: dict(zarr.open_group(path, mode="r").attrs)["report"] for path in paths}


@dataclass(frozen=True)
class Prediction:
    """Results of `sdfkit rank`, averaged over the predictions whose true shape is known."""

    recalled: float
    cosine: float
    of_mean: float
    centred: float
    margin: float
    verdict: str
    leaders: int  # number of different shapes that rank first for some prediction

    @property
    def is_recall(self) -> bool:
        return self.recalled >= RECALLED

    def __str__(self) -> str:
        return (
            f"cosine {self.cosine:.3f} (the mean's {self.of_mean:.3f}), centred {self.centred:.2f}, "
            f"first and nearer than the mean {self.recalled:.0%}"
        )


def summarise(rank: Reports) -> Prediction:
    truths = [row["truth"] for row in rank["predictions"]]
    first = [truth["rank"] == 1 and truth["cosine"] > truth["mean_cosine"] for truth in truths]
    return Prediction(
        recalled=fmean(first),
        cosine=fmean([truth["cosine"] for truth in truths]),
        of_mean=fmean([truth["mean_cosine"] for truth in truths]),
        centred=fmean([truth["centred"] for truth in truths]),
        margin=min(truth["margin"] for truth in truths),
        verdict=rank["verdict"]["name"],
        leaders=len({row["neighbours"][0]["uid"] for row in rank["predictions"]}),
    )


def iou(reports: Reports, name: str) -> float:
    return float(reports[f"{name}.compare"]["summary"]["iou"]["mean"])


def either(holds: bool) -> str:
    return YES if holds else NO


def judge_geometry(reports: Reports) -> list[Claim]:
    """Section 4.4 of the paper: norms and cosines of fitted weights."""
    stats = {name: reports[f"{name}.stats"] for name in ("thin", "anchored", "independent")}
    cosine = {name: facts["cosine"]["mean"] for name, facts in stats.items()}
    norm = {name: facts["norm"] for name, facts in stats.items()}
    std = stats["anchored"]["std"]
    shares = [stats["anchored"]["variance_in_dims"][count] for count in ("10", "1000", "10000", "25000")]
    return [
        Claim(
            "Fits from one anchor lie in a thin shell",
            "pairwise cosine 0.9606, norm 13.39 ± 0.10",
            f"at the paper's rate {cosine['thin']:.3f}, norm {norm['thin']['mean']:.2f} ± {norm['thin']['std']:.2f}",
            either(cosine["thin"] >= 0.9),
        ),
        Claim(
            "… because they share the anchor",
            "0.96",
            f"at a rate 40 times higher {cosine['anchored']:.3f}, from the same anchor",
            OTHER if cosine["anchored"] < 0.9 <= cosine["thin"] else either(cosine["anchored"] >= 0.9),
        ),
        Claim(
            "Independent fits are less alike",
            "(not measured)",
            f"{cosine['independent']:.3f}, norm {norm['independent']['mean']:.2f}",
            either(cosine["independent"] < cosine["anchored"] / 2),
        ),
        Claim(
            "A dimension differs by 0.0008",
            "0.0008; its norm and cosine imply 0.0114",
            f"{std['measured']:.4f} measured, {std['implied']:.4f} as norm and cosine imply",
            OTHER if abs(std["implied"] / std["measured"] - 1) < 0.1 else either(std["measured"] < 0.002),
        ),
        Claim(
            "Variance is spread over thousands of dimensions",
            "10 / 1,000 / 10,000 / 25,000: 0.2 / 11.2 / 55.4 / 84.7 %",
            " / ".join(f"{100 * share:.1f}" for share in shares) + " %",
            either(shares[0] < 0.02 and shares[1] < 0.25),
        ),
    ]  # fmt: skip


def judge_denoisers(reports: Reports) -> list[Claim]:
    """Sections 4.1 to 4.3 of the paper: the weight DiT and its ablations."""
    ranks = {name: summarise(reports[f"{name}.rank"]) for name in DITS}
    good, bad = ranks["weights"], ranks["hidden"]
    losses = {name: reports[f"{name}.losses"] for name in ("weights", "hidden")}
    left = {name: facts["timesteps"]["fvu"] for name, facts in losses.items()}
    wrong = losses["hidden"]["timesteps"]["wrong"][5] / losses["hidden"]["mean_predictor"]
    placed = {name: reports[f"{name}.pieces"] for name in losses}
    papers = left["weights"][:PAPERS_TIMESTEPS]
    collapses = bad.cosine < bad.of_mean and not bad.is_recall
    # Unexplained variance at pure noise: of the network as in training, less that of one step of the sampler.
    apart = {name: abs(losses[name]["one_step"]["fvu"] - left[name][-1]) for name in losses}
    claims = [
        Claim(
            "The weight DiT collapses: predictions are worse than the mean",
            "cosine 0.9698 (the mean's 0.980)",
            f"{good}; with positions hidden by noise: {bad}",
            OTHER if collapses and good.is_recall else either(good.cosine < good.of_mean),
        ),
        Claim(
            "… because the image moves them by only 3 %",
            "a directional perturbation",
            f"hidden positions: {placed['hidden']['shape']:.0%} of the pieces are of the shape shown, "
            f"{placed['hidden']['place']:.0%} at their place; otherwise {placed['weights']['shape']:.0%} and "
            f"{placed['weights']['place']:.0%}",
            OTHER if placed["hidden"]["shape"] > 0.5 > placed["hidden"]["place"] else either(not good.is_recall),
        ),
        Claim(
            "The same few shapes rank first for every image",
            "4 shapes for 4 images",
            f"{good.leaders} for {len(reports['weights.rank']['predictions'])}; hidden positions {bad.leaders}",
            OTHER
            if bad.leaders <= good.leaders / 2 and good.is_recall
            else either(good.leaders <= len(reports["weights.rank"]["predictions"]) / 2),
        ),
        Claim(
            "The loss is flat over timesteps, 0.19 even at t = 0",
            "0.189 … 0.193",
            "FVU at t = 0 … 450: " + " ".join(f"{part:.3f}" for part in papers),
            either(max(papers) < 1.5 * min(papers) and papers[0] > 0.1),
        ),
        Claim(
            "Loss is low to t = 450, but predictions are wrong: the data set a limit",
            "0.19 to t = 450",
            f"hidden positions: {left['hidden'][4]:.3f} at 300, {left['hidden'][5]:.2f} at 450 ({wrong:.2f} with "
            f"a wrong image), {left['hidden'][-1]:.2f} at 499, sampled {losses['hidden']['sampled']['fvu']:.2f}; "
            f"positions not hidden: {left['weights'][-1]:.2f} and {losses['weights']['sampled']['fvu']:.2f}",
            OTHER
            if left["hidden"][-1] > 0.75 and losses["weights"]["sampled"]["fvu"] < 0.25
            else either(losses["weights"]["sampled"]["fvu"] > 0.75),
        ),
        Claim(
            "(ours) Weight averaging, un-standardising or the schedule's end spoil the result",
            "suspected",
            "from pure noise in training and in one step of sampling: "
            + ", ".join(f"{left[name][-1]:.3f} and {losses[name]['one_step']['fvu']:.3f}" for name in losses)
            + f" (hidden positions); all steps of sampling, {losses['weights']['sampled']['fvu']:.2f} and "
            f"{losses['hidden']['sampled']['fvu']:.2f}",
            either(max(apart.values()) > 0.1),
        ),
        Claim(
            "The shared anchor dooms diffusion",
            "fails at cosine 0.96",
            "true shape first and nearer than the mean: "
            + ", ".join(
                f"{name} {ranks[key].recalled:.0%}"
                for name, key in (("thin shell", "thin"), ("anchored", "weights"), ("independent", "independent"))
            ),
            either(not ranks["thin"].is_recall and ranks["independent"].is_recall),
        ),
    ]  # fmt: skip
    for name, text in (
        ("phase6", "Several views in place of one change nothing (phase 7)"),
        ("phase8", "Raw weights in place of standardised ones change nothing (phase 8)"),
        ("phase9", "No dropout changes nothing (phase 9)"),
    ):
        other = ranks["phase8" if name == "phase9" else "weights"]
        claims.append(
            Claim(
                text,
                "all collapse",
                f"first and nearer than the mean {ranks[name].recalled:.0%}, otherwise {other.recalled:.0%}; centred "
                f"{ranks[name].centred:.2f}, otherwise {other.centred:.2f}",
                either(abs(ranks[name].centred - other.centred) < 0.1),
            )
        )
    return claims


def judge_autoencoders(reports: Reports, autoencoders: Reports) -> list[Claim]:
    """Section 5 of the paper: the autoencoder of weights."""
    brief, full, field = (autoencoders[name] for name in ("ae_brief", "ae_weights", "ae_field"))
    fits, shown = iou(reports, "anchored"), {name: iou(reports, name) for name in autoencoders}
    broken = brief["lost"] or shown["ae_brief"] < 0.8 * fits
    return [
        Claim(
            "The autoencoder's cosine is excellent",
            "0.9965; that leaves 17.7 % of the variance",
            f"{brief['cosine']['mean']:.4f} stopped early ({brief['fvu']:.1%} left), {full['cosine']['mean']:.4f} "
            f"at the end ({full['fvu']:.1%}); weights of different shapes have {full['original_cosine']:.3f}",
            OTHER if brief["cosine"]["mean"] > 0.9 and brief["fvu"] > 0.1 else either(full["cosine"]["mean"] > 0.99),
        ),
        Claim(
            "… and its meshes are broken",
            "the anchor's shape without a surface, others without their thin parts",
            f"IoU {shown['ae_brief']:.2f} stopped early, {shown['ae_weights']:.2f} at the end, of {fits:.2f}; "
            f"without a surface {len(brief['lost'])} and {len(full['lost'])}",
            # Broken at the paper's reconstruction error only, or also at the end of training.
            either(bool(broken)) if shown["ae_weights"] < 0.8 * fits else (OTHER if broken else NO),
        ),
        Claim(
            "The error of weights does not predict the error of the mesh",
            "uncorrelated",
            f"loss of fields: {field['fvu']:.0%} of the variance left, IoU {shown['ae_field']:.2f}; stopped early: "
            f"{brief['fvu']:.0%}, IoU {shown['ae_brief']:.2f}",
            either(field["fvu"] > brief["fvu"] and shown["ae_field"] > shown["ae_brief"]),
        ),
        Claim(
            "Its codes are nearly orthogonal",
            "0.07 of 0.96",
            f"{full['code_cosine']:.2f} of {full['original_cosine']:.2f}",
            either(abs(full["code_cosine"]) < 0.25 * full["original_cosine"]),
        ),
        Claim(
            "(ours) The loss of fields repairs the meshes",
            "not tried",
            f"IoU {shown['ae_field']:.2f} of {fits:.2f}, against {shown['ae_weights']:.2f} in as many steps; FVU "
            f"{field['fvu']:.2f}",
            either(shown["ae_field"] > max(shown["ae_weights"] + 0.02, 0.8 * fits)),
        ),
    ]  # fmt: skip


def judge_others(reports: Reports) -> list[Claim]:
    """The noise on weights that networks tolerate, and the claims on DeepSDF."""
    parts = [store["parts"]["all"] for store in reports["perturb"]["stores"]]
    relu, siren = (float("inf") if part["breaks_at"] is None else part["breaks_at"] for part in parts)
    strongest = parts[0]["levels"][-1]["sigma"]
    broken = [f"{at:.2f}" if at <= strongest else f"more than {strongest:.2f}" for at in (relu, siren)]
    stats, codes = reports["deepsdf.stats"], summarise(reports["deepsdf.rank"])
    families = {name: iou(reports, name) for name in ("weights", "ae", "deepsdf")}
    return [
        Claim(
            "ReLU with encoded positions tolerates more noise on its weights than SIREN",
            "0.34 or more against 0.17 or less",
            f"mean IoU falls under 0.5 at {broken[0]} against {broken[1]}",
            either(relu >= 0.34 and siren <= 0.17),
        ),
        Claim(
            "DeepSDF's codes have no common direction",
            "pairwise cosine -0.04",
            f"{stats['cosine']['mean']:.2f}",
            either(abs(stats["cosine"]["mean"]) < 0.2),
        ),
        Claim(
            "The DiT of DeepSDF's codes recalls them, with a margin",
            "cosine 1.0000, margin over 0.4",
            f"cosine {codes.cosine:.4f}, least margin {codes.margin:.2f}, first {codes.recalled:.0%}",
            either(codes.cosine > 0.99 and codes.margin > 0.4),
        ),
        Claim(
            "Of the three families only DeepSDF gives meshes of the shape shown",
            "the others fail",
            "IoU " + ", ".join(f"{DITS[name]} {value:.2f}" for name, value in families.items()),
            either(families["deepsdf"] > 2 * max(families["weights"], families["ae"])),
        ),
    ]


def print_scores(
    title: str, names: Mapping[str, str], reports: Reports, *cells: Callable[[str], str]
) -> None:
    print(f"\n{title}\n" + "|---" * (title.count("|") - 1) + "|")
    for name, text in names.items():
        if f"{name}.compare" in reports:
            shapes = reports[f"{name}.compare"]["shapes"].values()
            scores = [shape["iou"] for shape in shapes]
            row = [
                text,
                f"{fmean(scores):.3f}",
                f"{min(scores):.3f}",
                f"{fmean([shape['chamfer'] for shape in shapes]):.4f}",
                str(sum(score == 0 for score in scores)),
                *(cell(name) for cell in cells),
            ]
            print("| " + " | ".join(row) + " |")


def print_costs(path: Path) -> None:
    """Print the CPU seconds of each stage, the most of all runs, from the output of `times` after each stage."""
    costs: dict[str, float] = {}
    lines = []
    for line in path.read_text().splitlines():
        name, *parts = line.split()
        seconds = [float(m) * 60 + float(s) for m, s in re.findall(r"(\d+)m([\d.]+)s", " ".join(parts))]
        lines.append((name, sum(seconds)))
    for (_, before), (name, after) in itertools.pairwise(lines):
        if name != "start":
            costs[name] = max(costs.get(name, 0), after - before)
    stages = ", ".join(f"{name.replace('_', ' ')} {seconds:.0f}" for name, seconds in costs.items())
    print(f"\nCPU seconds: {stages}; total {sum(costs.values()):.0f}.")


def write_table(options: argparse.Namespace) -> None:
    reports, autoencoders = read_reports(options.folder), read_autoencoders(options.autoencoders)
    claims = [
        *judge_geometry(reports),
        *judge_denoisers(reports),
        *judge_autoencoders(reports, autoencoders),
        *judge_others(reports),
    ]
    print("| claim | paper | here | mark |\n|---|---|---|---|")
    for claim in claims:
        print(f"| {claim.text} | {claim.paper} | {claim.ours} | **{claim.mark}** |")
    columns = "| meshes | IoU | worst IoU | Chamfer | IoU 0 |"
    print_scores(
        columns + " verdict | first | centred | FVU at 499 | one step | sampled |",
        DITS,
        reports,
        lambda name: summarise(reports[f"{name}.rank"]).verdict,
        lambda name: f"{summarise(reports[f'{name}.rank']).recalled:.0%}",
        lambda name: f"{summarise(reports[f'{name}.rank']).centred:.3f}",
        lambda name: describe_losses(reports.get(f"{name}.losses")),
    )
    print_scores(columns, MESHES, reports)
    print_costs(options.costs)


def describe_losses(losses: Reports | None) -> str:
    """Return three cells with a denoiser's unexplained variance: at the last timestep, of one step, and of samples."""
    if losses is None:
        return " |  | "
    parts = losses["timesteps"]["fvu"][-1], losses["one_step"]["fvu"], losses["sampled"]["fvu"]
    return " | ".join(f"{part:.3f}" for part in parts)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path, help="folder of reports that sdfkit printed with --json")
    parser.add_argument("--autoencoders", type=Path, nargs="+", required=True, help="stores of train-ae")
    parser.add_argument("--costs", type=Path, required=True, help="output of `times` after each stage")
    options = parser.parse_args()
    write_table(options)


if __name__ == "__main__":
    main()
