"""Checks of the JSON in files: parsing that ends for any text, and the types of the values that readers need."""

import json
import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, NoReturn

from sdfkit.errors import InputError

# Levels of lists and objects in each other. Files of sdfkit have 5; Python's recursion ends at about 1,000.
DEEPEST = 64


class Field(NamedTuple):
    """What a value of a JSON object must be: a test, and its description for messages."""

    fits: Callable[[Any], bool]
    needed: str


def _is_step(value: Any) -> bool:
    return isinstance(value, dict) and all(
        isinstance(value.get(name, ""), str) for name in ("version", "command")
    )


TEXT = Field(lambda value: isinstance(value, str), "a text")
FLAG = Field(lambda value: isinstance(value, bool), "true or false")
# Python's lengths end at 2**63.
INDEX = Field(lambda value: type(value) is int and 0 <= value < 1 << 62, "a whole number from 0")
COUNT = Field(lambda value: type(value) is int and 0 < value < 1 << 62, "a whole number from 1")
OBJECT = Field(lambda value: isinstance(value, dict), "an object")
# Widths and numbers of layers of networks; with more, Python's loops alone take long.
SIZE = Field(lambda value: type(value) is int and 0 <= value <= 1 << 20, "a whole number from 0 to 1048576")
NUMBER = Field(lambda value: type(value) in (int, float) and -(2**53) < value < 2**53, "a number")
HISTORY = Field(
    lambda value: isinstance(value, list) and all(map(_is_step, value)),
    "a list of objects with the texts version and command",
)
PROGRESS = Field(
    lambda value: (
        isinstance(value, dict)
        and COUNT.fits(value.get("steps"))
        and NUMBER.fits(value.get("steps_per_second"))
        and TEXT.fits(value.get("saved"))
    ),
    "an object with steps, steps_per_second and saved",
)


def one_of(*choices: str) -> Field:
    """Return the field of a text that is one of several."""
    return Field(lambda value: isinstance(value, str) and value in choices, " or ".join(choices))


def parse_json(text: bytes | str) -> Any:
    """Parse JSON strictly: NaN, infinite numbers and more than `DEEPEST` levels of nesting are errors.

    Raises:
        ValueError: The text is not such JSON.
    """
    try:
        value = json.loads(text, parse_constant=_refuse_constant)
    except RecursionError as error:
        raise ValueError(f"it has more than {DEEPEST} levels") from error
    check_json(value)
    return value


def check_json(value: Any, depth: int = 0) -> None:
    """Raise ValueError if a number in a JSON value is not finite, or if the value is nested too deep."""
    if isinstance(value, float) and not math.isfinite(value):
        _refuse_constant(str(value))
    if depth > DEEPEST:
        raise ValueError(f"it has more than {DEEPEST} levels")
    if isinstance(value, (dict, list)):
        for part in value.values() if isinstance(value, dict) else value:
            check_json(part, depth + 1)


def check_fields(
    content: Any, fields: Mapping[str, Field], name: str, kind: str, remedy: str
) -> dict[str, Any]:
    """Check the values of a JSON object that a file holds. Fields that are absent, or not in `fields`, may be so.

    Args:
        content: Parsed JSON.
        fields: What the values must be, by name.
        name: Name of the file in messages.
        kind: What the object is in messages: "metadata", "attributes".
        remedy: What the user can do.

    Returns:
        The object.

    Raises:
        InputError: The content is not an object, a value is of another type, or `check_json` finds a fault.
    """
    if not isinstance(content, dict):
        raise InputError(
            f"{name}: its {kind} are {_shorten(content)}, but a JSON object {{…}} is needed; {remedy}"
        )
    for key, field in fields.items():
        if key in content and not field.fits(content[key]):
            raise InputError(
                f"{name}: {key} in its {kind} is {_shorten(content[key])}, but {field.needed} is needed; {remedy}"
            )
    try:
        check_json(content)
    except ValueError as error:
        raise InputError(f"{name}: its {kind} cannot be read ({error}); {remedy}") from error
    return content


def _shorten(value: Any) -> str:
    """Return the beginning of a value as JSON. Nothing is formatted whole, because the value may be of any size."""
    if isinstance(value, dict):
        return "an object"
    if isinstance(value, list):
        return f"a list of {len(value)} items"
    return json.dumps(value[:40] if isinstance(value, str) else value)[:44]


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"it holds {name}, which is no number of JSON")
