"""Loads denoisers and flows: models that predict latent codes or network weights from images."""

import hashlib
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from sdfkit.errors import InputError
from sdfkit.images.rendering.defaults import DEFAULT_DISTANCE, DEFAULT_YFOV
from sdfkit.inference.defaults import DDIM_STEPS
from sdfkit.io.models.reader import read_decoder, rebuild
from sdfkit.io.stores.reader import StoreReader, open_store
from sdfkit.wording import counted

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    import torch

    from sdfkit.models.deepsdf import DeepSDF
    from sdfkit.models.dit import DiT
    from sdfkit.models.flow import Flow, FlowConfig
    from sdfkit.rows import Row
    from sdfkit.training.dit.training import Standardizer

# The camera from which silhouettes are drawn if that of the image is unknown: camera 3 of a Fibonacci sphere of 8,
# which is slightly above the equator.
VIEWS, VIEW = 8, 3
# Number of points along a ray at which the distance is evaluated before the zero crossing is refined.
SAMPLES = 48


class Predictor(Protocol):
    """A model that predicts the code, the network weights or the distances of a shape from images or features."""

    @property
    def name(self) -> str:
        """Name of the model's store, for messages."""

    @property
    def attributes(self) -> "dict[str, Any]":
        """Attributes of the model's store."""

    @property
    def rows(self) -> "list[Row]":
        """The training shapes."""

    @property
    def what(self) -> str:
        """What kind of model it is, for messages: "is a flow"."""

    @property
    def kind(self) -> str:
        """Kind of store that holds the predictions: "codes", "weights" or "grids"."""

    @property
    def array(self) -> "tuple[str, tuple[int, ...], tuple[str, ...]]":
        """Name of the array of a prediction, its shape and the names of its axes."""

    @property
    def encoder(self) -> "Mapping[str, Any]":
        """Description of the encoder that computed the training features; empty if there are none."""

    @property
    def identity(self) -> "dict[str, Any]":
        """Attributes of the store of predictions by which later commands recognise the training codes and decoder."""

    @property
    def condition(self) -> str:
        """The condition: `feature`, `token` (features of patches), `picture`, or `posed` (with masks and cameras)."""

    @property
    def feature(self) -> int:
        """Length of a feature vector; 0 if the model is not conditioned on features."""

    @property
    def patches(self) -> int:
        """Number of feature vectors for each view: the number of patches, or 1."""

    @property
    def settings(self) -> "Mapping[str, Any]":
        """Options of `draw` with their default values, except `samples`."""

    def draw(
        self, arrays: "Mapping[str, np.ndarray]", generator: "torch.Generator", **options: Any
    ) -> "list[dict[str, np.ndarray]]":
        """Sample latent codes, or weights, of one shape.

        Args:
            arrays: The views of the shape: the array that `condition` names, and optionally `camera_to_world`, `yfov`
                and `mask`.
            generator: Source of the noise.
            options: `samples`, the number of samples, and the options of `settings`.

        Returns:
            For each sample, the arrays of its row in a store: that of `array`, and the trajectory if asked for.
        """


def identify(codes: "np.ndarray", decoder: str | None, mlp: "Mapping[str, Any] | None") -> "dict[str, Any]":
    """Return `Predictor.identity` of a model of codes or weights.

    Args:
        codes: Codes or weights of the training shapes. The command rank recognises them by their digest.
        decoder: SHA-256 of the decoder, which the command mesh compares; None if it is unknown.
        mlp: Architecture of the networks whose weights are predicted; None for codes.
    """
    attributes: dict[str, Any] = {"known": hashlib.sha256(codes.tobytes()).hexdigest()}
    if decoder is not None:
        attributes["decoder_sha256"] = decoder
    return attributes if mlp is None else attributes | {"network": mlp}


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


