"""How inputs are drawn, and what each of many shapes gets, so that pages stay small."""

from collections.abc import Sequence
from dataclasses import dataclass

from sdfkit.report.viewer.mesh_cells import MANY, STILLS, MeshOptions, count_faces, count_texels
from sdfkit.wording import counted

# Default number of images of each shape: TURNS on a page; on a sheet ONE for meshes and samples, SEVERAL for views.
TURNS, ONE, SEVERAL = 24, 1, 6
# Images of a page at most, unless there are more shapes or --views says more: 160 pixels each, they take 10 MB.
PICTURES = 4000
# Maximum number of input names in a heading; of more inputs, only the first two and the last are named.
LISTED = 3


@dataclass(frozen=True)
class Share:
    """The number of images of each cell, the number of shapes with models, and notes on what a page leaves out."""

    views: int
    modelled: int
    notes: list[str]


@dataclass(frozen=True)
class Appearance:
    """How to draw the inputs.

    Attributes:
        names: Names of the inputs, for the heading.
        is_page: Make a web page; otherwise a PNG.
        views: Number of images of each shape; None for a default that depends on the kind of input.
        size: Pixels along the longer side of an image.
        columns: Number of shapes in a row of a sheet; None to make the sheet a little wider than high.
        limit: Maximum number of shapes.
    """

    names: Sequence[str]
    is_page: bool
    views: int | None
    size: int
    columns: int | None
    limit: int

    @property
    def heading(self) -> str:
        """Heading of the sheet or page."""
        names = self.names if len(self.names) <= LISTED else [*self.names[:2], "…", self.names[-1]]
        return ", ".join(names)

    def share(self, shapes: int, *, columns: int = 1, on_sheet: int = ONE, on_page: int = TURNS) -> Share:
        """Return what each of a number of shapes gets, so that a page of many stays small.

        Args:
            shapes: Number of shapes.
            columns: Number of cells of each.
            on_sheet: Default number of images of a cell on a sheet.
            on_page: The same on a page of few shapes.
        """
        if not self.is_page:
            return Share(self.views or on_sheet, 0, [])
        views = self.views or max(1, min(on_page, PICTURES // max(shapes * columns, 1)))
        modelled, notes = max(1, MANY // columns), []
        if shapes > modelled:
            notes.append(f"In 3-D, the first {counted(modelled, 'shape')} only; the others are pictures")
        if not self.views and views < on_page:
            notes.append(f"{counted(views, 'picture')} of each, because they are many; --views makes more")
        return Share(views, modelled, notes)

    def share_faces(
        self, shapes: int, columns: int = 1, *, has_truth: bool = False
    ) -> tuple[MeshOptions, list[str]]:
        """Return how to show the meshes of a number of shapes, and notes on what a page leaves out."""
        share = self.share(shapes, columns=columns, on_page=STILLS)
        models = min(shapes, share.modelled) * columns
        faces = count_faces(models) if models else None
        options = MeshOptions(
            share.views, self.size, faces, count_texels(models), self.is_page, share.modelled, has_truth
        )
        return options, share.notes
