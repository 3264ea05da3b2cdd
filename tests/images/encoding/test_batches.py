import numpy as np
import pytest

from sdfkit.images.encoding.batches import Batches


@pytest.mark.parametrize("batch", [1, 3, 4, 100])
def test_batches_span_shapes_and_rows_keep_their_order(batch):
    sizes = []

    def encode(views):
        sizes.append(len(views))
        return {"feature": np.array(views)[:, None], "token": np.array(views)[:, None, None] + [[1], [2]]}

    shapes = {"a": [1, 2], "failed": [], "b": [3, 4, 5, 6, 7], "c": [8], "d": [9, 10, 11], "last": []}
    batches = Batches(encode, batch)
    found = [pair for key, views in shapes.items() for pair in batches.add(key, views)] + batches.finish()
    assert [key for key, _ in found] == list(shapes)
    assert sizes[:-1] == [batch] * (len(sizes) - 1)
    assert sum(sizes) == 11
    for (_, arrays), views in zip(found, shapes.values(), strict=True):
        assert set(arrays) == ({"feature", "token"} if views else set())
        if views:
            assert arrays["feature"].tolist() == [[view] for view in views]
            assert arrays["token"].tolist() == [[[view + 1], [view + 2]] for view in views]


def test_a_shape_is_returned_as_soon_as_its_last_batch_is_done():
    batches = Batches(lambda views: {"feature": np.array(views)}, 2)
    assert batches.add("failed", []) == [("failed", {})]
    assert batches.add("a", [1]) == []
    assert batches.add("failed too", []) == []
    assert [key for key, _ in batches.add("b", [2, 3])] == ["a", "failed too"]
    assert [key for key, _ in batches.add("c", [4])] == ["b", "c"]
    assert batches.finish() == []
