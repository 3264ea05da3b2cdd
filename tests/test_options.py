"""Bundles of options: on the command line they are options like others, in the command they are one value."""

import inspect

from sdfkit.options import Watch, flatten


def command(path: str, *, watch: Watch = Watch(), seed: int = 0) -> None:
    """Record what it is given."""
    given.append((path, watch, seed))


given: list[tuple[str, Watch, int]] = []


def test_the_fields_of_a_bundle_are_options_in_its_place():
    flat = flatten(command)
    assert [*inspect.signature(flat).parameters] == ["path", *Watch._fields, "seed"]
    assert flat.__doc__ == command.__doc__
    flat(path="a", **Watch(dry_run=True)._asdict(), seed=3)
    assert given == [("a", Watch(dry_run=True), 3)]


def test_a_command_without_bundles_stays_as_it_is():
    def plain(seed: int = 0) -> None: ...

    assert flatten(plain) is plain
