import json

import pytest
from PIL import Image

from neuronscope.errors import InvalidOption, InvalidSample
from neuronscope.samples.lists import Captioned, ImageList


@pytest.fixture
def pictures(tmp_path):
    folder = tmp_path / "pictures"
    folder.mkdir()
    for name in ("a.jpg", "b.PNG", "c d.png"):
        Image.new("RGB", (20, 20), "green").save(folder / name)
    return folder


@pytest.fixture
def write(tmp_path):
    def make(name, text):
        path = tmp_path / name
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        return path

    return make


def content(found):
    return [(item.image.name, item.captions) for item in found]


def reasons(found):
    return [(refused.where.rsplit("/", 1)[-1], refused.reason) for refused in found.refused]


def test_parallel_files_as_sbu_is_published(pictures, write):
    urls = write(
        "urls.txt", "http://static.flickr.com/2723/a.jpg\nhttps://x.org/c%20d.png?size=3#top\na.jpg\r\nb.PNG\n"
    )
    texts = write("captions.txt", "A bear .\r\nA cake\u2028with candles\nThe same bear\n a bus \n")
    found = ImageList.parallel(urls, texts, pictures)
    assert content(found) == [
        ("a.jpg", ("A bear .", "The same bear")),  # both captions of one picture, where the first stands
        ("c d.png", ("A cake\u2028with candles",)),  # no line break of ours
        ("b.PNG", ("a bus",)),
    ]
    assert found.refused == ()
    assert found[0].image == pictures / "a.jpg"


def test_lines_that_cannot_be_used_are_refused_by_number(pictures, write):
    urls = write("urls.txt", "a.jpg\nhttp://x.org/gone.jpg\n\nb.PNG\nhttp://x.org/\n" + "x" * 5000)
    texts = write("captions.txt", "bear\ndog\ncat\n  \nbus\nlong")
    found = ImageList.parallel(urls, texts, pictures)
    assert content(found) == [("a.jpg", ("bear",))]
    assert reasons(found)[:4] == [
        ("urls.txt:2", f"picture {pictures / 'gone.jpg'} does not exist"),
        ("urls.txt:3", "it names no file"),
        ("urls.txt:4", "its caption is empty"),
        ("urls.txt:5", f"picture {pictures} does not exist"),
    ]
    assert len(found.refused) == 5


def test_files_of_different_length_are_refused(pictures, write):
    with pytest.raises(InvalidSample, match=r"urls\.txt has 2 lines and .*captions\.txt 1"):
        ImageList.parallel(write("urls.txt", "a.jpg\nb.PNG\n"), write("captions.txt", "bear\n"), pictures)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("t.csv", 'id,file,caption\n1,a.jpg,"A bear, brown"\n2,b.PNG,"two\nlines"\n3,a.jpg,again\n'),
        ("t.tsv", '\ufefffile\tcaption\na.jpg\tA bear, brown\nb.PNG\ttwo\nb.PNG\t"half a quote\n'),
        ("T.JSONL", '{"file": "a.jpg", "caption": ["A bear, brown", "again"]}\n{"caption": "two", "file": "b.PNG"}\n'),
    ],
)
def test_tables(pictures, write, name, text):
    found = ImageList.table(write(name, text), pictures)
    assert [item.image.name for item in found] == ["a.jpg", "b.PNG"]
    assert found[0].captions[0] == "A bear, brown"
    assert sum(len(item.captions) for item in found) == 3
    assert found.refused == ()


def test_columns_may_have_other_names_and_pictures_lie_beside_the_table(pictures):
    table = pictures / "list.csv"
    table.write_text("caption,url\nbear,http://x.org/y/a.jpg\n")
    with pytest.raises(InvalidSample, match=r"no column 'file' in its first line; columns: caption, url"):
        ImageList.table(table)
    assert content(ImageList.table(table, file="url")) == [("a.jpg", ("bear",))]


def test_rows_that_cannot_be_read_are_refused_by_line(pictures, write):
    table = write("t.csv", 'file,caption\na.jpg,bear\na.jpg\n\nb.PNG,"two\nlines",more\nb.PNG,bus\n')
    found = ImageList.table(table, pictures)
    assert content(found) == [("a.jpg", ("bear",)), ("b.PNG", ("bus",))]
    assert reasons(found) == [
        ("t.csv:3", "1 fields where the header has 2"),
        ("t.csv:4", "0 fields where the header has 2"),
        ("t.csv:6", "3 fields where the header has 2"),
    ]


