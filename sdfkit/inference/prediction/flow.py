"""Flows that `train-flow` trained: models that predict latent codes from images or their features."""

from typing import TYPE_CHECKING, Any, NamedTuple

from sdfkit.errors import InputError
from sdfkit.images.rendering.defaults import DEFAULT_DISTANCE, DEFAULT_YFOV
from sdfkit.inference.prediction.predictors import identify
from sdfkit.io.models.reader import read_decoder, rebuild
from sdfkit.io.stores.store_reader import StoreReader

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    import torch

    from sdfkit.models.deepsdf import DeepSDF
    from sdfkit.models.flow import Flow, FlowConfig
    from sdfkit.rows import Row

# The camera from which silhouettes are drawn if that of the image is unknown: camera 3 of a Fibonacci sphere of 8,
# which is slightly above the equator.
VIEWS, VIEW = 8, 3
# Number of points along a ray at which the distance is evaluated before the zero crossing is refined.
SAMPLES = 48


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
        prepared = self.network.prepare(codes)
        nearest = march(self.network.decode, prepared, origins, directions, samples=SAMPLES, jitter=None)
        inside = (nearest.distances < 0).view(-1, SIZE, SIZE).cpu().numpy()
        picture = {"picture": arrays["picture"][0]} if "picture" in arrays else {}
        truth = {"truth": arrays["mask"][0]} if "mask" in arrays else {}
        return {"silhouette": np.where(inside, np.uint8(255), np.uint8(0)), **picture, **truth}


def read_flow(store: StoreReader, device: str) -> FlowModel:
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
