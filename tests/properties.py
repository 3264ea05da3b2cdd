"""Number of examples for each property-based test.

By default hypothesis draws the same examples in every run on every machine. `pytest --hypothesis-profile long` draws
new examples, twenty times as many; add failing ones as `@example`.
"""

from hypothesis import settings

PROFILES = {"fixed": 100, "long": 2000}


def register_profiles() -> None:
    """Register both profiles with hypothesis, and load the fixed one."""
    for name, count in PROFILES.items():
        settings.register_profile(
            name, max_examples=count, derandomize=name == "fixed", deadline=None, print_blob=True
        )
    settings.load_profile("fixed")


def examples(count: int) -> settings:
    """Return settings for a property that is tested on `count` examples by default, and on more in the long profile."""
    return settings(max_examples=count * settings().max_examples // PROFILES["fixed"])
