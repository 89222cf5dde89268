import unicodedata
from collections import Counter
from pathlib import Path

import pytest

from lmpnet_cli.data.datasets import ClassData, Sample, cub_root, hold_out, read_classes, read_table, training_images
from lmpnet_cli.errors import DatasetError, InputError

CUB = {
    "images.txt": "1 001.egret/a b.jpg\n2 001.egret/c.jpg\n3 002.heron/d.jpg\n",
    "image_class_labels.txt": "1 1\n2 1\n3 2\n",
    "classes.txt": "1 001.egret\n2 002.heron\n3 003.stork\n",
    "train_test_split.txt": "1 1\n2 0\n3 1\n",
}


def write_cub(folder, **changed):
    folder.mkdir(parents=True)
    for name, text in CUB.items():
        text = changed.get(name.removesuffix(".txt"), text)
        if text is not None:
            (folder / name).write_text(text, encoding="utf-8", newline="")
    return folder


def write_classes(folder, *names):
    """Names of image files; one that ends in a slash is an empty folder."""
    for name in names:
        path = folder / name
        (path if name.endswith("/") else path.parent).mkdir(parents=True, exist_ok=True)
        if not name.endswith("/"):
            path.touch()
    return folder


def callback(data):
    return [(sample.source, sample.class_name, sample.split) for sample in data.samples]


@pytest.mark.parametrize("inner", ["", "CUB_200_2011"])
def test_a_cub_folder_is_read_with_its_official_split(tmp_path, inner):
    root = write_cub(tmp_path / "cub" / inner)
    data = read_classes([tmp_path / "cub"])
    assert cub_root(tmp_path / "cub") == root
    assert callback(data) == [
        ("001.egret/a b.jpg", "001.egret", "train"),
        ("001.egret/c.jpg", "001.egret", "test"),
        ("002.heron/d.jpg", "002.heron", "train"),
    ]
    assert data.samples[0].path == root / "images" / "001.egret" / "a b.jpg"
    assert (data.classes, data.official) == (("001.egret", "002.heron"), True)
    assert [sample.source for sample in data.of("test", "val")] == ["001.egret/c.jpg"]


def test_line_ends_of_windows_blanks_and_empty_lines_change_nothing(tmp_path):
    plain = read_classes([write_cub(tmp_path / "plain")])
    texts = {name.removesuffix(".txt"): text.replace("\n", "  \r\n\r\n") for name, text in CUB.items()}
    assert callback(read_classes([write_cub(tmp_path / "windows", **texts)])) == callback(plain)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"images": "1 a/b.jpg\n2\n"}, r"images\.txt, line 2: expected 2 columns, found 1"),
        ({"train_test_split": "1 1\n\n2\n"}, r"train_test_split\.txt, line 3: expected 2 columns, found 1"),
        ({"classes": None}, r"Cannot read .*classes\.txt"),
        ({"image_class_labels": "1 1\n2 1\n"}, r"image 3 \(002\.heron/d\.jpg\) has no class or no split"),
        ({"image_class_labels": "1 1\n2 1\n3 9\n"}, r"image 3 .* has no class"),
        ({"train_test_split": "1 1\n3 1\n"}, r"image 2 .* no split"),
        ({"images": "1 ../secret.jpg\n"}, r"images\.txt names .\.\./secret\.jpg., which is located outside"),
        ({"images": "1 /etc/secret.jpg\n"}, "is located outside"),
    ],
)
def test_a_broken_cub_folder_is_refused_by_file_and_line(tmp_path, changed, message):
    with pytest.raises(DatasetError, match=message):
        read_classes([write_cub(tmp_path / "cub", **changed)])


def test_a_table_that_is_no_text_is_refused(tmp_path):
    (tmp_path / "images.txt").write_bytes(b"1 \xff\xfe.jpg\n")
    with pytest.raises(DatasetError, match=r"Cannot read .*images\.txt"):
        read_table(tmp_path / "images.txt", 2)


def test_class_folders_are_read_in_depth(tmp_path):
    write_classes(tmp_path, "heron/2.jpg", "heron/1.png", "egret/more/3.jpg", "egret/x.txt", ".git/4.jpg", "empty/")
    data = read_classes([tmp_path])
    expected = [("egret/more/3.jpg", "egret"), ("heron/1.png", "heron"), ("heron/2.jpg", "heron")]
    assert callback(data) == [(source, name, "train") for source, name in expected]
    assert (data.classes, data.official) == (("egret", "heron"), False)
    assert all(sample.path == tmp_path / sample.source for sample in data.samples)


