"""`--help`, examples and completion."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from neuronscope.cli.examples import EXAMPLES
from neuronscope.cli.main import app

from ..refusals.verbs import commands


@pytest.fixture(scope="module")
def parsers():
    return dict(commands())


def parsed(verb, parsers, words):
    """Read words with a verb's parser; nothing is run."""
    return parsers[verb].make_context(verb, words)


def test_every_verb_has_examples_and_its_parser_reads_them(parsers):
    assert EXAMPLES.keys() == {"", *parsers}
    for verb, lines in EXAMPLES.items():
        assert lines
        for line in lines:
            program, *words = shlex.split(line)
            assert program == "neuronscope"
            named = verb or words[0]
            assert words[: len(named.split())] == named.split()
            assert parsed(named, parsers, words[len(named.split()) :]).params


@pytest.mark.parametrize("flag", ["-h", "--help"])
def test_help_of_every_verb(flag, cli, parsers):
    for verb in ("", "convert", *parsers):
        code, out, err = cli(*verb.split(), flag)
        assert (code, err) == (0, "")
        assert out.startswith(f"Usage: neuronscope {verb}".rstrip())
        assert not re.search(r"<(str|int|list|path|float)|\{image\} ", out, re.IGNORECASE), out
        headings = re.findall(r"^(\S.*):$", out, re.MULTILINE)
        assert len(headings) == len(set(headings))
        assert verb == "convert" or headings[-1] == "Examples"
        assert "-h, --help" in out


def test_arguments_and_values_have_readable_names(cli):
    out = cli("locate", "--help")[1]
    assert out.startswith("Usage: neuronscope locate [OPTIONS] IMAGE CONCEPT\n")
    for text in ("--box X,Y,W,H", "--mask PATH", "--count INTEGER", "--q NUMBER", "--model TEXT"):
        assert text in out
    assert cli("caption", "-h")[1].startswith("Usage: neuronscope caption [OPTIONS] IMAGE...\n")
    assert cli("decode", "-h")[1].startswith("Usage: neuronscope decode [OPTIONS] NEURON...\n")
    code, _, err = cli("locate", "bear.png")
    assert code == 2
    assert "CONCEPT" in err


def test_options_of_one_kind_stand_together(cli):
    out = cli("locate", "--help")[1]
    places = [out.index(text) for text in ("Arguments:", "\nOptions:", "\nWhat is asked:", "\nThe model:", "\nOutput:")]
    model = out[out.index("\nThe model:") :]
    assert places[:2] == sorted(places[:2])
    assert max(places) == places[-1]
    assert "--dtype" in model
    assert "--method" not in model[: model.index("\nOutput:")]


@pytest.mark.parametrize(
    ("typed", "expected"),
    [("lo", "locate"), ("locate --met", "--method"), ("convert mini", "minigpt4"), ("edit --don", "--donors")],
)
def test_completion_offers_verbs_and_options_and_loads_nothing_heavy(typed, expected):
    words = ["neuronscope", *typed.split()]
    code = (
        "import sys\nfrom neuronscope.cli import main\ntry: main([])\nexcept SystemExit: pass\n"
        "assert not {'torch', 'transformers', 'numpy'} & sys.modules.keys()"
    )
    asked = {"_NEURONSCOPE_COMPLETE": "complete_bash", "COMP_WORDS": " ".join(words), "COMP_CWORD": str(len(words) - 1)}
    environment = {"PYTHONPATH": ":".join(sys.path), "PATH": "/usr/bin:/bin", **asked}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert expected in done.stdout.split()


def test_completion_is_installed_by_an_option():
    names = {name for one in typer.main.get_command(app).params for name in one.opts}
    assert {"--install-completion", "--show-completion"} <= names


#: Options that name a file, folder or model, though the parser takes them for words.
NAMING = {"model", "detector", "segmenter", "bertscore", "clip", "images", "image", "sources", "neurons"}
TAKEN = re.compile(
    r"file|folder|director|picture|\.json|\bPNG\b|HTML|hub id|table|data|\.pth|\.bin|safetensors|synonyms\.txt",
    re.IGNORECASE,
)


def test_help_says_what_is_taken_where_a_file_or_model_is_named(parsers):
    looked = 0
    for verb, command in parsers.items():
        for one in command.params:
            kind = one.type_descriptor.annotation
            if kind is Path or (one.name in NAMING and kind is not int and not verb.startswith("convert")):
                looked += 1
                assert TAKEN.search(one.help or ""), f"{verb} {one.name}: {one.help}"
    assert looked > 50
