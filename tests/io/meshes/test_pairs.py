"""Which predicted mesh belongs to which true one, with each side once as a stream."""

import pytest

from sdfkit.errors import InputError
from sdfkit.io.meshes.pairs import MeshPairs, Pairing
from sdfkit.io.meshes.reader import Meshes, MeshRow


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


def pair_up(guesses: Meshes, truths: Meshes, how: Pairing, *, all_due: bool = False) -> MeshPairs:
    return MeshPairs(guesses, truths, how, all_due=all_due)


def matched(pairs: MeshPairs) -> list[tuple[str, list[str]]]:
    return [(pair.uid, [guess.uid for guess in pair.guesses]) for pair in pairs]


EXPECTED = [("a", ["a"]), ("b", ["b_s0", "b_s1"]), ("c", [])]


def test_files_are_paired_in_the_order_of_the_truths():
    pairs = pair_up(known("b_s0", "x", "b_s1", "a"), known("a", "b", "c"), "auto")
    assert pairs.by == "uid" and matched(pairs) == EXPECTED
    assert [pair.index for pair in pairs] == [0, 1, 2]
    assert pairs.count == 3


def test_a_mesh_that_names_its_shape_is_a_sample_of_that_and_of_nothing_else():
    def samples(*of):
        return [MeshRow(index, f"b_s{index}", sample_of=uid) for index, uid in enumerate(of)]

    rows = samples("a", "b_s0", "b")
    truths = ("a", "b", "b_s0")
    expected = [("a", ["b_s0"]), ("b", ["b_s2"]), ("b_s0", ["b_s1"])]
    assert matched(pair_up(Meshes(rows, iter(()), 3, []), known(*truths), "auto")) == expected
    assert matched(pair_up(Meshes(rows, iter(()), 3, []), stream(*truths), "auto")) == expected
    came = matched(pair_up(Meshes(None, iter(rows), 3, []), known(*truths), "auto"))
    assert sorted(came) == expected


def test_a_stream_of_predictions_is_paired_as_it_comes():
    taken: list[str] = []
    pairs = pair_up(stream("b_s0", "b_s1", "a", "x", "y", taken=taken), known("a", "b", "c"), "auto")
    came = iter(pairs)
    # That the samples of one shape are all there is known when the next shape's first has come.
    assert next(came).uid == "b" and taken == ["b_s0", "b_s1", "a"]
    assert next(came).uid == "a" and taken == ["b_s0", "b_s1", "a", "x"]
    assert [pair.uid for pair in came] == ["c"]
    uids = ("b_s0", "b_s1", "x", "a")
    assert sorted(matched(pair_up(stream(*uids), known("a", "b", "c"), "uid"))) == EXPECTED


def test_a_stream_of_truths_is_paired_as_it_comes():
    taken: list[str] = []
    pairs = pair_up(known("b_s0", "x", "b_s1", "a"), stream("a", "b", "c", taken=taken), "auto")
    assert next(iter(pairs)).uid == "a" and taken == ["a"]
    assert matched(pair_up(known("b_s0", "x", "b_s1", "a"), stream("a", "b", "c"), "auto")) == EXPECTED


def test_a_name_that_is_a_shape_is_no_sample():
    pairs = pair_up(known("b", "b_s0"), known("b", "b_s0"), "auto")
    assert matched(pairs) == [("b", ["b"]), ("b_s0", ["b_s0"])]
    assert matched(pair_up(known("b_s0", "a"), known("b", "b_s0"), "auto")) == [("b", []), ("b_s0", ["b_s0"])]


@pytest.mark.parametrize("guesses", [known("p", "q"), stream("p", "q")])
def test_by_order_uids_do_not_matter(guesses):
    pairs = pair_up(guesses, known("q", "p"), "order")
    assert pairs.by == "order" and matched(pairs) == [("q", ["p"]), ("p", ["q"])]


def test_one_with_one_whatever_their_names_and_one_of_many_alone():
    assert matched(pair_up(stream("p"), known("q"), "auto")) == [("q", ["p"])]
    assert matched(pair_up(known("p"), known("o", "p"), "auto")) == [("p", ["p"])]
    assert matched(pair_up(stream("p"), known("o", "p"), "auto")) == [("p", ["p"])]
    with pytest.raises(
        InputError,
        match="predicted meshes \\(p …\\) and true meshes \\(q …\\) have no uid in common; give the files",
    ):
        matched(pair_up(known("p"), known("q"), "uid"))


@pytest.mark.parametrize(("guesses", "truths"), [((), "opq"), (("p",), "opq"), ((), "o")])
def test_where_all_are_due_one_or_none_leaves_the_others_unpredicted(guesses, truths):
    expected = [(uid, [uid] * (uid in guesses)) for uid in truths]
    assert matched(pair_up(known(*guesses), known(*truths), "auto", all_due=True)) == expected
    assert matched(pair_up(known(*guesses), stream(*truths), "auto", all_due=True)) == expected


@pytest.mark.parametrize(
    ("guesses", "truths"), [(stream("p", "q"), known("a", "b")), (known("p", "q"), stream("a", "b"))]
)
def test_a_stream_that_shares_no_uid_is_refused_at_its_end(guesses, truths):
    with pytest.raises(InputError, match="true meshes \\(a …\\) have no uid in common; .* add --pair order"):
        matched(pair_up(guesses, truths, "auto"))


def test_unequal_numbers_have_no_order():
    with pytest.raises(
        InputError, match="2 predicted and 3 true meshes cannot be paired by order; give as many"
    ):
        pair_up(known("p", "q"), known("a", "b", "c"), "order")
