"""The format of a picture or page, by the ending of its file."""

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