class FlowModel(NamedTuple):
    """A flow with its conditioner, or an image encoder alone, and the decoder of the codes; see `Predictor`."""

    name: str
    config: "FlowConfig"
    conditioner: "torch.nn.Module"
    flow: "Flow | None"
    """None if only an image encoder was trained. The encoder is then the conditioner, and predicts the code itself."""
    network: "DeepSDF"
    attributes: "dict[str, Any]"
    rows: "list[Row]"
    codes: "np.ndarray"

    @property
    def kind(self) -> str:
        return "codes"

    @property
    def what(self) -> str:
        return "is a flow of stage encoder" if self.flow is None else "is a flow"

    @property
    def encoder(self) -> "dict[str, Any]":
        return dict(self.attributes.get("encoder", {}))

    @property
    def decoder(self) -> str:
        return str(self.attributes["decoder_sha256"])

    @property
    def array(self) -> tuple[str, tuple[int, ...], tuple[str, ...]]:
        return "code", (self.config.code,), ("dim",)

    @property
    def identity(self) -> "dict[str, Any]":
        return identify(self.codes, self.decoder, None)

    @property
    def condition(self) -> str:
        return str(self.attributes["condition"])

    @property
    def feature(self) -> int:
        assert self.config.feature is not None
        return self.config.feature

    @property
    def patches(self) -> int:
        return self.config.patches

    @property
    def settings(self) -> "dict[str, Any]":
        if self.flow is None:
            return {}
        return {
            "steps": int(self.attributes["euler"]), "guidance": 1.0, "trajectory": False,
            "noise": self.attributes["noise"],
        }  # fmt: skip

    def draw(
        self, arrays: "Mapping[str, np.ndarray]", generator: "torch.Generator", **options: Any
    ) -> "list[dict[str, np.ndarray]]":
        """Sample codes of one shape.

        The options are `samples`, `steps`, `guidance` (weight of classifier-free guidance) and `trajectory` (whether to
        return the codes and silhouettes of all steps).
        """
        import torch

        from sdfkit.training.flow.pictures import normalise_pictures

        samples = options["samples"]
        device = next(self.network.parameters()).device
        views = torch.from_numpy(arrays[self.condition]).to(device)
        inputs = (
            normalise_pictures(views)
            if self.condition == "picture"
            else views.reshape(len(views), self.patches, -1)
        )
        noise = torch.randn(samples, self.config.code, generator=generator).to(device)
        with torch.inference_mode():
            condition = self.conditioner(inputs[None]).expand(
                samples, -1, -1, -1
            )  # (sample, view, part, code)
            if self.flow is None:
                return [{"code": code} for code in condition.mean(dim=(1, 2)).cpu().numpy()]
            path = self.flow.run(noise, condition, steps=options["steps"], guidance=options["guidance"])
            drawn = [{"code": code} for code in path[-1].cpu().numpy()]
            if options["trajectory"]:
                for sample, values in enumerate(drawn):
                    values["trajectory"] = path[:, sample].cpu().numpy()
                    values |= self._draw_silhouettes(path[:, sample], arrays)
        return drawn

    def _draw_silhouettes(
        self, codes: "torch.Tensor", arrays: "Mapping[str, np.ndarray]"
    ) -> "dict[str, np.ndarray]":
        """Return the silhouettes of codes from the camera of the first view, and the view's image and true mask."""
        import numpy as np
        import torch

        from sdfkit.images.rendering.cameras import fibonacci_cameras
        from sdfkit.models.flow import SIZE
        from sdfkit.models.rendering.silhouette import cast_rays, march

        camera, yfov = fibonacci_cameras(VIEWS, DEFAULT_DISTANCE)[VIEW], DEFAULT_YFOV
        if "camera_to_world" in arrays:
            camera, yfov = arrays["camera_to_world"][0], arrays["yfov"][0]
        start, directions = cast_rays(
            torch.from_numpy(camera)[None], torch.tensor([yfov], dtype=torch.float32), SIZE, SIZE, None
        )
        shape = (len(codes), SIZE * SIZE, 3)
        origins = start[:, None].to(codes.device).expand(shape)
        directions = directions.to(codes.device).expand(shape)
        nearest = march(self.network, codes, origins, directions, samples=SAMPLES, jitter=None)
        inside = (nearest.distances < 0).view(-1, SIZE, SIZE).cpu().numpy()
        picture = {"picture": arrays["picture"][0]} if "picture" in arrays else {}
        truth = {"truth": arrays["mask"][0]} if "mask" in arrays else {}
        return {"silhouette": np.where(inside, np.uint8(255), np.uint8(0)), **picture, **truth}


