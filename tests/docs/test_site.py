"""The documentation site: built without warnings, whole, in step with the source; pages print what they show."""

from __future__ import annotations

import gc
import json
import os
import re
import subprocess
import sys
import warnings
from contextlib import chdir
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from click.testing import CliRunner
from page_blocks import ROOT, blocks

import neuronscope as ns
from neuronscope import errors

for package in ("material", "mkdocs", "mkdocstrings", "latex2mathml", "pymdownx"):
    pytest.importorskip(package, reason="the documentation site needs the docs extra")

sys.path.append(str(ROOT))  # where mkdocs is started, too
from docs.extensions import hierarchy, messages, options, source  # noqa: E402
from docs.extensions.directive import DirectiveError  # noqa: E402
from docs.extensions.formulae import mathml  # noqa: E402

DOCS = ROOT / "docs"
ERRORS = [
    name for name, value in vars(errors).items() if isinstance(value, type) and value.__module__ == errors.__name__
]


ENVIRONMENT = {"NO_MKDOCS_2_WARNING": "1"}


def build(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", *arguments]
    environment = {**os.environ, **ENVIRONMENT}
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built by the same command in this process, which has read the source for other tests already."""
    from mkdocs.__main__ import cli

    folder = tmp_path_factory.mktemp("site")
    gc.disable()  # there is little garbage, and looking for it takes long
    try:
        with chdir(ROOT), warnings.catch_warnings():  # the command changes how they are shown
            done = CliRunner().invoke(cli, ["build", "--strict", "--site-dir", str(folder)], env=ENVIRONMENT)
    finally:
        gc.enable()
    assert done.exit_code == 0, done.output
    assert "Documentation built" in done.output
    assert not re.search("WARNING|ERROR", done.output), done.output
    return folder


class Page(HTMLParser):
    """What a page refers to, what can be referred to on it, and its text."""

    #: Attributes that make a browser fetch something.
    FETCHED = frozenset({("img", "src"), ("script", "src"), ("link", "href"), ("iframe", "src"), ("source", "srcset")})

    def __init__(self, file: Path) -> None:
        super().__init__()
        self.anchors, self.links, self.fetched, self.words = {""}, set[str](), set[str](), list[str]()
        self.feed(file.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name == "id" and value:
                self.anchors.add(value)
            elif (tag, name) in self.FETCHED and value:
                self.fetched.add(value)
            elif (tag, name) == ("a", "href") and value:
                self.links.add(value)

    def handle_data(self, data: str) -> None:
        self.words.append(data)


@pytest.fixture(scope="module")
def pages(site: Path) -> dict[Path, Page]:
    return {file: Page(file) for file in sorted(site.rglob("*.html"))}


def test_every_link_picture_and_anchor_is_there(site: Path, pages: dict[Path, Page]) -> None:
    @cache
    def named(folder: Path, path: str) -> Path:
        target = (folder / unquote(path)).resolve()
        return target / "index.html" if target.is_dir() else target

    there = cache(Path.is_file)
    wrong: list[str] = []
    count = 0
    for file, page in pages.items():
        if file.name == "404.html":  # its links are absolute, since nobody knows where it is shown
            continue
        for link in page.links | page.fetched:
            parts = urlsplit(link)
            if parts.scheme in ("http", "https", "data", "mailto"):
                continue
            count += 1
            target = named(file.parent, parts.path) if parts.path else file
            found = there(target)
            if found and parts.fragment and target in pages:
                found = unquote(parts.fragment) in pages[target].anchors
            if not found:
                wrong.append(f"{file.relative_to(site)}: {link}")
    assert not wrong
    assert count > 1000


def test_nothing_is_fetched_from_another_host(site: Path, pages: dict[Path, Page]) -> None:
    assert not {url for page in pages.values() for url in page.fetched if urlsplit(url).scheme in ("http", "https")}
    styles = [file.read_text(encoding="utf-8") for file in site.rglob("*.css")]
    assert styles
    elsewhere = re.compile(r"(?:url\(|@import)\s*[\"']?(?:https?:)?//.{0,80}")
    assert not [found for text in styles for found in elsewhere.findall(text)]


#: Words that users type into the search -> the page that answers. The search index keeps the words of every section.
ASKED = {
    "out of memory": "faq.html",
    "chat template": "faq.html",
    "empty set": "faq.html",
    "quantised weights": "faq.html",
    "my model is not listed": "faq.html",
    "how long does it take": "faq.html",
    "24 gb card": "howto/qwen-24gb.html",
    "annotated data": "howto/own-images.html",
    "pascal voc": "howto/own-images.html",
    "tensorboard": "reproduction.html",
    "residual stream": "glossary.html",
    "nnsight": "comparison.html",
}


@pytest.mark.parametrize("words", ASKED)
def test_the_search_finds_what_users_type(site: Path, words: str) -> None:
    index = json.loads((site / "search" / "search_index.json").read_text(encoding="utf-8"))["docs"]
    found = {one["location"].partition("#")[0] for one in index if words in f"{one['title']} {one['text']}".lower()}
    assert ASKED[words] in found


def test_every_link_to_the_glossary_is_of_a_term_and_most_terms_are_linked(pages: dict[Path, Page], site: Path) -> None:
    links = {link for page in pages.values() for link in page.links}
    asked = {urlsplit(link).fragment for link in links if urlsplit(link).path.endswith("glossary.html")} - {""}
    assert asked <= pages[site / "glossary.html"].anchors
    assert {"s_se", "s_re", "j", "span", "site", "residual-stream", "unembedding", "recovered-share"} <= asked


_NO_FORMULA = re.compile(r"<math.*?</math>|<code.*?</code>|<script.*?</script>", re.DOTALL)


def test_formulae_are_mathml(site: Path) -> None:
    text = (site / "methods" / "two-stage.html").read_text(encoding="utf-8")
    assert text.count("<math ") >= 4
    for file in (site / "methods").glob("*.html"):
        rest = _NO_FORMULA.sub("", file.read_text("utf-8"))
        assert not re.search(r"\$\$|\\\(|\\frac|\\sum", rest), f"a formula of {file.name} is not written"


def test_methods_show_the_code_as_it_is(pages: dict[Path, Page], site: Path) -> None:
    shown = "".join(pages[site / "methods" / "editors.html"].words)
    assert "return (w.double() + alpha * (u @ torch.linalg.solve(u.T @ u, wanted))).to(w.dtype)" in shown
    for file, page in pages.items():
        left = [word for word in page.words if re.match(r"\s*<!-- (source|messages|options|hierarchy):", word)]
        assert file.name == "site.html" or not left


def test_every_error_has_a_page_that_says_what_to_do() -> None:
    there = {path.name for path in (DOCS / "errors").glob("*.md")} - {"index.md"}
    assert there == {hierarchy.page_of(name) for name in ERRORS}
    for name in ERRORS:
        text = (DOCS / "errors" / hierarchy.page_of(name)).read_text(encoding="utf-8")
        titles = re.findall(r"^#+ (.*)$", re.sub(r"```.*?```", "", text, flags=re.DOTALL), re.MULTILINE)
        base = name == "NeuronscopeError"  # which is never raised itself
        every = [] if base else ["Every message"]
        assert titles == [name, "Example", "What to do", *every, "Reference"], name
        assert f"::: neuronscope.errors.{name}\n" in text
        assert base or f"<!-- messages: {name} -->" in text


@pytest.mark.parametrize("name", ERRORS)
def test_an_example_is_a_message_of_its_class(name: str) -> None:
    example = next(b.code for b in blocks(DOCS / "errors" / hierarchy.page_of(name)) if b.language == "text").strip()
    below = [other for other in ERRORS if issubclass(getattr(errors, other), getattr(errors, name))]
    known = {text for other in below for texts in messages.raised()[other].values() for text in texts}
    assert known
    patterns = [".*".join(map(re.escape, text.split("…"))) for text in known if text.strip("… ")]
    for line in example.splitlines():
        said = line.partition(" - ")[2] or line
        if not said.startswith("["):  # what went well
            assert any(re.fullmatch(pattern, said) for pattern in patterns), said


def test_every_public_name_is_in_the_reference() -> None:
    text = "\n".join(path.read_text(encoding="utf-8") for path in (DOCS / "reference").glob("*.md"))
    names = [name for name in ns.__all__ if name != "__version__"]
    assert names
    assert [name for name in names if f"::: neuronscope.{name}\n" not in text + "\n"] == []


def test_every_verb_is_in_the_reference(pages: dict[Path, Page], site: Path) -> None:
    text = (DOCS / "reference" / "cli.md").read_text(encoding="utf-8")
    for verb in options.commands():
        assert f"## `neuronscope {verb}`\n\n<!-- options: {verb} -->" in text, verb
    shown = "".join(pages[site / "reference" / "cli.html"].words)
    assert "--random-sets" in shown
    assert "Its box x,y,w,h in pixels, may be repeated" in shown


def test_a_broken_page_stops_the_build(tmp_path: Path) -> None:
    folder = tmp_path / "docs"
    folder.mkdir()
    (folder / "index.md").write_text("# A\n\n[b](b.md#nowhere) [c](c.md) ![d](d.png)\n", encoding="utf-8")
    (folder / "b.md").write_text("# B\n", encoding="utf-8")
    (folder / "lost.md").write_text("# Lost\n\n[x][neuronscope.NoSuchName]\n", encoding="utf-8")
    settings = f"INHERIT: {ROOT / 'mkdocs.yml'}\ndocs_dir: {folder}\nextra_css: []\nnav: [index.md, b.md]\n"
    (tmp_path / "mkdocs.yml").write_text(settings, encoding="utf-8")
    done = build("--config-file", str(tmp_path / "mkdocs.yml"), "--site-dir", str(tmp_path / "out"))
    assert done.returncode == 1
    for said in ("'#nowhere'", "'c.md'", "'d.png'", "lost.md", "neuronscope.NoSuchName"):
        assert said in done.stderr, done.stderr


def test_a_directive_that_names_nothing_is_an_error() -> None:
    with pytest.raises(DirectiveError, match="there is no 'lenses'"):
        source.expand("neuronscope.models.lens.lenses")
    with pytest.raises(DirectiveError, match="is in no module of src/"):
        source.expand("numpy.zeros")
    with pytest.raises(DirectiveError, match=r"Wrong is not in errors\.py, which has NeuronscopeError, "):
        messages.expand("Wrong")
    with pytest.raises(DirectiveError, match=r"Wrong is not in errors\.py"):
        hierarchy.expand("Wrong")
    with pytest.raises(DirectiveError, match="no verb 'find'; it has demo, "):
        options.expand("find")


def test_source_leaves_out_the_docstring_only() -> None:
    path, code = source.code_of("neuronscope.locate.thresholds.Fixed.choose")
    assert path == ROOT / "src" / "neuronscope" / "locate" / "thresholds.py"
    assert code == (
        'def choose(self, target: Float[np.ndarray, "n"], decoys: Float[np.ndarray, "sets n"]) -> Cut:\n'
        '    return Cut(float(self.value), f"fixed({self.value:g})")'
    )
    assert source.code_of("neuronscope.locate.thresholds.Fixed")[1].startswith(
        "@checked_methods\n@dataclass(frozen=True)\nclass Fixed:"
    )
    assert source.code_of("neuronscope.view.heatmap.Trace")[1].startswith("Trace: TypeAlias = Literal[")


def test_messages_are_read_from_the_source() -> None:
    found = messages.raised()["NoImagePositions"]
    assert found == {
        "neuronscope.models.spans": [
            "… has no neurons at image positions: …",
            "… has no text positions that attend to the image by cross-attention: …",
        ]
    }
    assert "- `neuronscope.locate.validity`" in messages.expand("ConceptNotNamed")
    assert not messages.raised()["NeuronscopeError"]


def test_hierarchy_follows_the_classes() -> None:
    lines = hierarchy.expand("NeuronscopeError")
    assert len(lines) == len(ERRORS)
    assert lines[0].startswith("- [NeuronscopeError](neuronscope-error.md): Base class.")
    (below,) = [line for line in lines if "[ConceptNotNamed](concept-not-named.md)" in line]
    assert below.startswith("        - ")  # InvalidSample stands between the two


def test_a_formula_keeps_its_latex_for_readers_without_mathml() -> None:
    tree = mathml(r"a_i < \frac{1}{2}", "block")
    assert (tree.tag, tree.get("display"), tree.get("aria-label")) == ("math", "block", r"a_i < \frac{1}{2}")
    assert ["".join(each.itertext()) for each in tree.iter("mfrac")] == ["12"]
    assert "{" not in "".join(each.tag for each in tree.iter())
