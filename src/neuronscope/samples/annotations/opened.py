"""One way to open annotated pictures: what lies there says of which kind it is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from ...errors import InvalidOption, InvalidSample, suggest
from ...fields import shown
from ...files import is_file, is_folder
from ...given import checked
from ..coco import CocoFolder
from ..list_files import is_list
from .folder import Annotated
from .rows import READERS, Row, of_arrow, pictures_of
from .voc import is_voc, read_voc
from .yolo import is_yolo, read_yolo

if TYPE_CHECKING:
    from pandas import DataFrame

_KINDS = (
    "a COCO folder (annotations/instances_*.json), a YOLO folder (data.yaml and labels), a Pascal VOC folder "
    "(Annotations/*.xml), a folder with metadata.csv, .jsonl or .parquet, one that datasets saved, or a table (.csv, "
    ".tsv, .jsonl, .parquet)"
)


@checked
def annotated(
    source: str | Path | DataFrame,
    images: str | Path | None = None,
    *,
    split: str | None = None,
    columns: Mapping[str, str] | None = None,
    allow_outside: bool = False,
) -> CocoFolder:
    """Pictures with boxes or masks, in whatever form they are; what comes back gives samples as a COCO folder does.

    Args:
        source: a COCO, YOLO or Pascal VOC folder; a folder with `metadata.csv`, `.jsonl` or `.parquet`; a folder that
            Hugging Face's `datasets` saved, or such a data set; a table (.csv, .tsv, .jsonl, .parquet) or a data frame
            with a row for each object, or for each picture with lists of objects.
        images: folder of the pictures, where it is not the table's own.
        split: which, where there are several.
        columns: our name of a column -> the table's, such as {"concept": "species"}; those that are usual are known.
        allow_outside: read pictures that lie outside the folder, where names or links lead out of it.

    Boxes are x, y, width, height or two corners, by the names of their columns, in pixels of the upright picture.
    Raises InvalidSample, with file, row and remedy, where something cannot be used; what is wrong with one picture only
    is told when it comes to it. InvalidOption for a source or column that is none.
    """
    known = columns or {}
    if not isinstance(source, (str, Path)):
        return _framed(source, images, known, allow_outside)
    if not str(source) or "\0" in str(source):
        raise InvalidOption(f"source={shown(source)} is not the path of a file or folder")
    path = Path(source)
    if path.is_file():
        if path.suffix.lower() not in READERS:
            raise InvalidSample(f"{path} is not a table of boxes; known are {', '.join(READERS)}, or {_KINDS}")
        return _table(path, path.parent if images is None else Path(images), read(path), known, allow_outside)
    if not path.is_dir():
        raise InvalidSample(f"{path} is no folder and no file: give {_KINDS}")
    return _folder(path, images, split, known, allow_outside)


def is_annotated(source: str | Path) -> bool:
    """Whether a file or folder looks like something that :func:`annotated` reads, more than like a list of pictures.

    Raises InvalidSample for a table that cannot be read.
    """
    path = Path(source)
    if is_file(path):
        return path.suffix.lower() in READERS and not is_list(path)
    if not is_folder(path):
        return False
    marks = ("annotations", "dataset_dict.json", *(f"metadata{suffix}" for suffix in READERS))
    return any((path / name).exists() for name in marks) or any(
        (next(path.glob("*.arrow"), None), is_voc(path), is_yolo(path))
    )


def read(path: Path) -> Iterator[tuple[str, Row]]:
    """The rows of a table, by its suffix."""
    return READERS[path.suffix.lower()](path)


def _folder(
    path: Path, images: str | Path | None, split: str | None, columns: Mapping[str, str], allow_outside: bool
) -> CocoFolder:
    if (path / "annotations").is_dir() and not list((path / "annotations").glob("*.xml")):
        found = CocoFolder.open(path, split, allow_outside=allow_outside)
        return found if images is None else CocoFolder(Path(images), found.instances, found.captions, allow_outside)
    tables = [path / f"metadata{suffix}" for suffix in READERS]
    if table := next((one for one in tables if one.is_file()), None):
        return _table(table, path if images is None else Path(images), read(table), columns, allow_outside)
    if arrows := sorted(path.glob("*.arrow")):
        return _table(path, path if images is None else Path(images), _saved(arrows), columns, allow_outside)
    if (path / "dataset_dict.json").is_file():
        splits = sorted(one.parent.name for one in path.glob("*/state.json"))
        if split is None and len(splits) > 1:
            raise InvalidSample(f"{path} holds several splits; choose one of {', '.join(splits)}")
        name = split or next(iter(splits), "")
        if name not in splits:
            raise InvalidSample(f"{path} holds no split {name!r}.{suggest(name, splits)}")
        return _folder(path / name, images, None, columns, allow_outside)
    kind = read_voc if is_voc(path) else read_yolo if is_yolo(path) else None
    if kind is None:
        raise InvalidSample(f"{path} is not a COCO folder, and none of the others that are known: {_KINDS}")
    place, pictures = kind(path, split)
    return Annotated.of(path, place if images is None else Path(images), pictures, allow_outside=allow_outside)


def _table(
    source: Path, images: Path, rows: Iterator[tuple[str, Row]], columns: Mapping[str, str], allow_outside: bool
) -> CocoFolder:
    masks = source.parent if source.is_file() else source
    found = pictures_of(str(source), rows, columns, masks)
    return Annotated.of(source, images, found, allow_outside=allow_outside)


def _framed(frame: Any, images: str | Path | None, columns: Mapping[str, str], allow_outside: bool) -> CocoFolder:
    folder = Path.cwd() if images is None else Path(images)
    if hasattr(frame, "with_format") and hasattr(frame, "features"):  # of `datasets`
        held = frame.with_format("arrow")[:].replace_schema_metadata(frame.features.arrow_schema.metadata)
        found = pictures_of("the data set", of_arrow("the data set", held), columns, folder)
        return Annotated.of(Path("data set"), folder, found, allow_outside=allow_outside)
    if not (hasattr(frame, "to_dict") and hasattr(frame, "columns")):
        raise InvalidOption(f"source={shown(frame)} is not a path, a data frame or a data set")
    rows = enumerate(cast("list[Row]", frame.to_dict("records")))
    found = pictures_of("the data frame", ((f"row {k}", row) for k, row in rows), columns, folder)
    return Annotated.of(Path("data frame"), folder, found, allow_outside=allow_outside)


def _saved(arrows: list[Path]) -> Iterator[tuple[str, Row]]:
    """What `save_to_disk` of `datasets` left."""
    import pyarrow as pa

    module: Any = pa
    for path in arrows:
        try:
            with module.memory_map(str(path)) as mapped:
                table = module.ipc.open_stream(mapped).read_all()
        except (pa.ArrowException, OSError, ValueError) as error:
            raise InvalidSample(f"{path} cannot be read as Arrow: {error}") from error
        yield from of_arrow(path.name, table)
