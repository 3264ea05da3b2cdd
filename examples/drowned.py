#!/usr/bin/env python3
"""Train a weight DiT with positions that drown in the noise, and find what each piece that a DiT predicts is.

    python drowned.py train-dit features.zarr --codes weights.zarr -o drowned.zarr
    python drowned.py pieces predicted.zarr --known weights.zarr

A weight DiT cuts a vector into pieces. Positions that begin at 0.02, as DiT's do, are learned too slowly to tell pieces
apart behind noise; ours begin at 1.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

FLOOR = 1e-4  # as train-dit standardises


def place_pieces(options: argparse.Namespace) -> None:
    """Of which shape, and of which place in its weights, each eighth of a prediction is, by its centred cosine."""
    import numpy as np
    import zarr

    guesses, known = (zarr.open_group(path, mode="r") for path in (options.predicted, options.known))
    training = known["weights"][:]
    centre, spread = training.mean(axis=0), np.maximum(training.std(axis=0), FLOOR)

    def cut(vectors: Any) -> Any:
        """Directions of pieces, padded as the DiT's are: (shape, piece, number)."""
        length = -(-vectors.shape[1] // options.pieces)
        standard = (vectors - centre) / spread
        missing = options.pieces * length - vectors.shape[1]
        pieces = np.pad(standard, ((0, 0), (0, missing))).reshape(len(vectors), options.pieces, length)
        return pieces / np.maximum(np.linalg.norm(pieces, axis=2, keepdims=True), 1e-9)

    likeness = np.einsum("apn,bqn->apbq", cut(guesses["weights"][:]), cut(training))
    count = len(likeness)
    nearest = likeness.reshape(count, options.pieces, -1).argmax(axis=2)
    shapes, places = np.divmod(nearest, options.pieces)
    uids = list(known["uid"][:])
    truth = np.array([uids.index(uid) for uid in guesses["uid"][:]])[:, None]
    right = shapes == truth
    here = right & (places == np.arange(options.pieces))
    print(json.dumps({"pieces": right.size, "shape": float(right.mean()), "place": float(here.mean())}))


def drown(command: list[str]) -> None:
    """Run sdfkit with a DiT whose pieces begin at positions of 0.02: behind noise they cannot be told apart."""
    import torch

    import sdfkit.training.dit
    from sdfkit.cli import main as run
    from sdfkit.models.dit import DiT, DiTConfig

    class Drowned(DiT):
        def __init__(self, config: DiTConfig) -> None:
            super().__init__(config)
            with torch.no_grad():
                self.position.mul_(0.02)

    sdfkit.training.dit.DiT = Drowned  # type: ignore[misc]
    sys.argv = ["sdfkit", *command]
    sys.exit(run())


def main() -> None:
    if sys.argv[1:2] == ["train-dit"]:
        drown(sys.argv[1:])
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    commands = parser.add_subparsers(required=True)
    commands.add_parser("train-dit", help="sdfkit train-dit, with all of its options")
    pieces = commands.add_parser("pieces")
    pieces.add_argument("predicted", type=Path, help="weights that were predicted")
    pieces.add_argument("--known", type=Path, required=True, help="weights of the training shapes")
    pieces.add_argument("--pieces", type=int, default=8)
    place_pieces(parser.parse_args())


if __name__ == "__main__":
    main()
