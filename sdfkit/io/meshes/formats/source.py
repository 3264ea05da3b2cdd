"""What a reader of mesh files needs to know beside the bytes of the file."""

import logging
from dataclasses import dataclass, field
from pathlib import Path

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Source:
    """Where a mesh file comes from, and what is wanted of it.

    Attributes:
        name: Name of the file in messages.
        folder: Folder in which the files lie to which the mesh refers. None for a mesh of a stream.
        colour: Whether materials and textures are wanted. Without it, readers leave out every picture.
        missing: Names of the materials and textures that were not found; `find` adds to it.
        left_out: What the readers left out or guessed, as phrases for one warning ("3 line primitives were left out").
    """

    name: str
    folder: Path | None = None
    colour: bool = False
    missing: list[str] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)

    def find(self, name: str) -> bytes | None:
        """Read a file to which the mesh refers. Many files refer to textures by their path on another machine.

        Returns:
            Its content; None if there is no such file, which is then listed in `missing`.
        """
        relative = name.strip().replace("\\", "/")
        if self.folder is not None:
            for path in (self.folder / relative, self.folder / relative.rpartition("/")[2]):
                try:
                    return path.read_bytes()
                except (OSError, ValueError):
                    continue
        self.missing.append(name.strip())
        return None

    def warn(self) -> None:
        """Log in one line what was left out."""
        if self.left_out:
            log.warning("%s: %s", self.name, "; ".join(self.left_out))