@pytest.mark.parametrize("train", ["train", "Training"])
@pytest.mark.parametrize(
    ("other", "split"),
    [("val", "val"), ("valid", "val"), ("Validation", "val"), ("test", "test"), ("Test", "test"), ("testing", "test")],
)
def test_split_folders_above_the_classes(tmp_path, train, other, split):
    own = [f"{train}/a/1.jpg", f"{train}/b/1.jpg", f"{other}/a/2.jpg", f"{other}/b/2.jpg"]
    write_classes(tmp_path, *own, "notes/c/3.jpg", "@eaDir/x/1.jpg")
    data = read_classes([tmp_path])
    expected = [(name, name.split("/")[1], "train" if name in own[:2] else split) for name in own]
    assert sorted(callback(data)) == sorted(expected)
    assert (data.classes, data.official) == (("a", "b"), True)
    (note,) = data.notes
    assert "notes is ignored beside" in note and "@eaDir" not in note
    assert [image.name for image in training_images([tmp_path])] == ["a/1.jpg", "b/1.jpg"]


SPLITS = {  # the folders of a split, in which there are classes or that are in classes
    "a year": ("train2017/{}", "val2017/{}", ""),
    "a year apart": ("Train_2024/{}", "Test_2024/{}", "notes"),
    "below images": ("images/train/{}", "images/test/{}", "labels/train"),
    "below images, a year": ("Images/train2017/{}", "Images/val2017/{}", "Images/unlabeled2017"),
    "in classes": ("{}/train", "{}/test", ""),
    "in classes, others beside": ("{}/training", "{}/valid", "a/originals"),
    "in classes of images": ("images/{}/train", "images/{}/test", "originals"),
}


@pytest.mark.parametrize("layout", SPLITS)
def test_splits_of_every_layout(tmp_path, layout):
    train, other, beside = SPLITS[layout]
    names = [f"{split.format(name)}/more/{name}.jpg" for split in (train, other) for name in ("a", "b")]
    write_classes(tmp_path, *names, *([f"{beside}/c/3.jpg"] if beside else []))
    data = read_classes([tmp_path])
    split = "test" if "test" in other.lower() else "val"
    expected = [(name, Path(name).stem, "train" if name in names[:2] else split) for name in names]
    assert sorted(callback(data)) == sorted(expected)
    assert (data.classes, data.official) == (("a", "b"), True)
    assert [f"{beside.split('/')[0]}" in note and "is ignored beside" in note for note in data.notes] == (
        [True] if beside else []
    )
    assert [image.path for image in training_images([tmp_path])] == [tmp_path / name for name in names[:2]]


def test_a_train_among_vehicles_is_a_class(tmp_path):
    data = read_classes([write_classes(tmp_path, "vehicle/train/1.jpg", "vehicle/car/2.jpg", "animal/dog/3.jpg")])
    assert (data.classes, len(data.of("train")), data.official) == (("animal", "vehicle"), 3, False)


def test_a_split_without_training_images_is_refused(tmp_path):
    write_classes(tmp_path, "val/a/1.jpg", "test2017/b/1.jpg")
    for read in (read_classes, training_images):
        with pytest.raises(DatasetError, match="contains test2017, val, but no train folder"):
            read([tmp_path])


def test_junk_beside_and_below_a_split_is_counted_once(tmp_path):
    names = ("#recycle/1.jpg", "images/@eaDir/1.jpg", "images/a/@tmp/1.jpg", "images/a/train/__MACOSX/1.jpg")
    write_classes(tmp_path, "images/a/train/1.jpg", "images/a/test/1.jpg", "images/b/train/1.jpg", *names)
    junk = Counter()
    assert len(read_classes([tmp_path], junk=junk).samples) == 3
    assert junk == {"#recycle": 1, "@eaDir": 1, "@tmp": 1, "__MACOSX": 1}


@pytest.mark.parametrize("names", [("train_set", "test_set"), ("01_train", "02_val")])
def test_folders_that_look_like_a_split_are_pointed_out(tmp_path, names):
    data = read_classes([write_classes(tmp_path, *(f"{name}/a/1.jpg" for name in names))])
    assert data.classes == tuple(sorted(names)) and "are read as classes. If they are a split" in data.notes[0]
    birds = read_classes([write_classes(tmp_path / "birds", "trainbearer/1.jpg", "valley quail/1.jpg", "heron/1.jpg")])
    assert birds.notes == ()


