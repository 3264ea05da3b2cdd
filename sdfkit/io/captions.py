"""The door to captions: a CSV file that says in words what each shape is."""

import csv
from dataclasses import dataclass
from pathlib import Path

from sdfkit.errors import InputError
from sdfkit.io.manifests import label, read_manifest
from sdfkit.rows import Row


@dataclass(frozen=True)
class CaptionRow(Row):
    """One shape and its captions, one a view."""

    captions: tuple[str, ...] = ()


def read_captions(path: Path, *, manifest: Path | None) -> list[CaptionRow]:
    """The shapes of a CSV file, in the order they are first named.

    Its first line names the columns: `uid`, and one or more whose names begin with `caption`. Each cell of
    these that is not empty is a caption; a uid on several lines has those of all of them.

    Raises:
        InputError: Not such a file, or shapes with different numbers of captions.
    """
    captions: dict[str, list[str]] = {}
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            lines = csv.DictReader(file, strict=True)
            columns = [name for name in lines.fieldnames or [] if name.startswith("caption")]
            if "uid" not in (lines.fieldnames or []) or not columns:
                raise InputError(f"{path}: its first line must name the columns uid and caption")
            for line in lines:
                cells = [(line[name] or "").strip() for name in columns]
                if not line["uid"] or None in line:
                    raise InputError(
                        f"{path}: line {lines.line_num}: a uid and a cell for each column are needed; "
                        "put captions with commas between quotes"
                    )
                captions.setdefault(line["uid"], []).extend(cell for cell in cells if cell)
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path}: not a CSV file in UTF-8 ({error})") from error
    if not captions:
        raise InputError(f"{path}: no captions; write a line for each shape below the first")
    first, count = next((uid, len(texts)) for uid, texts in captions.items())
    for uid, texts in captions.items():
        if len(texts) != count or not texts:
            raise InputError(
                f"{path}: {first} has {count} captions and {uid} {len(texts)}; every shape needs the same number, "
                "at least one"
            )
    labels = read_manifest(manifest) if manifest else {}
    return [
        label(CaptionRow(index, uid, captions=tuple(texts)), labels)
        for index, (uid, texts) in enumerate(captions.items())
    ]
