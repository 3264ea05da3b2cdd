from sdfkit.models.layers import count_parameters, layer_lengths, name_layers
from sdfkit.models.mlp import PRESETS


def test_layers_have_the_papers_sizes():
    parts = name_layers(PRESETS["relu-pe"])
    assert parts[:2] == [("layer 1 weight", 39 * 128), ("layer 1 bias", 128)]
    assert parts[-1] == ("layer 5 bias", 1)
    assert sum(length for _, length in parts) == 54_785


def test_lengths_of_parts_and_layers_add_up_to_the_vector():
    for config in PRESETS.values():
        lengths = [length for _, length in name_layers(config)]
        assert [sum(pair) for pair in zip(lengths[::2], lengths[1::2], strict=True)] == layer_lengths(config)
        assert sum(lengths) == count_parameters(config)