def test_folders_of_systems_are_no_classes(tmp_path):
    write_classes(tmp_path, "a/1.jpg", "b/1.jpg", "#recycle/1.jpg", "lost+found/1.jpg", "a/@eaDir/1.jpg/SM.jpg")
    junk = Counter()
    assert read_classes([tmp_path], junk=junk).classes == ("a", "b")
    assert junk == {"#recycle": 1, "lost+found": 1, "@eaDir": 1}


def test_spellings_of_one_class_are_merged_with_a_note(tmp_path):
    composed, decomposed = (unicodedata.normalize(form, "Höckergans") for form in ("NFC", "NFD"))
    write_classes(tmp_path / "one", f"{composed}/1.jpg", f"{decomposed}/2.jpg", "egret/1.jpg", "ibis/1.jpg")
    write_classes(tmp_path / "two", "egret /2.jpg", "ibis/2.jpg")
    data = read_classes([tmp_path / "one", tmp_path / "two"])
    assert data.classes == (composed, "egret", "ibis")
    assert Counter(sample.class_name for sample in data.samples) == {composed: 2, "egret": 2, "ibis": 2}
    assert [note.partition(":")[0] for note in data.notes] == [
        f"2 folders are the one class {composed!r}",
        "2 folders are the one class 'egret'",
    ]


@pytest.mark.parametrize(
    ("folders", "name"),
    [
        (("Egret", "egret"), "Egret"),
        (("egret.", "egret"), "egret"),
        (("egret\u200b", "\ufeffegret", "egret"), "egret"),
        (("\u200b鳥", "鳥"), "鳥"),
        (("Snowy\u00a0egret", "snowy  egret", "Snowy egret"), "Snowy egret"),
        (("HÖCKERGANS", unicodedata.normalize("NFD", "Höckergans")), "HÖCKERGANS"),
    ],
)
def test_names_that_look_alike_are_one_class(tmp_path, folders, name):
    for number, folder in enumerate(folders):
        write_classes(tmp_path, f"{'train' if number == 0 else 'val'}/{folder}/1.jpg")
    data = read_classes([write_classes(tmp_path, "train/heron/1.jpg", "val/heron/1.jpg")])
    assert data.classes == tuple(sorted((name, "heron")))
    (note,) = data.notes
    assert note.startswith(f"{len(folders)} folders are the one class {name!r}: ") and repr(folders[0]) in note


def test_dots_and_invisible_characters_stay_in_the_name_of_a_single_folder(tmp_path):
    data = read_classes([write_classes(tmp_path, "Larus sp./1.jpg", "می\u200cنا/1.jpg", "a.b/1.jpg", "ab/1.jpg")])
    assert data.classes == ("Larus sp.", "a.b", "ab", "می\u200cنا") and data.notes == ()


def test_classes_of_a_cub_folder_and_of_folders_are_merged(tmp_path):
    write_classes(tmp_path / "folders", "001.Egret/new.jpg", "ibis/new.jpg")
    data = read_classes([write_cub(tmp_path / "cub"), tmp_path / "folders"])
    assert data.classes == ("001.Egret", "002.heron", "ibis")
    assert "the one class '001.Egret': '001.Egret', '001.egret' differ" in data.notes[0]


def test_classes_without_training_or_validation_images_are_named(tmp_path):
    write_classes(tmp_path, "train/a/1.jpg", "train/b/1.jpg", "val/a/1.jpg", "val/c/1.jpg", "test/d/1.jpg")
    assert read_classes([tmp_path]).notes == (
        "No training images of c, d: the validation and test images are not used.",
        "No validation images of b: the validation accuracy omits them.",
    )


def test_cub_files_of_windows_are_read(tmp_path):
    plain, windows = read_classes([write_cub(tmp_path / "a")]), write_cub(tmp_path / "b")
    for path in windows.glob("*.txt"):
        text = path.read_text().replace("/", "\\") if path.name == "images.txt" else path.read_text()
        path.write_text(text, encoding="utf-8-sig", newline="\r\n")
    labels = windows / "image_class_labels.txt"
    labels.write_text("".join(f"{id}.0 {label}.0\n" for id, label in (("1", "1"), ("2", "1"), ("3", "2"))))
    data = read_classes([windows])
    assert [(sample.class_name, sample.split) for sample in data.samples] == [
        (sample.class_name, sample.split) for sample in plain.samples
    ]


