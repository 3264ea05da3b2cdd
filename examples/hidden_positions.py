#!/usr/bin/env python3
"""Train a weight DiT whose positions are hidden by noise, and identify each token that a DiT predicts.

    python hidden_positions.py train-dit features.zarr --codes weights.zarr -o hidden.zarr
    python hidden_positions.py pieces predicted.zarr --known weights.zarr

A weight DiT denoises the weights of one small network per shape, cut into pieces, one token each. A position embedding
tells the network which piece a token is. The original DiT initialises position embeddings with a standard deviation of
0.02; behind noise, such small embeddings are learned too slowly to distinguish the pieces. sdfkit initialises them with
a standard deviation of 1; `train-dit` here multiplies them by 0.02. `pieces` reports which shape and which place in
the vector each predicted piece resembles most.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

FLOOR = 1e-4  # least standard deviation, the same as in train-dit


def place_pieces(options: argparse.Namespace) -> None:
    """Find the training piece nearest to each predicted piece by centred cosine, and print the shares that are right.

    `shape`: the nearest piece belongs to the shape shown. `place`: it also stands at the same place in the vector.
    """
    import numpy as np
    import zarr

    guesses, known = (zarr.open_group(path, mode="r") for path in (options.predicted, options.known))
    training = known["weights"][:]
    centre, spread = training.mean(axis=0), np.maximum(training.std(axis=0), FLOOR)

    def cut(vectors: Any) -> Any:
        """Normalised pieces (shape, piece, number) of standardised vectors, zero-padded as in the DiT."""
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
    """Run sdfkit with a DiT whose position embeddings start 0.02 times as large, too small to show behind noise."""
    import torch

    import sdfkit.training.dit.training
    from sdfkit.cli import main as run
    from sdfkit.models.dit import DiT, DiTConfig

    class SmallPositions(DiT):
        def __init__(self, config: DiTConfig) -> None:
            super().__init__(config)
            with torch.no_grad():
                self.position.mul_(0.02)

    sdfkit.training.dit.training.DiT = SmallPositions  # type: ignore[misc]
    sys.argv = ["sdfkit", *command]
    sys.exit(run())


def main() -> None:
    if sys.argv[1:2] == ["train-dit"]:
        drown(sys.argv[1:])
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    commands = parser.add_subparsers(required=True)
    commands.add_parser("train-dit", help="run sdfkit train-dit, with all its options")
    pieces = commands.add_parser("pieces")
    pieces.add_argument("predicted", type=Path, help="store of predicted weights")
    pieces.add_argument(
        "--known", type=Path, required=True, help="store of the weights of the training shapes"
    )
    pieces.add_argument("--pieces", type=int, default=8)
    place_pieces(parser.parse_args())


if __name__ == "__main__":
    main()