def test_objects_that_cannot_be_read_are_refused_by_line(pictures, write):
    lines = ['{"file": "a.jpg", "caption": "bear"}', "{", '{"file": "a.jpg"}', "[1]", '{"file": 3, "caption": "x"}']
    lines += ['{"file": "b.PNG", "caption": []}', "", json.dumps({"file": "b.PNG", "caption": ["bus", None]})]
    found = ImageList.table(write("t.jsonl", "\n".join(lines)), pictures)
    assert content(found) == [("a.jpg", ("bear",)), ("b.PNG", ("bus",))]
    assert [where for where, _ in reasons(found)] == [f"t.jsonl:{n}" for n in (2, 3, 4, 5, 6, 7, 8)]
    assert "JSONDecodeError" in found.refused[0].reason
    assert found.refused[1].reason == "not an object with file and caption: KeyError: 'caption'"
    assert {found.refused[i].reason for i in (3, 4, 6)} == {"file and caption must be text"}


@pytest.mark.parametrize(
    ("name", "text", "error", "reason"),
    [
        ("t.xlsx", "file", InvalidOption, r"is not a table\..*Choices: \.csv, \.json, \.jsonl, \.tsv"),
        ("t.csv", "", InvalidSample, "no column 'file' in its first line; columns: none"),
        ("t.csv", "file,caption\n", InvalidSample, "holds no picture that can be used$"),
        ("t.csv", "file,caption\nz.png,x\n", InvalidSample, r"the first of 1 refused: .*z\.png does not exist"),
        ("t.csv", 'file,caption\na.jpg,"open\n', InvalidSample, r"t\.csv:2 cannot be read"),
        ("t.csv", b"file,caption\na.jpg,\xff\xfe\n", InvalidSample, "cannot be read as UTF-8"),
        ("t.jsonl", "", InvalidSample, "no picture"),
    ],
)
def test_tables_without_anything_to_use_are_errors(pictures, write, name, text, error, reason):
    with pytest.raises(error, match=reason):
        ImageList.table(write(name, text), pictures)


def test_missing_files_and_folders_are_errors(pictures, write, tmp_path):
    with pytest.raises(InvalidSample, match=r"gone\.txt cannot be read"):
        ImageList.parallel(tmp_path / "gone.txt", write("c.txt", "x"), pictures)
    with pytest.raises(InvalidSample, match="nowhere is not a folder; the pictures of"):
        ImageList.parallel(write("u.txt", "a.jpg"), write("c.txt", "x"), tmp_path / "nowhere")
    with pytest.raises(InvalidSample, match="nowhere is not a folder of pictures"):
        ImageList.folder(tmp_path / "nowhere")


def test_a_folder_is_sorted_and_reports_what_is_no_picture(pictures):
    (pictures / "notes.txt").write_text("x")
    (pictures / "more").mkdir()
    Image.new("RGB", (20, 20)).save(pictures / "more" / "0.webp")
    found = ImageList.folder(pictures)
    assert content(found) == [("a.jpg", ()), ("b.PNG", ()), ("c d.png", ())]
    assert [where for where, _ in reasons(found)] == ["more", "notes.txt"]
    deep = ImageList.folder(pictures, recursive=True)
    assert [item.image.name for item in deep] == ["a.jpg", "b.PNG", "c d.png", "0.webp"]
    assert [where for where, _ in reasons(deep)] == ["notes.txt"]
    (pictures / "empty").mkdir()
    with pytest.raises(InvalidSample, match="empty holds no picture"):
        ImageList.folder(pictures / "empty")


def test_checked_finds_files_that_only_look_like_pictures(pictures):
    (pictures / "a.jpg").write_bytes(b"not a picture")
    found = ImageList.folder(pictures)
    assert len(found) == 3
    checked = found.checked()
    assert content(checked) == [("b.PNG", ()), ("c d.png", ())]
    (refused,) = checked.refused
    assert refused.where == str(pictures / "a.jpg")
    assert refused.reason.startswith(f"image {pictures / 'a.jpg'} is not in a format that can be read")
    with pytest.raises(InvalidSample, match="the list holds no picture that can be used; the first of 1 refused"):
        found[:1].checked()


def test_shuffled_and_sliced(pictures):
    found = ImageList.folder(pictures)
    orders = {tuple(content(found.shuffled(seed))) for seed in range(8)}
    assert len(orders) > 1
    assert all(sorted(order) == content(found) for order in orders)
    assert found.shuffled(2023).items == found.shuffled(2023).items
    assert isinstance(found[:2], ImageList)
    assert found[-1] == Captioned(pictures / "c d.png") == list(found)[2]
    assert len(found[1:]) == 2


