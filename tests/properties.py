"""How many examples a property is tried on.

By default hypothesis draws the same examples in every run, on every machine. `pytest --hypothesis-profile long` draws
new ones, twenty times as many; what it finds becomes an `@example`.
"""

from hypothesis import settings

PROFILES = {"fixed": 100, "long": 2000}


def register_profiles() -> None:
    """Make both profiles known to hypothesis, and load the fixed one."""
    for name, count in PROFILES.items():
        settings.register_profile(
            name, max_examples=count, derandomize=name == "fixed", deadline=None, print_blob=True
        )
    settings.load_profile("fixed")


def examples(count: int) -> settings:
    """Settings of a property that is tried on `count` examples by default, and on more by the long profile."""
    return settings(max_examples=count * settings().max_examples // PROFILES["fixed"])