def check_features(features: StoreReader, model: "Predictor") -> None:
    """Check that features are of the kind that a model was trained on.

    Raises:
        InputError: The features come from another encoder, have another length, or lack the vectors of patches.
    """
    if model.condition not in features:
        raise InputError(
            f"{features.name}: has no array {model.condition}, which {model.name} is conditioned on; embed with "
            f"{'--tokens patch' if model.condition == 'token' else 'sdfkit embed'}"
        )
    for theirs, ours in zip(_kind(features.attributes.get("encoder", {})), _kind(model.encoder), strict=True):
        if theirs != ours:
            raise InputError(
                f"{features.name}: was embedded with {theirs}, but {model.name} was trained on {ours}; "
                "embed with the same model and options"
            )
    *shape, width = features.array(model.condition).shape
    if width != model.feature:
        raise InputError(
            f"{features.name}: its features have {counted(width, 'number')}, but {model.name} was trained on "
            f"{model.feature}; embed with the same model and options"
        )
    if model.patches > 1 and shape[2] != model.patches:
        raise InputError(
            f"{features.name}: has {counted(shape[2], 'patch')} per view, but {model.name} was trained on "
            f"{model.patches}; embed with the same model and options"
        )


def _kind(encoder: "Mapping[str, Any]") -> tuple[str, str, str]:
    """Return the facts that must be equal for features to be comparable: model, output, and kinds of images."""
    output = encoder.get("preprocessing", {}).get("output", "unknown")
    return (
        encoder.get("model", "an unknown model"),
        f"output {output}",
        ", ".join(encoder.get("views", []) or ["rgb"]),
    )


def condition_arrays(features: StoreReader, condition: str) -> tuple[str, ...]:
    """Return the names of the arrays that a denoiser is conditioned on: features, and cameras if there are any."""
    return (condition, "camera_to_world") if "camera_to_world" in features else (condition,)


def cameras_of(arrays: "Mapping[str, np.ndarray]", condition: str, axes: int) -> "np.ndarray":
    """Return the camera-to-world matrices of views; zeros, which mean unknown, if there are none.

    Args:
        arrays: Arrays of a features store, with or without `camera_to_world`.
        condition: Name of the array of features.
        axes: Number of axes of that array up to the axis of views: 1 for (view, ...), 2 for (shape, view, ...).
    """
    import numpy as np

    if "camera_to_world" in arrays:
        return arrays["camera_to_world"]
    return np.zeros((*arrays[condition].shape[:axes], 4, 4), np.float32)


def load_predictor(path: str, device: str) -> "Denoiser | FlowModel | Reconstructor":
    """Load a denoiser, a flow or a reconstruction network.

    Args:
        path: A store that `train-dit`, `train-flow` or `train-recon` wrote.
        device: Name of the torch device to compute on.

    Raises:
        InputError: The store holds none of them, or lacks some of the model's arrays.
    """
    from sdfkit.inference.prediction.reconstruction import read_reconstructor

    readers = {"denoiser": _read_denoiser, "flow": _read_flow, "recon": read_reconstructor}
    with open_store(path, *readers, manifest=None) as store:
        return readers[store.kind](store, device)


def load_denoiser(path: str, device: str) -> Denoiser:
    """Load a denoiser, as `load_predictor` does."""
    with open_store(path, "denoiser", manifest=None) as store:
        return _read_denoiser(store, device)


def _read_denoiser(store: StoreReader, device: str) -> Denoiser:
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


def _read_flow(store: StoreReader, device: str) -> FlowModel:
    from sdfkit.models.flow import Flow, FlowConfig, build_conditioner

    if (
        not {"stage", "condition", "euler", "noise", "decoder_sha256"} <= store.attributes.keys()
        or "conditioner" not in store
    ):
        raise InputError(f"{store.name}: the flow is incomplete; train it again")
    is_encoder = store.attributes["stage"] == "encoder"
    config = FlowConfig(**store.attributes_of("conditioner"))
    pooled = is_encoder or config.velocity == "mlp"
    conditioner = rebuild(
        store, "encoder" if is_encoder else "conditioner",
        lambda config: build_conditioner(FlowConfig(**config), pooled), device,
    )  # fmt: skip
    flow = None
    if not is_encoder:
        flow = rebuild(store, "flow", lambda config: Flow(FlowConfig(**config)), device)
    rows, arrays = store.read_rows("code")
    return FlowModel(
        store.name, config, conditioner, flow, read_decoder(store, device), store.attributes, rows, arrays["code"]
    )  # fmt: skip
