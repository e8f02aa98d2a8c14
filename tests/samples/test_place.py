"""Names and links that lead out of a folder, with every reader of lists."""

import json
import os
from urllib.parse import quote

import numpy as np
import pytest
from PIL import Image

import neuronscope as ns
from neuronscope.errors import InvalidSample
from neuronscope.explorer.picture_list import folder as explored
from neuronscope.samples.objects import AnnotatedFolder
from neuronscope.samples.picture_files import gather
from neuronscope.samples.place import leaves, place

PRIVATE = Image.fromarray(np.random.default_rng(5).integers(0, 256, (32, 32, 3), dtype=np.uint8))


@pytest.fixture
def data(tmp_path):
    """A folder of pictures, and a private picture beside it."""
    images, private = tmp_path / "data" / "images", tmp_path / "private"
    for folder in (images / "deep" / "er", private):
        folder.mkdir(parents=True)
    PRIVATE.save(private / "secret.png")
    for path in (images / "own.png", images / "deep" / "er" / "own.png"):
        Image.new("RGB", (32, 32), "green").save(path)
    return images


def _link(name, target):
    def make(images):
        path = images / name
        path.parent.mkdir(exist_ok=True)
        path.symlink_to(target(images))
        return name if path.suffix else f"{name}/secret.png"

    return make


OUTSIDE = {
    "..": lambda _: "../../private/secret.png",
    ".. after a folder": lambda _: "deep/../../../private/secret.png",
    ".. of a folder that is not there": lambda _: "gone/../../../private/secret.png",
    "./..": lambda _: "./../../private/secret.png",
    "absolute": lambda images: str(images.parents[1] / "private" / "secret.png"),
    "absolute with ..": lambda images: f"{images}/../../private/secret.png",
    "double slash": lambda images: f"/{images.parents[1]}/private/secret.png",
    "link": _link("link.png", lambda images: images.parents[1] / "private" / "secret.png"),
    "relative link": _link("link.png", lambda _: "../../private/secret.png"),
    "link of a folder": _link("elsewhere", lambda images: images.parents[1] / "private"),
    "link in a folder": _link("deep/link.png", lambda _: "../../../private/secret.png"),
}
INSIDE = {
    "plain": lambda _: "own.png",
    "in folders": lambda _: "deep/er/own.png",
    ".. that stays": lambda _: "deep/er/../er/own.png",
    "link that stays": _link("link.png", lambda _: "own.png"),
    "absolute link that stays": _link("deep/link.png", lambda images: images / "own.png"),
}


def coco(images, name, **options):
    tables = {
        "images": [{"id": 1, "file_name": name, "width": 32, "height": 32}],
        "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "bbox": [4, 4, 9, 9], "iscrowd": 0}],
        "categories": [{"id": 1, "name": "bear"}],
    }
    folder = images.parent / "annotations"
    folder.mkdir(exist_ok=True)
    (folder / "instances_x.json").write_text(json.dumps(tables))
    return images.parent, options


def samples(images, name, **options):
    root, options = coco(images, name, **options)
    return [sample.load() for sample in ns.CocoFolder.open(root, **options).samples("bear")]


def annotated(images, name, **options):
    root, options = coco(images, name, **options)
    return [ns.samples.read_image(one.path) for one in AnnotatedFolder.read(root, **options).pictures]


def table(images, name, suffix, line, **options):
    path = images.parent / f"list{suffix}"
    path.write_text(line)
    return [ns.samples.read_image(one.path) for one in gather([path], images, **options).items]


def csv(images, name, **options):
    return table(images, name, ".csv", f"file,caption\n{name},a picture\n", **options)


def tsv(images, name, **options):
    return table(images, name, ".tsv", f"file\tcaption\n{name}\ta picture\n", **options)


def jsonl(images, name, **options):
    return table(images, name, ".jsonl", json.dumps({"file": name, "caption": "a picture"}), **options)


def parallel(images, name, **options):
    files, captions = images.parent / "files.txt", images.parent / "captions.txt"
    files.write_text(name + "\n")
    captions.write_text("a picture\n")
    return [ns.samples.read_image(one.image) for one in ns.ImageList.parallel(files, captions, images, **options)]


READERS = [samples, annotated, csv, tsv, jsonl, parallel]