def test_a_lone_train_folder_brings_no_split(tmp_path):
    data = read_classes([write_classes(tmp_path, "train/a/1.jpg", "train/b/1.jpg")])
    assert (data.classes, data.official) == (("a", "b"), False)


@pytest.mark.parametrize(
    ("files", "error", "message"),
    [
        (["a/1.jpg", "b/"], DatasetError, "at least two classes, but there is only a"),
        (["1.jpg", "2.jpg"], DatasetError, "data has no class folders with images.*data/heron"),
        (["a/", "b/x.txt"], DatasetError, "has no class folders with images"),
        (None, InputError, "Folder .*data not found"),
    ],
)
def test_a_folder_without_two_classes_is_refused(tmp_path, files, error, message):
    folder = tmp_path / "data"
    if files:
        write_classes(folder, *files)
    with pytest.raises(error, match=message):
        read_classes([folder])


def test_data_sets_are_merged_by_class_name(tmp_path):
    write_classes(tmp_path / "folders", "001.egret/new.jpg", "ibis/new.jpg")
    data = read_classes([write_cub(tmp_path / "cub"), tmp_path / "folders"])
    assert (data.classes, data.official) == (("001.egret", "002.heron", "ibis"), True)
    assert Counter(sample.class_name for sample in data.samples) == {"001.egret": 3, "002.heron": 1, "ibis": 1}


def test_one_class_each_makes_two(tmp_path):
    write_classes(tmp_path, "first/a/1.jpg", "second/b/1.jpg")
    assert read_classes([tmp_path / "first", tmp_path / "second"]).classes == ("a", "b")


def samples(tmp_path, *names, split="train"):
    """Names are data set/class/file."""
    return tuple(Sample(tmp_path / name, name.split("/")[1], split, name) for name in names)


def many(tmp_path, **sizes):
    names = [f"cub/{name}/{i:02d}.jpg" for name, size in sizes.items() for i in range(size)]
    return ClassData(samples(tmp_path, *names), tuple(sizes), official=False)


def held(data):
    return [sample.source for sample in data.of("val")]


def test_a_part_of_every_class_is_held_out(tmp_path):
    data = many(tmp_path, a=20, b=10, c=2, d=1)
    result = hold_out(data, 0.3, seed=0)
    assert Counter(sample.class_name for sample in result.of("val")) == {"a": 6, "b": 3, "c": 1}
    assert [sample.source for sample in result.samples] == [sample.source for sample in data.samples]
    assert hold_out(data, 0.0, seed=0) == data
    kept = hold_out(data, 0.99, seed=0).of("train")
    assert Counter(sample.class_name for sample in kept) == {"a": 1, "b": 1, "c": 1, "d": 1}


def test_the_seed_alone_decides(tmp_path):
    data = many(tmp_path, a=20, b=20)
    assert held(hold_out(data, 0.2, seed=1)) == held(hold_out(data, 0.2, seed=1))
    assert held(hold_out(data, 0.2, seed=1)) != held(hold_out(data, 0.2, seed=2))
    backwards = ClassData(data.samples[::-1], data.classes, official=False)
    assert sorted(held(hold_out(backwards, 0.2, seed=1))) == sorted(held(hold_out(data, 0.2, seed=1)))


def test_images_of_one_file_name_stay_on_one_side(tmp_path):
    names = [f"{base}/a/{i}.jpg" for base in ("crops", "whole") for i in range(10)]
    result = hold_out(ClassData(samples(tmp_path, *names), ("a",), official=False), 0.5, seed=0)
    sides = {(sample.path.name, sample.split) for sample in result.samples}
    assert len(sides) == 10 and len(result.of("val")) == 10


def test_a_val_that_is_there_is_respected_and_test_images_never_move(tmp_path):
    train = samples(tmp_path, *[f"x/a/{i}.jpg" for i in range(10)])
    val, test = samples(tmp_path, "x/a/v.jpg", split="val"), samples(tmp_path, "x/a/0.jpg", split="test")
    with_val = ClassData(train + val, ("a",), official=True)
    assert hold_out(with_val, 0.5, seed=0) == with_val
    result = hold_out(ClassData(train + test, ("a",), official=True), 0.5, seed=0)
    assert (len(result.of("train")), len(result.of("val")), result.of("test")) == (5, 5, list(test))
