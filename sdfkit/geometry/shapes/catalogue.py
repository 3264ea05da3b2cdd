"""The categories of shapes, and the generation of random objects."""

import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from sdfkit.errors import InputError
from sdfkit.geometry.shapes.fields.field import Field
from sdfkit.geometry.shapes.fields.solid import Solid, normalise
from sdfkit.geometry.shapes.living.animals import ANIMALS
from sdfkit.geometry.shapes.living.creatures import CREATURES
from sdfkit.geometry.shapes.living.figures import FIGURES
from sdfkit.geometry.shapes.living.plants import PLANTS
from sdfkit.geometry.shapes.made.buildings import BUILDINGS
from sdfkit.geometry.shapes.made.cutlery import CUTLERY
from sdfkit.geometry.shapes.made.flight import FLIGHT
from sdfkit.geometry.shapes.made.furniture import FURNITURE
from sdfkit.geometry.shapes.made.instruments import INSTRUMENTS
from sdfkit.geometry.shapes.made.seating import SEATING
from sdfkit.geometry.shapes.made.structures import STRUCTURES
from sdfkit.geometry.shapes.made.things import THINGS
from sdfkit.geometry.shapes.made.tools import TOOLS
from sdfkit.geometry.shapes.made.vehicles import VEHICLES
from sdfkit.geometry.shapes.made.vessels import VESSELS

Builder = Callable[[np.random.Generator], Field]


@dataclass(frozen=True)
class Category:
    """A category of shapes.

    Attributes:
        name: Name in `--category`.
        group: Heading under which it is listed.
        build: Makes one random object, of any size and position.
        pieces: Number of connected pieces of the surface of every object; 0 if it varies.
        euler: Euler number of the surface of every object; None if it varies.
    """

    name: str
    group: str
    build: Builder
    pieces: int
    euler: int | None

    @property
    def summary(self) -> str:
        """One line of description: the first line of its builder's docstring."""
        return (self.build.__doc__ or "").splitlines()[0]


GROUPS: dict[str, Mapping[str, Builder]] = {
    "animals": {**ANIMALS, **CREATURES},
    "figures": FIGURES,
    "furniture": {**FURNITURE, **SEATING},
    "plants": PLANTS,
    "structures": {**BUILDINGS, **STRUCTURES},
    "things": {**INSTRUMENTS, **THINGS},
    "tools": {**CUTLERY, **TOOLS},
    "vehicles": {**FLIGHT, **VEHICLES},
    "vessels": VESSELS,
}
# Categories whose objects are not one piece; 0 means that the number varies.
SEVERAL_PIECES = {"chain": 0}
EULER_NUMBERS = {"torus_knot": 0, "tunnel": 0, "wagon_wheel": -24}

CATEGORIES: dict[str, Category] = {
    name: Category(name, group, build, SEVERAL_PIECES.get(name, 1), EULER_NUMBERS.get(name))
    for group, builders in GROUPS.items()
    for name, build in sorted(builders.items())
}


def find_category(name: str) -> Category:
    """Look up a category by name.

    Raises:
        InputError: There is no such category; the message suggests similar names.
    """
    if name not in CATEGORIES:
        close = difflib.get_close_matches(name, CATEGORIES, n=3, cutoff=0.5)
        hint = f"did you mean {' or '.join(close)}?" if close else "--list prints all names"
        raise InputError(f"category {name!r}: does not exist; {hint}")
    return CATEGORIES[name]


def generate(category: str, rng: np.random.Generator) -> Solid:
    """Make one random object of a category.

    Args:
        category: A key of `CATEGORIES`.
        rng: Generator for its parameters; equal states give equal objects.

    Returns:
        The object, in the unit frame.

    Raises:
        InputError: There is no such category.
    """
    return normalise(find_category(category).build(rng))


def choose_categories(count: int, rng: np.random.Generator) -> list[str]:
    """Draw random categories: a category is repeated only after all categories have been drawn equally often."""
    chosen: list[str] = []
    while len(chosen) < count:
        chosen += rng.permutation(list(CATEGORIES)).tolist()
    return chosen[:count]
