"""The commands that are killed, at the smallest settings at which they still write many files."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from .data import SHRUNKEN, minigpt4, scenes

OUT = "out"


@dataclass(frozen=True)
class Command:
    """One command line, run in a folder of its own and writing to `OUT` there.

    Attributes:
        words: what follows the program.
        older: another command, whose result lies there in some trials.
        seal: the file that stands for a whole result: where it is, everything is there and belongs together.
        once: it refuses to write over a result.
        emptied: in some trials its folder exists and is empty.
        report: `neuronscope report` reads its result.
        program: the module that is run.
    """

    words: tuple[str, ...]
    older: tuple[str, ...] = ()
    seal: str = ""
    once: bool = False
    emptied: bool = False
    report: bool = False
    program: str = "neuronscope"

    @property
    def argv(self) -> list[str]:
        """All words."""
        return [*self.words, "--out", OUT]


def commands(place: Path) -> dict[str, Command]:
    """Name -> command; their inputs are made in `place` where they are not there yet."""
    coco, parts = scenes(place / "scenes"), minigpt4(place / "minigpt4")
    pictures = [str(coco / "images" / f"{n}.png") for n in range(6)]
    first = ("locate", pictures[1], "horse", "--box", "60,60,60,60")
    concept = ("concept", str(coco), "horse", "--no-test", "--method", "activation")
    edit = ("edit", "--images", str(coco / "images"), "--editor", "ablate")
    repair = ("repair", "--images", str(coco), "--set", "right=1")
    reproduce = ("reproduce", "--data", str(coco), "--concepts", "horse,cake", "--images", "1", "--levels", "1")
    reproduce += ("--methods", "activation:count=20", "--draws", "1", "--ablations", "zero", "--metrics", "rouge-l")
    reproduce += ("--min-side", "1", "--reach", "boxes")
    discover = ("discover", *pictures[1:3], "--ks", "1", "--group", "2", "--nouns", "lexicon", "--top", "10")
    files = ("--vit", parts / "eva_vit_g.pth", "--checkpoint", parts / "minigpt4.pth", "--llama", parts / "llama")
    return {
        "reproduce": Command(reproduce, report=True),
        "reproduce (Ray)": Command((*reproduce, "--engine", "ray", "--workers", "1"), report=True),
        "discover": Command(discover),
        "edit": Command(
            (*edit, "--source", "horse", "--count", "3"),
            (*edit, "--source", "cake", "--count", "2", "--made-with", "1", "--adapter"),
            seal="tables.json",
        ),
        "edit --adapter": Command((*edit, "--source", "horse", "--count", "3", "--adapter"), seal="tables.json"),
        "repair": Command((*repair, "--count", "5"), (*repair, "--count", "1", "--editor", "swap"), seal="tables.json"),
        "convert": Command(
            ("convert", "minigpt4", *map(str, files), *SHRUNKEN), seal="config.json", once=True, emptied=True
        ),
        "locate": Command(
            (*first, "--no-test", "--method", "activation", "--count", "20"),
            ("locate", pictures[2], "horse", "--box", "60,60,60,60", "--no-test", "--method", "random", "--count", "9"),
            seal="evidence/evidence.json",
            report=True,
        ),
        "concept": Command(
            (*concept, "-n", "2", "--count", "20"),
            (*concept, "-n", "1", "--count", "10"),
            seal="summary.txt",
        ),
        "scenes": Command(("scenes", "-n", "3"), ("scenes", "-n", "3"), seal="annotations/instances_scenes.json"),
        "save_model": Command((), seal="config.json", once=True, emptied=True, program="benchmarks.kills.saving"),
    }
