"""The list of categories, and how objects are drawn from it."""

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
    """A kind of object.

    Attributes:
        name: As in `--category`.
        group: The heading that it is listed under.
        build: Draws one object, of any size and place.
        pieces: How many connected pieces the surface of every object has; 0 where it varies.
        euler: The Euler number of every object's surface; None where it varies.
    """

    name: str
    group: str
    build: Builder
    pieces: int
    euler: int | None

    @property
    def summary(self) -> str:
        """One line on what it is: the first line of its builder's documentation."""
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
# Where not one piece: 0 means that it varies.
SEVERAL_PIECES = {"chain": 0}
EULER_NUMBERS = {"torus_knot": 0, "tunnel": 0, "wagon_wheel": -24}

CATEGORIES: dict[str, Category] = {
    name: Category(name, group, build, SEVERAL_PIECES.get(name, 1), EULER_NUMBERS.get(name))
    for group, builders in GROUPS.items()
    for name, build in sorted(builders.items())
}


def find_category(name: str) -> Category:
    """The category of that name.

    Raises:
        InputError: There is none; close names are offered.
    """
    if name not in CATEGORIES:
        close = difflib.get_close_matches(name, CATEGORIES, n=3, cutoff=0.5)
        hint = f"did you mean {' or '.join(close)}?" if close else "--list shows them all"
        raise InputError(f"category {name!r}: there is none of that name; {hint}")
    return CATEGORIES[name]


def generate(category: str, rng: np.random.Generator) -> Solid:
    """Draw one object of a category.

    Args:
        category: A key of `CATEGORIES`.
        rng: The source of all its variety; equal states give equal objects.

    Returns:
        The object, in the unit frame.

    Raises:
        InputError: There is no such category.
    """
    return normalise(find_category(category).build(rng))


def choose_categories(count: int, rng: np.random.Generator) -> list[str]:
    """Draw categories, one shuffle of the list after another: none comes again before all have come once."""
    chosen: list[str] = []
    while len(chosen) < count:
        chosen += rng.permutation(list(CATEGORIES)).tolist()
    return chosen[:count]
