"""Where the pictures of a run are by now: a run has their names and hashes only."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any

from ...errors import InvalidOption
from ...files import is_file, is_folder
from ...samples import CocoFolder, annotated
from ...samples.coco_tables import Id
from ...samples.place import place


class DataPictures:
    """The pictures of some data.

    Args:
        data: a folder, in which they are looked for by the names that the run has, or what else `annotated` reads.
        split: of annotated data.
        allow_outside: also those that names or links lead to outside of it.

    Raises InvalidOption where there is no such folder or file.
    """

    def __init__(self, data: str | Path, split: str | None = None, *, allow_outside: bool = False) -> None:
        self._data, self._split, self._allow = Path(data), split, allow_outside
        if not is_folder(self._data) and not is_file(self._data):
            raise InvalidOption(f"--data {data} is not a folder, and no table of boxes")

    @cached_property
    def _source(self) -> CocoFolder:
        return annotated(self._data, split=self._split, allow_outside=self._allow)

    @cached_property
    def _ids(self) -> dict[str, Id]:
        return {str(image): image for image in self._source.tables.images}

    def find(self, record: Mapping[str, Any]) -> Path | None:
        """The picture of a sample; None where it is not there. Raises InvalidSample where a link leads outside."""
        if is_file(self._data) or record["image"] is None:
            image = self._ids.get(record["image_id"])
            return None if image is None else self._source.picture(self._source.tables.images[image])
        return self._by_name(str(record["image"]))

    def _by_name(self, recorded: str) -> Path | None:
        """By its whole recorded path from the end, longest first; at last as recorded."""
        parts = [part for part in PurePosixPath(recorded.replace("\\", "/")).parts if part not in ("/", "..")]
        ends = ("/".join(parts[k:]) for k in range(max(0, len(parts) - 4), len(parts)))
        found = next((end for end in ends if (self._data / end).is_file()), None)
        if found is not None:
            return place(self._data, found, allow_outside=self._allow)
        return Path(recorded) if self._allow and Path(recorded).is_file() else None
