import pytest

from sdfkit.errors import InputError
from sdfkit.io.captions import read_captions


def read(tmp_path, content):
    path = tmp_path / "captions.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return read_captions(path, manifest=None)


def test_all_cells_and_lines_of_a_uid_are_its_captions(tmp_path):
    text = '\ufeffuid,shelf,caption,caption_2\nb,1,a chair,"tall, old"\na,2,a lamp,\na,2, of brass ,\n'
    rows = read(tmp_path, text)
    assert [(row.index, row.uid, row.captions) for row in rows] == [
        (0, "b", ("a chair", "tall, old")),
        (1, "a", ("a lamp", "of brass")),
    ]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "the first line must name the columns uid and caption"),
        ("uid,text\na,b\n", "the first line must name the columns uid and caption"),
        ("uid,caption\n", "no captions; add one line for each shape"),
        ("uid,caption\n,a chair\n", "line 2: a uid and one cell for each column are needed"),
        ("uid,caption\na,a red, old chair\n", "line 2: .* quote captions that contain commas"),
        ("uid,caption\na,b\na,c\nd,e\n", "a has 2 captions and d has 1; every shape needs the same number"),
        ("uid,caption\na,\n", "a has 0 captions and a has 0; .* at least one"),
        (b"uid,caption\na,\xff\xfe\n", "not a CSV file in UTF-8"),
        ('uid,caption\na,"open\n', "not a CSV file in UTF-8"),
    ],
)
def test_errors_in_a_caption_file_are_reported(tmp_path, content, message):
    with pytest.raises(InputError, match=message) as error:
        read(tmp_path, content)
    assert "\n" not in str(error.value)
