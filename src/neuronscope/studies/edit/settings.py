"""What `neuronscope edit` is asked for: one word rewritten, and what is measured of it."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...errors import InvalidOption
from ...fields import check_fields
from ...options import MISSING, PICTURES, SETTING, Asking, Loading, Reading, as_python, option, words
from ...types import one_of


@dataclass(frozen=True, kw_only=True)
class Rewrite(Loading, Reading, Asking):
    """A word, what takes its place, and the pictures to edit with and to measure on; None for what was not given.

    Raises InvalidOption for values out of range, and unless there is either one word or a file of words.
    """

    prefix: str | None = option(  # --prompt is another one here
        None,
        "--prefix",
        blank=True,
        help='What the answer begins with; "The image shows a", or nothing after a question.',
    )
    images: tuple[str, ...] = option(
        MISSING, "--images", help=f"{PICTURES} May be repeated; captions sort them.", repeated=True
    )
    source: str = option("", "--source", help="The word that is to go, as captions name it.")
    suppress: Path | None = option(
        None, "--suppress", help="In place of --source a file of words, one a line: suppressed, or `word -> neutral`."
    )
    target: str | None = option(None, "--target", help="The word that is to take its place.")
    editor: str = option("learned", "--editor", help="swap, embed, graft, learned, ablate, amplify, row-noise.")
    settings: tuple[tuple[str, Any], ...] = option(
        (),
        "--set",
        help="Of the editor, NAME=VALUE, as lambda2=6; of NAME=2,4,8 the best.",
        form=SETTING,
        repeated=True,
    )
    neurons: Path | None = option(None, "--neurons", help="neurons.json; else they are ranked.")
    donors: Path | None = option(None, "--donors", help="The target's neurons.json, for graft.")
    any_model: bool = option(False, "--any-model", help="Take neurons of other weights at their addresses.")
    focused: bool = option(False, "--focused", help="Weight the changes so that little is heard on other images.")
    count: int = option(20, "--count", least=1, help="How many are ranked.")
    position: str | None = option(
        None, "--position", help="Where they are ranked: predict, or image; of suppressed words image, else predict."
    )
    made_with: int | None = option(
        None, "--made-with", least=1, help="Images of the source that the edit is made with; half, up to 8."
    )
    texts: Path | None = option(None, "--texts", help="File of texts, one a line, read without images; else captions.")
    prompts: tuple[str, ...] = option((), "--prompt", help="Another prompt; may be repeated.", repeated=True)
    controls: int = option(1, "--controls", least=0, help="Random sets of neurons.")
    bertscore: str | None = option(
        None, "--bertscore", help="Similarity by it, not ROUGE-L: hub id, directory, package:NAME."
    )
    seed: int = option(0, "--seed", help="Of the random sets.")

    def __post_init__(self) -> None:
        check_fields(self)
        from ...locate.target import POSITIONS

        if self.position is not None:
            one_of("position", self.position, POSITIONS)
        if bool(self.source) == (self.suppress is not None):
            raise InvalidOption("one word is to be given by --source, or several by --suppress FILE")
        for name in ("target", "neurons", "donors"):
            if self.suppress is not None and getattr(self, name) is not None:
                raise InvalidOption(f"--{name} {getattr(self, name)} is for one word, not for those of --suppress")

    def recipe(self, *, adapter: bool = False) -> dict[str, str]:
        """The command and the Python that make the result again; `adapter` where one was written, too."""
        return {"command": self.command(adapter=adapter), "python": self.python(adapter=adapter)}

    def command(self, *, adapter: bool = False) -> str:
        """One line for a shell that makes the result again."""
        return shlex.join(["neuronscope", "edit", *words(self), *(["--adapter"] if adapter else [])])

    def python(self, *, adapter: bool = False) -> str:
        """The same with the library."""
        model, asked = self.load_expression(), as_python(self, but=Loading)
        more = ", adapter=True" if adapter else ""
        do, save = f"rewrite({model}, asked)", f'.save("neuronscope-edit"{more})'
        imports = ["from neuronscope.studies.edit.study import rewrite"]
        if self.suppress is not None:
            do, save = f'save_words(suppress({model}, asked), "neuronscope-edit")', ""
            imports = [
                "from neuronscope.studies.edit.word_tables import save_words",
                "from neuronscope.studies.edit.words import suppress",
            ]
        return "\n".join(
            [
                "import neuronscope as ns",
                "from neuronscope.studies.edit.settings import Rewrite",
                *imports,
                "",
                f"asked = {asked}",
                f"{do}{save}",
            ]
        )
