"""Where the cameras of pictures are in a folder."""

from pathlib import Path

from sdfkit.errors import InputError

TRANSFORMS = "transforms.json"
# Data sets rendered with Blender have a file for each of their parts. Only the pictures for training are read.
NAMES = (TRANSFORMS, "transforms_train.json")
CAMERAS, POSES = "cameras.txt", "images.txt"
# Where COLMAP and programs that call it put a model.
MODELS = ("", "sparse/0", "sparse", "colmap/sparse/0")


def holds_cameras(path: str) -> bool:
    """Return whether a path is a folder of pictures with cameras: of one shape, or of several in its subfolders."""
    folder = Path(path)
    if "://" in path or not folder.is_dir() or path.endswith(".zarr") or (folder / "zarr.json").exists():
        return False
    return is_scene(folder) or any(map(is_scene, subfolders(folder)))


def is_scene(folder: Path) -> bool:
    """Return whether a folder has the cameras of the pictures of one shape."""
    if find_transforms(folder) is not None:
        return True
    models = ((CAMERAS, POSES), ("cameras.bin", "images.bin"))
    return any(
        all((folder / place / name).is_file() for name in names) for place in MODELS for names in models
    )


def subfolders(folder: Path) -> list[Path]:
    """Return the folders in a folder that are not hidden, sorted by name."""
    return sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))


def find_transforms(folder: Path) -> Path | None:
    """Return the file transforms.json of a folder's pictures; None if there is none."""
    return next((folder / name for name in NAMES if (folder / name).is_file()), None)


def find_model(folder: Path) -> Path:
    """Return the folder with the text files of COLMAP's model of the pictures in a folder.

    Raises:
        InputError: There is only a binary model, or cameras.txt is missing.
    """
    for place in (folder / name for name in MODELS):
        if (place / POSES).is_file() and (place / CAMERAS).is_file():
            return place
    raise InputError(
        f"{folder}: has no text model of COLMAP, which is {CAMERAS} and {POSES}; convert a binary one with colmap "
        "model_converter --output_type TXT"
    )
