"""The built-in shape generator: parametric objects with exact or tightly bounded signed distances."""

from sdfkit.geometry.shapes.breaking import DEFECTS, break_mesh
from sdfkit.geometry.shapes.catalogue import CATEGORIES, Category, choose_categories, generate
from sdfkit.geometry.shapes.fields.solid import Solid
from sdfkit.geometry.shapes.meshing import solid_mesh

__all__ = [
    "CATEGORIES",
    "DEFECTS",
    "Category",
    "Solid",
    "break_mesh",
    "choose_categories",
    "generate",
    "solid_mesh",
]
