"""Denoisers that `train-dit` trained: models that predict latent codes or network weights from features of images."""

from typing import TYPE_CHECKING, Any, NamedTuple

from sdfkit.errors import InputError
from sdfkit.inference.defaults import DDIM_STEPS
from sdfkit.inference.prediction.predictors import cameras_of, identify
from sdfkit.io.models.reader import rebuild
from sdfkit.io.stores.reader import open_store
from sdfkit.io.stores.store_reader import StoreReader

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    import torch

    from sdfkit.models.dit import DiT
    from sdfkit.rows import Row
    from sdfkit.training.dit.training import Standardizer


class Denoiser(NamedTuple):
    """A denoiser that `train-dit` trained; see `Predictor`."""

    name: str
    network: "DiT"
    standardizer: "Standardizer"
    attributes: "dict[str, Any]"
    rows: "list[Row]"
    codes: "np.ndarray"

    @property
    def what(self) -> str:
        return "is a denoiser"

    @property
    def encoder(self) -> "dict[str, Any]":
        return dict(self.attributes.get("encoder", {}))

    @property
    def decoder(self) -> str | None:
        return self.attributes.get("decoder_sha256")

    @property
    def mlp(self) -> "dict[str, Any] | None":
        return self.attributes.get("network")

    @property
    def kind(self) -> str:
        return "codes" if self.mlp is None else "weights"

    @property
    def array(self) -> tuple[str, tuple[int, ...], tuple[str, ...]]:
        shape = (self.network.config.dim,)
        return ("code", shape, ("dim",)) if self.mlp is None else ("weights", shape, ("parameter",))

    @property
    def identity(self) -> "dict[str, Any]":
        return identify(self.codes, self.decoder, self.mlp)

    @property
    def condition(self) -> str:
        return str(self.attributes["condition"])

    @property
    def feature(self) -> int:
        return self.network.config.feature

    @property
    def patches(self) -> int:
        return self.network.config.patches

    @property
    def settings(self) -> "dict[str, Any]":
        return {"steps": DDIM_STEPS, "eta": 0.0, "guidance": 1.0}

    def draw(
        self, arrays: "Mapping[str, np.ndarray]", generator: "torch.Generator", **options: Any
    ) -> "list[dict[str, np.ndarray]]":
        """Sample codes or weights of one shape; for the options see `training.dit.training.predict_codes`."""
        from sdfkit.training.dit.training import predict_codes

        views = arrays[self.condition].reshape(1, -1, self.patches, self.feature)
        drawn = predict_codes(
            self.network, self.standardizer, views, cameras_of(arrays, self.condition, 1)[None],
            generators=[generator], **options,
        )[0]  # fmt: skip
        return [{self.array[0]: vector} for vector in drawn]


def load_denoiser(path: str, device: str) -> Denoiser:
    """Load a denoiser, as `load_predictor` does."""
    with open_store(path, "denoiser", manifest=None) as store:
        return read_denoiser(store, device)


def read_denoiser(store: StoreReader, device: str) -> Denoiser:
    import torch

    from sdfkit.models.dit import DiT, DiTConfig
    from sdfkit.training.dit.training import Standardizer

    network = rebuild(store, "denoiser", lambda config: DiT(DiTConfig(**config)), device)
    mean, std = (torch.from_numpy(store.read(f"standard/{name}")) for name in ("mean", "std"))
    floored = store.attributes_of("standard").get("floored")
    if floored is None or "condition" not in store.attributes or not (mean + std).isfinite().all():
        raise InputError(f"{store.name}: the denoiser is incomplete; train it again")
    # Networks for ε had no skip connection before the number of timesteps was stored.
    if network.config.target == "eps" and "timesteps" not in store.attributes.get("settings", {}):
        raise InputError(
            f"{store.name}: predicts noise without a skip connection, as train-dit --prediction eps did before, which "
            "gives wrong codes; train it again"
        )
    rows, arrays = store.read_rows("code")
    return Denoiser(
        name=store.name,
        network=network,
        standardizer=Standardizer(mean, std, floored),
        attributes=store.attributes,
        rows=rows,
        codes=arrays["code"],
    )
