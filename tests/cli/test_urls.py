"""Pictures are files: a URL is refused by that word, and nothing is fetched."""

from pathlib import Path

import pytest

import neuronscope as ns
from neuronscope.errors import NeuronscopeError
from neuronscope.samples.image import read_image

URLS = (
    "http://example.org/a.png",
    "https://example.org/b.jpg?size=2",
    "HTTPS://EXAMPLE.ORG/c.PNG",
    "ftp://example.org/d.png",
    "s3://bucket/e.png",
    "gs://bucket/f.png",
    "hf://datasets/x/g.png",
)


@pytest.mark.parametrize("url", URLS)
def test_urls_are_refused_by_that_word(url, demo: ns.VLM, cli, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for ask in (demo.caption, read_image, lambda it: read_image(Path(it))):
        with pytest.raises(NeuronscopeError, match=r"is a URL, and nothing is fetched .* download it"):
            ask(url)
    for words in (
        ["caption", url],
        ["heatmap", url, "3.7"],
        ["locate", url, "bear", "--box", "1,1,30,30"],
        ["discover", url, "--out", tmp_path / "run"],
        ["pictures", "3.7", url],
        ["index", url, "--out", tmp_path / "index"],
        ["edit", "--images", url, "--source", "bear", "--target", "dog"],
    ):
        code, _, err = cli(*words, "--quiet")
        assert code == 1
        assert "is a URL" in err, (words, err)
        assert len(err.splitlines()) == 1
    assert not list(tmp_path.iterdir())
