"""Loads the models that predict shapes from images, of any kind."""

from collections.abc import Callable

from sdfkit.inference.prediction.denoiser import Denoiser, read_denoiser
from sdfkit.inference.prediction.flow import FlowModel, read_flow
from sdfkit.inference.prediction.reconstruction import Reconstructor, read_reconstructor
from sdfkit.io.stores.reader import open_store
from sdfkit.io.stores.store_reader import StoreReader

# Functions that load the model of an open store, by the kind of the store.
PREDICTORS: dict[str, Callable[[StoreReader, str], Denoiser | FlowModel | Reconstructor]] = {
    "denoiser": read_denoiser,
    "flow": read_flow,
    "recon": read_reconstructor,
}


def load_predictor(path: str, device: str) -> Denoiser | FlowModel | Reconstructor:
    """Load a denoiser, a flow or a reconstruction network.

    Args:
        path: A store that `train-dit`, `train-flow` or `train-recon` wrote.
        device: Name of the torch device to compute on.

    Raises:
        InputError: The store holds none of them, or lacks some of the model's arrays.
    """
    with open_store(path, *PREDICTORS, manifest=None) as store:
        return PREDICTORS[store.kind](store, device)
