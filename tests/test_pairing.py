"""Which predicted mesh belongs to which true one, with each side once as a stream."""

import pytest

from sdfkit.errors import InputError
from sdfkit.meshfile import Meshes, MeshRow
from sdfkit.pairing import Pairs


def known(*uids: str) -> Meshes:
    rows = [MeshRow(index, uid) for index, uid in enumerate(uids)]
    return Meshes(rows, iter(()), len(rows), [])


def stream(*uids: str, taken: list[str] | None = None) -> Meshes:
    def come():
        for index, uid in enumerate(uids):
            if taken is not None:
                taken.append(uid)
            yield MeshRow(index, uid, content=b"ply")

    return Meshes(None, come(), len(uids), [])


def matched(pairs: Pairs) -> list[tuple[str, str | None, int]]:
    return [(pair.uid, pair.guess.uid if pair.guess else None, pair.sample) for pair in pairs]


EXPECTED = [("a", "a", 0), ("b", "b_s0", 0), ("b", "b_s1", 1), ("c", None, 0)]


def test_files_are_paired_in_the_order_of_the_truths():
    pairs = Pairs(known("b_s0", "x", "b_s1", "a"), known("a", "b", "c"), "auto")
    assert pairs.by == "uid" and matched(pairs) == EXPECTED
    assert [pair.index for pair in pairs] == [0, 1, 2, 3]


def test_a_stream_of_predictions_is_paired_as_it_comes():
    taken: list[str] = []
    pairs = Pairs(stream("b_s0", "a", "x", "b_s1", taken=taken), known("a", "b", "c"), "auto")
    came = iter(pairs)
    assert next(came).uid == "b" and taken == ["b_s0"]
    assert next(came).uid == "a" and taken == ["b_s0", "a"]
    assert [(pair.uid, pair.sample) for pair in came] == [("b", 1), ("c", 0)]
    assert (
        sorted(matched(Pairs(stream("b_s0", "a", "x", "b_s1"), known("a", "b", "c"), "uid")), key=str)
        == EXPECTED
    )


def test_a_stream_of_truths_is_paired_as_it_comes():
    taken: list[str] = []
    pairs = Pairs(known("b_s0", "x", "b_s1", "a"), stream("a", "b", "c", taken=taken), "auto")
    assert next(iter(pairs)).uid == "a" and taken == ["a"]
    assert matched(Pairs(known("b_s0", "x", "b_s1", "a"), stream("a", "b", "c"), "auto")) == EXPECTED


def test_a_name_that_is_a_shape_is_no_sample():
    pairs = Pairs(known("b", "b_s0"), known("b", "b_s0"), "auto")
    assert matched(pairs) == [("b", "b", 0), ("b_s0", "b_s0", 0)]
    assert matched(Pairs(known("b_s0", "a"), known("b", "b_s0"), "auto")) == [
        ("b", None, 0),
        ("b_s0", "b_s0", 0),
    ]


@pytest.mark.parametrize("guesses", [known("p", "q"), stream("p", "q")])
def test_by_order_uids_do_not_matter(guesses):
    pairs = Pairs(guesses, known("q", "p"), "order")
    assert pairs.by == "order" and matched(pairs) == [("q", "p", 0), ("p", "q", 0)]


def test_one_with_one_whatever_their_names_and_one_of_many_alone():
    assert matched(Pairs(stream("p"), known("q"), "auto")) == [("q", "p", 0)]
    assert matched(Pairs(known("p"), known("o", "p"), "auto")) == [("p", "p", 0)]
    assert matched(Pairs(stream("p"), known("o", "p"), "auto")) == [("p", "p", 0)]
    with pytest.raises(
        InputError, match="no uid in common: predicted p …, true q …; name the files alike, or"
    ):
        matched(Pairs(known("p"), known("q"), "uid"))


@pytest.mark.parametrize(
    ("guesses", "truths"), [(stream("p", "q"), known("a", "b")), (known("p", "q"), stream("a", "b"))]
)
def test_a_stream_that_shares_no_uid_is_refused_at_its_end(guesses, truths):
    with pytest.raises(InputError, match="no uid in common: predicted p …, true a …; .* add --pair order"):
        matched(Pairs(guesses, truths, "auto"))


def test_unequal_numbers_have_no_order():
    with pytest.raises(
        InputError, match="2 predicted meshes and 3 true ones; by order there must be as many"
    ):
        Pairs(known("p", "q"), known("a", "b", "c"), "order")