SBU = ["http://static.flickr.com/2723/a.jpg", "https://x.org/c%20d.png?size=3#top", "http://x.org/a.jpg", "b.PNG"]
SAID = ["A bear", "A cake", "The same bear", "a bus"]
FORMS = {
    "as it is published": {"image_urls": SBU, "captions": SAID, "user_ids": ["x"] * 4},
    "under other names": {"urls": SBU, "texts": SAID, "other": [1]},
    "under the names of tables": {"file": SBU, "caption": SAID},
    "objects": [{"image_url": one, "caption": said, "id": 3} for one, said in zip(SBU, SAID, strict=True)],
    "objects of files": [{"image": one, "text": said} for one, said in zip(SBU, SAID, strict=True)],
    "objects with several captions": [
        {"url": "a.jpg", "captions": ["A bear", "The same bear"]},
        {"url": SBU[1], "captions": ["A cake"]},
        {"url": SBU[3], "captions": ["a bus"]},
    ],
    "pairs": list(map(list, zip(SBU, SAID, strict=True))),
    "a caption for each file": {"a.jpg": ["A bear", "The same bear"], "c d.png": "A cake", "b.PNG": "a bus"},
}


@pytest.mark.parametrize("form", FORMS)
def test_json_lists(pictures, write, form):
    found = ImageList.table(write("sbu-captions-all.json", json.dumps(FORMS[form])), pictures)
    assert content(found) == [
        ("a.jpg", ("A bear", "The same bear")),
        ("c d.png", ("A cake",)),
        ("b.PNG", ("a bus",)),
    ]
    assert found.refused == ()


@pytest.mark.parametrize("document", [SBU, {"image_urls": SBU}, [{"url": one} for one in SBU]])
def test_json_lists_of_pictures_alone(pictures, write, document):
    found = ImageList.table(write("list.json", json.dumps(document)), pictures)
    assert content(found) == [("a.jpg", ()), ("c d.png", ()), ("b.PNG", ())]


def test_a_part_of_the_pictures_of_a_json_list_lies_beside_it(pictures, write):
    """As Pan et al.'s code keeps them: the first thousand of a million, in a folder `images`."""
    urls = [f"http://static.flickr.com/{n}.jpg" for n in range(3000)]
    urls[1500], urls[7] = SBU[0], "http://x.org/deep%2Fz.jpg"
    table = write("sbu-captions-all.json", json.dumps({"image_urls": urls, "captions": ["A bear ."] * 3000}))
    pictures.rename(table.parent / "images")
    found = ImageList.table(table)
    assert content(found) == [("a.jpg", ("A bear .",))]
    (refused,) = found.refused
    assert refused.where == str(table)
    assert refused.reason.startswith("2999 of 3000 entries name pictures that are not in ")
    assert refused.reason.endswith("images, the first 0.jpg")


def test_json_names_lead_nowhere_else(pictures, write, tmp_path):
    Image.new("RGB", (20, 20)).save(tmp_path / "secret.png")
    names = ["../secret.png", str(tmp_path / "secret.png"), "http://x.org/..%2Fsecret.png", "a.jpg"]
    found = ImageList.table(write("list.json", json.dumps(names)), pictures)
    assert content(found) == [("a.jpg", ())]
    assert [where for where, _ in reasons(found)] == [f"list.json:{n}" for n in (1, 2, 3)]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{", "cannot be read as JSON"),
        ("3", "holds a int, not a list of pictures"),
        ("[]", "holds no picture that can be used$"),
        ("{}", "has no list called file, image_urls, .*; it holds nothing"),
        ('{"info": {"a": 1}, "captions": ["x"]}', "has no list called file, .*; it holds captions, info"),
        ('{"image_urls": ["a.jpg"], "captions": []}', "has 1 image_urls and 0 captions: entry i of both"),
        ('[{"caption": "x"}]', "an object without any of file, image_urls"),
        ('[["a.jpg", 3]]', "a caption must be text, not int"),
        ("[3]", "a picture must be named by text, not int"),
        ('{"image_urls": [null], "captions": ["x"]}', "a picture must be named by text, not NoneType"),
        ('{"image_urls": ["a.jpg"], "captions": [" "]}', "its caption is empty"),
        ('["http://x.org/gone.jpg"]', r"1 of 1 entries name pictures that are not in .*, the first gone\.jpg"),
        ("[" * 200 + "]" * 200, "nested deeper"),
    ],
)
def test_json_without_anything_to_use_is_an_error(pictures, write, text, reason):
    with pytest.raises(InvalidSample, match=reason):
        ImageList.table(write("list.json", text), pictures)
