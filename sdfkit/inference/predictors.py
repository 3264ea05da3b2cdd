"""What predicts codes from pictures, read back from its store: a denoiser, or a flow."""

from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from sdfkit.errors import InputError
from sdfkit.io.models import read_decoder, rebuild
from sdfkit.io.stores.reader import StoreReader, open_store

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    import torch

    from sdfkit.models.deepsdf import DeepSDF
    from sdfkit.models.dit import DiT
    from sdfkit.models.flow import Flow, FlowConfig
    from sdfkit.rows import Row
    from sdfkit.training.dit import Standard

# The camera that silhouettes are seen from where pictures have none: one of eight, a little above the middle.
VIEWS, VIEW, DISTANCE, YFOV = 8, 3, 2.5, 1.0471976
SAMPLES = 48


class Predictor(Protocol):
    """What `predict` and what feeds it need to know of a model."""

    @property
    def name(self) -> str: ...

    @property
    def attributes(self) -> "dict[str, Any]":
        """Those of its store."""

    @property
    def rows(self) -> "list[Row]": ...

    @property
    def codes(self) -> "np.ndarray":
        """Those of the training shapes, the rows."""

    @property
    def encoder(self) -> "dict[str, Any]":
        """How the pictures were embedded that it was trained on."""

    @property
    def decoder(self) -> str | None:
        """The SHA-256 of the decoder whose codes it makes; None where the codes it learned did not tell."""

    @property
    def mlp(self) -> "dict[str, Any] | None":
        """The description of the networks whose weights it makes; None where it makes codes."""

    @property
    def condition(self) -> str:
        """What it looks at: an array of a features store, feature or token, or picture."""

    @property
    def feature(self) -> int:
        """Numbers in a feature."""

    @property
    def patches(self) -> int:
        """Features a view."""

    @property
    def dim(self) -> int:
        """Numbers in what it makes."""

    @property
    def settings(self) -> "dict[str, Any]":
        """How it samples where nothing else is asked for."""

    def draw(
        self, arrays: "Mapping[str, np.ndarray]", generator: "torch.Generator", **options: Any
    ) -> "list[dict[str, np.ndarray]]":
        """Codes, or weights, of one shape from what there is to see of it, a dictionary of arrays each."""


class Denoiser(NamedTuple):
    """A denoiser; see `Predictor`."""

    name: str
    network: "DiT"
    standard: "Standard"
    attributes: "dict[str, Any]"
    rows: "list[Row]"
    codes: "np.ndarray"

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
    def condition(self) -> str:
        return str(self.attributes["condition"])

    @property
    def feature(self) -> int:
        return self.network.config.feature

    @property
    def patches(self) -> int:
        return self.network.config.patches

    @property
    def dim(self) -> int:
        return self.network.config.dim

    @property
    def settings(self) -> "dict[str, Any]":
        return {"steps": 50, "eta": 0.0, "guidance": 1.0}

    def draw(
        self, arrays: "Mapping[str, np.ndarray]", generator: "torch.Generator", **options: Any
    ) -> "list[dict[str, np.ndarray]]":
        """See `training.dit.predict_codes` for the options."""
        from sdfkit.training.dit import predict_codes

        views = arrays[self.condition].reshape(1, -1, self.patches, self.feature)
        drawn = predict_codes(
            self.network, self.standard, views, cameras_of(arrays, self.condition, 1)[None],
            generators=[generator], **options,
        )[0]  # fmt: skip
        return [{"code" if self.mlp is None else "weights": vector} for vector in drawn]


class FlowModel(NamedTuple):
    """A conditioner with its flow, or an encoder alone, and the decoder of their codes; see `Predictor`."""

    name: str
    config: "FlowConfig"
    conditioner: "torch.nn.Module"
    flow: "Flow | None"
    """None where nothing but the encoder was trained, which is the conditioner then."""
    network: "DeepSDF"
    attributes: "dict[str, Any]"
    rows: "list[Row]"
    codes: "np.ndarray"

    @property
    def encoder(self) -> "dict[str, Any]":
        return dict(self.attributes.get("encoder", {}))

    @property
    def decoder(self) -> str:
        return str(self.attributes["decoder_sha256"])

    @property
    def mlp(self) -> None:
        return None

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
    def dim(self) -> int:
        return self.config.code

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
        """Options are `samples`, `steps`, `guidance`, and `trajectory`: to keep codes and silhouettes on the way."""
        import torch

        from sdfkit.training.flow.pictures import prepare

        samples = options["samples"]
        device = next(self.network.parameters()).device
        views = torch.from_numpy(arrays[self.condition]).to(device)
        seen = prepare(views) if self.condition == "picture" else views.reshape(len(views), self.patches, -1)
        noise = torch.randn(samples, self.config.code, generator=generator).to(device)
        with torch.inference_mode():
            condition = self.conditioner(seen[None]).expand(samples, -1, -1, -1)  # (sample, view, part, code)
            if self.flow is None:
                return [{"code": code} for code in condition.mean(dim=(1, 2)).cpu().numpy()]
            path = self.flow.run(noise, condition, steps=options["steps"], guidance=options["guidance"])
            drawn = [{"code": code} for code in path[-1].cpu().numpy()]
            if options["trajectory"]:
                for sample, values in enumerate(drawn):
                    values["trajectory"] = path[:, sample].cpu().numpy()
                    values |= self._watch(path[:, sample], arrays)
        return drawn

    def _watch(self, codes: "torch.Tensor", arrays: "Mapping[str, np.ndarray]") -> "dict[str, np.ndarray]":
        """Silhouettes of codes from the first view's camera, its picture and what is truly seen there."""
        import numpy as np
        import torch

        from sdfkit.images.rendering.cameras import fibonacci_cameras
        from sdfkit.models.flow import SIZE
        from sdfkit.models.rendering.silhouette import cast_rays, march

        camera, yfov = fibonacci_cameras(VIEWS, DISTANCE)[VIEW], YFOV
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
        seen = {"picture": arrays["picture"][0]} if "picture" in arrays else {}
        truth = {"truth": arrays["mask"][0]} if "mask" in arrays else {}
        return {"silhouette": np.where(inside, np.uint8(255), np.uint8(0)), **seen, **truth}