@pytest.mark.parametrize("kind", OUTSIDE)
@pytest.mark.parametrize("reader", READERS)
def test_what_leads_out_is_refused_unless_it_is_allowed(data, reader, kind):
    name = OUTSIDE[kind](data)
    with pytest.raises(InvalidSample, match=r"leads out of .*--allow-outside"):
        reader(data, name)
    if "gone" not in name:  # that path does not exist, whoever is asked
        (read,) = reader(data, name, allow_outside=True)
        assert read.tobytes() == PRIVATE.tobytes()


@pytest.mark.parametrize("kind", INSIDE)
@pytest.mark.parametrize("reader", READERS)
def test_what_stays_inside_is_read(data, reader, kind):
    (read,) = reader(data, INSIDE[kind](data))
    assert read.getpixel((9, 9)) == (0, 128, 0)


@pytest.mark.parametrize("reader", READERS)
def test_the_folder_itself_may_be_a_link(data, reader):
    data.rename(data.with_name("stored"))
    data.symlink_to("stored")
    assert len(reader(data, "own.png")) == 1


def test_addresses_are_not_a_way_out(data):
    address = "https://host/a/" + quote("../../private/secret.png", safe="")
    with pytest.raises(InvalidSample, match="leads out of"):
        jsonl(data, address)


@pytest.mark.parametrize("how", ["list", "gather", "explorer"])
def test_links_in_a_folder_of_pictures(data, how):
    OUTSIDE["link"](data)
    INSIDE["absolute link that stays"](data)

    def names(**options):
        if how == "list":
            return [one.image.name for one in ns.ImageList.folder(data, **options)]
        if how == "explorer":
            return [one.name for one in explored(data, **options)]
        return [one.name for one in gather([data], **options).items]

    assert names() == ["own.png"]
    assert len(names(allow_outside=True)) == 2
    (refused,) = [one for one in ns.ImageList.folder(data).refused if one.where.endswith("link.png")]
    assert "leads out of" in refused.reason


@pytest.mark.parametrize("name", ["a\0b.png", "x" * 5000 + ".png", "loop.png"])
@pytest.mark.parametrize("reader", [samples, annotated])
def test_names_that_are_no_path_are_refused(data, reader, name):
    (data / "loop.png").symlink_to("loop.png")
    with pytest.raises(InvalidSample):
        reader(data, name)


@pytest.mark.parametrize("concept", ["../../../private/secret", "a/../../../private/secret"])
def test_a_concept_s_name_is_no_way_out_either(data, concept):
    """Folders of scenes have pictures without the concept, which are called after it."""
    (data.parent / "exact").mkdir()
    (data.parent / "exact" / "own.a").mkdir()
    (data.parent / "exact" / "own...").mkdir()
    root, _ = coco(data, "own.png")
    path = root / "annotations" / "instances_x.json"
    path.write_text(path.read_text().replace("bear", concept))
    folder = ns.CocoFolder.open(root)
    try:
        (sample,) = folder.samples(concept)
    except InvalidSample as error:
        assert "leads out of" in str(error)
    else:
        assert sample.exact is None


def test_a_result_with_links_is_not_read(tmp_path, data):
    from neuronscope.errors import RunMismatch
    from neuronscope.report import Evidence
    from report_samples import evidence

    evidence().save(tmp_path / "result")
    for name in ("edited.png", "evidence/original.png", "evidence/mask.png"):
        path = tmp_path / "result" / name
        kept = path.read_bytes()
        path.unlink()
        path.symlink_to(data.parents[1] / "private" / "secret.png")
        with pytest.raises(RunMismatch, match="leads out of"):
            Evidence.load(tmp_path / "result")
        path.unlink()
        path.write_bytes(kept)


@pytest.mark.parametrize(
    ("name", "out"),
    [
        ("a.png", False),
        ("a/../b.png", False),
        ("..a/b.png", False),
        ("a/..b", False),
        ("...", False),
        ("..", True),
        ("a/../../b", True),
        ("/a", True),
        ("C:\\a.png", True),
    ],
)
def test_names_as_they_are_written(name, out):
    assert leaves(name) is out


def test_a_path_need_not_exist(tmp_path):
    assert place(tmp_path, "later.png") == tmp_path / "later.png"
    assert os.fspath(place(tmp_path, "/etc/hostname", allow_outside=True)) == "/etc/hostname"
