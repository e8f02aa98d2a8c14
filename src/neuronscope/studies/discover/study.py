"""A discovery from its pictures to its folder."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

from ...loading import VLM
from ...models.usable import unprocessable
from ...samples.picture_files import Pictures
from .collect import collect_discoveries
from .directory import open_discovery
from .settings import DiscoveryJob
from .tables import render_discoveries
from .work import DiscoveryRun


@contextmanager
def _silent(work: DiscoveryRun) -> Generator[Callable[[str], None]]:
    del work
    yield lambda _: None


def discover_into(
    folder: str | Path,
    vlm: VLM,
    job: DiscoveryJob,
    *,
    pictures: Pictures | None = None,
    watch: Callable[[DiscoveryRun], AbstractContextManager[Callable[[str], None]]] = _silent,
) -> dict[str, Any]:
    """Discover and measure, and write what `neuronscope discover` does, which `report` takes.

    Args:
        folder: the run directory; an existing one of the same job is gone on with.
        vlm: the model; `job` names one, too, which is not loaded.
        job: what is asked for.
        pictures: those of the job, where they are gathered already.
        watch: is entered with the opened run while there is work, and gives what is told each unit that was done.

    Returns the document of discovery.json. Raises RunMismatch for a folder of another job, and what gathering pictures
    and captioning raise.
    """
    pictures = job.asked.gather() if pictures is None else pictures
    decoding, directory = job.plan.discovery.decoding, open_discovery(folder, vlm, job.plan)
    new = {key["image"] for key in directory.missing("captions", [picture.key for picture in pictures.items])}
    pictures = pictures.without(unprocessable(vlm, [one.path for one in pictures.items if one.name in new], decoding))
    work = DiscoveryRun(vlm, pictures.items, job.plan, directory)
    with watch(work) as work.step:
        work.work()
    return render_discoveries(work, collect_discoveries(work), folder, pictures.refused, job.recipe())
