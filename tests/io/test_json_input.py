import json
import math
from dataclasses import dataclass

import pytest
from msgspec import Struct

from lmpnet_cli.errors import DatasetError, InputError
from lmpnet_cli.io.coco_schema import CocoAnnotation, CocoImage, predicted_class
from lmpnet_cli.io.json_input import (
    SchemaError,
    check,
    parse_json,
    read_document,
    read_json,
    read_text,
    refuse_unknown_fields,
)


class Row(Struct):
    name: str
    values: list[float | None]
    count: int = 0


@dataclass(frozen=True)
class Spec:
    size: int


def test_a_document_that_fits_is_converted_and_unknown_fields_are_ignored(tmp_path):
    path = tmp_path / "a.json"
    path.write_text('{"name": "x", "values": [1, NaN, null, Infinity], "more": {}}')
    row = read_document(path, Row, "is not a row", "Write it again.")
    assert (row.name, row.values[0], row.values[2:], row.count) == ("x", 1.0, [None, math.inf], 0)
    assert math.isnan(row.values[1])


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{", "invalid JSON"),
        ("[" * 100_000, "nested too deeply"),
        ("1" * 5000, "invalid JSON"),
        ("[]", "Expected `object`, got `array`"),
        ('{"name": "x"}', "missing required field `values`"),
        ('{"name": 5, "values": []}', r"Expected `str`, got `int` - at `\$.name`"),
        ('{"name": "x", "values": ["1"]}', r"at `\$.values\[0\]`"),
        ('{"name": "x", "values": [true]}', "got `bool`"),
        ('{"name": "x", "values": [], "count": 1e999}', "got `float`"),
        ('{"\\ud800": 1}', "surrogates"),
    ],
)
def test_a_document_that_does_not_fit_is_one_message(tmp_path, text, reason):
    path = tmp_path / "a.json"
    path.write_text(text)
    with pytest.raises(DatasetError, match=rf"a\.json is not a row \(.*{reason}.*\)\. Write it again\.") as caught:
        read_document(path, Row, "is not a row", "Write it again.")
    assert len(str(caught.value)) < 500


def test_files_that_cannot_be_read_are_input_errors(tmp_path):
    for path, reason in ((tmp_path / "none.json", "No such file"), (tmp_path, "not a regular file")):
        with pytest.raises(InputError, match=f"Cannot read .*{reason}"):
            read_document(path, Row, "", "")
    (tmp_path / "a.json").write_bytes(b"\xff")
    with pytest.raises(SchemaError, match="not Unicode"):
        read_json(tmp_path / "a.json")


def test_a_bug_in_a_schema_is_not_a_fault_of_the_file():
    class Broken(Struct):
        value: int

        def __post_init__(self) -> None:
            raise KeyError("bug")

    with pytest.raises(KeyError):
        check({"value": 1}, Broken)


def test_unknown_fields_are_refused_where_a_schema_must_be_complete():
    refuse_unknown_fields({"size": 1}, Spec)
    with pytest.raises(SchemaError, match="unknown field 'stride'"):
        refuse_unknown_fields({"size": 1, "stride": 2}, Spec)


def test_coco_entries_of_other_programs_are_read():
    image = check({"id": "a", "file_name": "x.jpg", "width": 40.0, "height": 30, "license": 1}, CocoImage)
    assert (image.id, image.size) == ("a", (40, 30))
    assert check({"id": 1.0, "file_name": "x.jpg", "height": None}, CocoImage).size is None
    for given, name in (("heron", None), ({"name": "heron", "score": 1}, "heron"), (3, None), (None, None)):
        annotation = check({"image_id": 1, "keypoints": [], "predicted_class": given}, CocoAnnotation)
        assert predicted_class(annotation).name == name
    assert check(parse_json(json.dumps({"id": 1, "file_name": "a\udcff.jpg"})), CocoImage).file_name == "a\udcff.jpg"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_text_with_a_byte_order_mark_and_line_ends_of_every_system_is_read(tmp_path, encoding, end):
    text = f'{{"ü":{end} 1}}{end}'
    mark = "\ufeff" if encoding.endswith(("-le", "-be")) else ""
    (tmp_path / "a.json").write_bytes((mark + text).encode(encoding))
    assert read_text(tmp_path / "a.json") == '{"ü":\n 1}\n'
    assert read_json(tmp_path / "a.json") == {"ü": 1}
