"""The functions of `import sdfkit` compute what the commands compute, with the same defaults.

A mesh is given as a path or as a `trimesh.Trimesh`. The results for a file are those of the command for the same file:
random numbers depend on the seed and the name of the file, without its folder and suffix. A `Trimesh` has the name
"mesh". Faults raise a subclass of `sdfkit.errors.SdfkitError`, whose message is the line that the command would print;
a missing file raises OSError.
`import sdfkit` imports nothing else; the packages that a function needs are imported at its first call.

Example:
    import sdfkit

    closed = sdfkit.watertight("raw.ply", resolution=64)
    samples = sdfkit.sample_sdf(closed, 5000)
    print(samples.point.shape, samples.distance.min())

    views = sdfkit.render(closed, 4)
    features = sdfkit.embed(views, "efficientnet-lite0")
    sdfkit.create_store("features.zarr", "features", ["chair"], {"feature": features[None]})
    with sdfkit.open_store("features.zarr") as store:
        print([row.uid for row in store.all_rows()], store.read("feature").shape)

    meshes = sdfkit.mesh("codes.zarr", "deepsdf.zarr", resolution=32)
    print(sdfkit.compare(meshes[0], closed, points=1000)["iou"])
    print(sdfkit.rank("codes.zarr", "deepsdf.zarr")["verdict"]["name"])
    decoder = sdfkit.load_model("deepsdf.zarr")
"""

from sdfkit.api.models import load_model, mesh, rank
from sdfkit.api.shapes import Views, compare, embed, render, sample_sdf, watertight
from sdfkit.api.stores import create_store, open_store

__all__ = [
    "Views", "compare", "create_store", "embed", "load_model", "mesh", "open_store", "rank", "render", "sample_sdf",
    "watertight",
]  # fmt: skip