def check_features(features: StoreReader, model: "Predictor") -> None:
    """Refuse features that are not of the kind that a model was trained on.

    Raises:
        InputError: They come from another encoder, are of another width, or lack the patches.
    """
    if model.condition not in features:
        raise InputError(
            f"{features.name}: has no {model.condition}, which {model.name} looks at; embed with "
            f"{'--tokens patch' if model.condition == 'token' else 'sdfkit embed'}"
        )
    for theirs, ours in zip(_kind(features.attributes.get("encoder", {})), _kind(model.encoder), strict=True):
        if theirs != ours:
            raise InputError(
                f"{features.name}: embedded with {theirs}, but {model.name} was trained on {ours}; "
                "embed as it was trained"
            )
    *shape, width = features.array(model.condition).shape
    if width != model.feature:
        raise InputError(
            f"{features.name}: features of {width} numbers, but {model.name} was trained on {model.feature}; "
            "embed as it was trained"
        )
    if model.patches > 1 and shape[2] != model.patches:
        raise InputError(
            f"{features.name}: {shape[2]} vectors a view, but {model.name} was trained on {model.patches}; "
            "embed as it was trained"
        )


def _kind(encoder: "dict[str, Any]") -> tuple[str, str, str]:
    """What must be alike of two encoders: model, which of its outputs, and of which kinds of pictures."""
    output = encoder.get("preprocessing", {}).get("output", "unknown")
    return (
        encoder.get("model", "an unknown model"),
        f"output {output}",
        ", ".join(encoder.get("views", []) or ["rgb"]),
    )


def condition_arrays(features: StoreReader, condition: str) -> tuple[str, ...]:
    """The arrays of features that a denoiser is given: those it looks at, and cameras, where pictures had any."""
    return (condition, "camera_to_world") if "camera_to_world" in features else (condition,)


def cameras_of(arrays: "Mapping[str, np.ndarray]", condition: str, axes: int) -> "np.ndarray":
    """The cameras among arrays whose first `axes` axes end with the views; zeros, for unknown, where there are none."""
    import numpy as np

    if "camera_to_world" in arrays:
        return arrays["camera_to_world"]
    return np.zeros((*arrays[condition].shape[:axes], 4, 4), np.float32)


def load_predictor(path: str, device: str) -> Denoiser | FlowModel:
    """Read a denoiser or a flow.

    Args:
        path: A store of either.
        device: Where it will run, as torch names it.

    Raises:
        InputError: It holds neither, or not all of it.
    """
    with open_store(path, "denoiser", "flow", manifest=None) as store:
        return _read_denoiser(store, device) if store.kind == "denoiser" else _read_flow(store, device)


def load_denoiser(path: str, device: str) -> Denoiser:
    """Read a denoiser, as `load_predictor` does."""
    with open_store(path, "denoiser", manifest=None) as store:
        return _read_denoiser(store, device)


def _read_denoiser(store: StoreReader, device: str) -> Denoiser:
    import torch

    from sdfkit.models.dit import DiT, DiTConfig
    from sdfkit.training.dit import Standard

    network = rebuild(store, "denoiser", lambda config: DiT(DiTConfig(**config)), device)
    mean, std = (torch.from_numpy(store.read(f"standard/{name}")) for name in ("mean", "std"))
    floored = store.attributes_of("standard").get("floored")
    if floored is None or "condition" not in store.attributes or not (mean + std).isfinite().all():
        raise InputError(f"{store.name}: not all of a denoiser is there; train it again")
    rows, arrays = store.read_rows("code")
    return Denoiser(
        name=store.name,
        network=network,
        standard=Standard(mean, std, floored),
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
        raise InputError(f"{store.name}: not all of a flow is there; train it again")
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
