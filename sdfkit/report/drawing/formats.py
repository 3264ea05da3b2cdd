"""The format of a picture or page, by the ending of its file, and the options that suit what is drawn."""

from collections.abc import Sequence
from pathlib import Path

from sdfkit.errors import UsageError
from sdfkit.options import STANDARD

PAGES = (".html", ".htm")


def is_page(output: Path | None) -> bool:
    """Return whether a file is to be a page for a browser."""
    return output is not None and output.suffix.lower() in PAGES


def choose_format(output: str, form: str | None) -> str:
    """Return png or html, by the option or else by the ending of the output.

    Raises:
        UsageError: The option contradicts the ending, or the ending is of neither format.
    """
    ending = Path(output).suffix.lower()
    named = "html" if ending in PAGES else "png" if ending == ".png" else None
    if output == STANDARD or (named is None and form is not None):
        return form or "png"
    if output.endswith("/"):
        raise UsageError(f"{output}: one image or page is a file; write views as pictures with sdfkit cat")
    if named is None:
        raise UsageError(
            f"{output}: the file name ends in neither .png nor .html; rename the output or add --format"
        )
    if form not in (None, named):
        raise UsageError(
            f"{output}: the ending of the file name contradicts --format {form}; change one of them"
        )
    return named


def check_options(kinds: Sequence[str], *, truth: bool, decoder: bool, photos: bool) -> None:
    """Check that the options of a drawing suit its inputs.

    Args:
        kinds: Kind of each input: mesh, store, arrays or photo.
        truth: True meshes are given.
        decoder: A decoder is given.
        photos: An option for photos is given.

    Raises:
        UsageError: One of them would have no effect.
    """
    present = set(kinds)
    if present != {"photo"} and (photos or "photo" in present):
        raise UsageError("photos, --matte and --model go with no other input; give only image files")
    if truth and ("photo" in present or "arrays" in present or (len(kinds) > 1 and present != {"mesh"})):
        raise UsageError("--truth is for meshes and one store of views; leave it out")
    if decoder and not present.isdisjoint({"photo", "arrays", "mesh"}):
        raise UsageError("--decoder is for codes with trajectories; leave it out")
