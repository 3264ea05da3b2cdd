"""Captions: a CSV file with one or more texts for each shape."""

import csv
from dataclasses import dataclass
from pathlib import Path

from sdfkit.errors import InputError
from sdfkit.io.manifests import label, read_manifest
from sdfkit.rows import Row, digest_text
from sdfkit.wording import counted


@dataclass(frozen=True)
class CaptionRow(Row):
    """One shape and its captions. Each caption counts as one view of the shape."""

    captions: tuple[str, ...] = ()

    @property
    def identity(self) -> str:
        return digest_text("\0".join(self.captions))


def read_captions(path: Path, *, manifest: Path | None) -> list[CaptionRow]:
    """Read the shapes and captions of a CSV file, in the order in which the uids first occur.

    The first line names the columns: `uid`, and one or more whose names begin with `caption`. Each non-empty cell of
    a caption column is a caption. If several lines have the same uid, the captions of all of them are collected.

    Raises:
        InputError: The file does not have this form, or its shapes have different numbers of captions.
    """
    captions: dict[str, list[str]] = {}
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            lines = csv.DictReader(file, strict=True)
            columns = [name for name in lines.fieldnames or [] if name.startswith("caption")]
            if "uid" not in (lines.fieldnames or []) or not columns:
                raise InputError(f"{path}: the first line must name the columns uid and caption")
            for line in lines:
                cells = [(line[name] or "").strip() for name in columns]
                if not line["uid"] or None in line:
                    raise InputError(
                        f"{path}: line {lines.line_num}: a uid and one cell for each column are needed; "
                        "quote captions that contain commas"
                    )
                captions.setdefault(line["uid"], []).extend(cell for cell in cells if cell)
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path}: is not a CSV file in UTF-8 ({error}); save it as one") from error
    if not captions:
        raise InputError(f"{path}: has no captions; add one line for each shape")
    first, count = next((uid, len(texts)) for uid, texts in captions.items())
    for uid, texts in captions.items():
        if len(texts) != count or not texts:
            raise InputError(
                f"{path}: {first} has {counted(count, 'caption')} and {uid} has {len(texts)}; every shape needs "
                "the same number of captions, at least one"
            )
    labels = read_manifest(manifest) if manifest else {}
    return [
        label(CaptionRow(index, uid, captions=tuple(texts)), labels)
        for index, (uid, texts) in enumerate(captions.items())
    ]
