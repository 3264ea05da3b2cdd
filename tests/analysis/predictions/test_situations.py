"""Verdicts on synthetic situations: each is right, or withheld with its reason, in sets of several sizes."""

import numpy as np
import pytest

from sdfkit.analysis.predictions.diagnosis import diagnose
from sdfkit.analysis.predictions.kinds import Labels
from sdfkit.analysis.predictions.truths import GroundTruth
from sdfkit.analysis.vectors import measure_moments

SHAPES = 15
# Number of training vectors, of dimensions and of categories; share of the variance between categories; length of the
# mean relative to the standard deviation of a vector.
SETS = {
    "few codes": (24, 64, 4, 0.5, 0.0),
    "codes": (200, 64, 20, 0.5, 0.2),
    "kinds far apart": (120, 32, 6, 0.9, 0.0),
    "no kinds": (100, 64, 10, 0.0, 0.1),
    "weights": (60, 800, 5, 0.5, 5.0),
}


class Situation:
    """A training set with categories, truths inside and outside it, and predictions that are made from both."""

    def __init__(self, count, dim, kinds, share, shift, seed=0):
        self.rng = np.random.default_rng(seed)
        self.dim = dim
        self.centre = self.rng.normal(size=dim) * 0.1 * shift
        self.scales = 0.1 * self.rng.uniform(0.5, 1.5, dim)
        self.groups = share**0.5 * self.rng.normal(size=(kinds, dim))
        self.own = (1 - share) ** 0.5
        self.kind = np.arange(count) % kinds
        self.known = self.draw(self.kind)
        self.moments = measure_moments(self.known, [str(row) for row in range(count)], "known")
        self.rows = self.rng.permutation(count)[:SHAPES]
        self.unseen_kind = self.rng.integers(0, kinds, SHAPES)
        self.unseen = self.draw(self.unseen_kind)

    def draw(self, kind):
        own = self.own * self.rng.normal(size=(len(kind), self.dim))
        return (self.centre + self.scales * (self.groups[kind] + own)).astype(np.float32)

    def noise(self, share):
        scale = (share * self.moments.total_variance / self.dim) ** 0.5
        return scale * self.rng.normal(size=(SHAPES, self.dim))

    def kind_means(self, kind):
        return np.stack([self.known[self.kind == each].mean(axis=0) for each in kind])

    def judge(self, predicted, truth, *, rows=slice(None), labelled=True, known=slice(None)):
        """Return the verdict; the truth is "known", "unseen" or None."""
        kept, kind = self.known[known], self.kind[self.rows] if truth == "known" else self.unseen_kind
        predicted = predicted[rows].astype(np.float32)
        count, truths = len(predicted), None
        if truth == "known":
            truths = GroundTruth(np.arange(count), self.known[self.rows][rows], self.rows[rows])
        elif truth == "unseen":
            truths = GroundTruth(np.arange(count), self.unseen[rows], np.full(count, len(kept)))
        labels = Labels([str(each) for each in kind[rows]], [str(each) for each in self.kind[known]])
        uids = [f"obj_{row:04d}" for row in range(len(kept))]
        moments = measure_moments(kept, uids, "known")
        return diagnose(
            predicted, np.arange(count), truths, kept, moments, uids, 5, labels if labelled else None
        ).verdict


def truth_of(world, truth):
    return world.known[world.rows] if truth == "known" else world.unseen


def centred(world, truth, factor):
    return world.moments.mean + factor * (truth_of(world, truth) - world.moments.mean)


def standardised(world, truth):
    return (truth_of(world, truth) - world.moments.mean) / np.sqrt(world.moments.variance)


def nearest_known(world, truth):
    own = world.unseen[:, None] - world.known
    return world.known[np.square(own).sum(axis=2).argmin(axis=1)]


# Predictions from a world; where the truths are; the verdict; words of the evidence.
SITUATIONS = {
    "mean": (lambda w: w.moments.mean + w.noise(0.02), ("known", "unseen", None), "collapse to mean", ""),
    "one vector": (
        lambda w: w.moments.mean + w.noise(1.5)[:1] + w.noise(0.01),
        ("unseen", None),
        "collapse to attractors",
        "all inputs give nearly the same vector",
    ),
    "look-up": (lambda w: nearest_known(w, "unseen"), ("unseen",), ("recall", "unclear"), "are copies of"),
    "recall": (lambda w: truth_of(w, "known") + w.noise(0.001), ("known",), "recall", "are recalled"),
    "noise": (
        lambda w: w.moments.mean + w.noise(1.0),
        ("known", "unseen"),
        "noise",
        "not as their truths do",
    ),
    "far noise": (
        lambda w: w.moments.mean + w.noise(50),
        ("known", "unseen"),
        "noise",
        "unrelated to their truths",
    ),
    "times 10": (lambda w: 10 * w.unseen, ("unseen",), "wrong scale", "10 times their truths"),
    "divided by 10": (lambda w: w.unseen / 10, ("unseen",), "wrong scale", "0.1 times their truths"),
    "training vectors times 10": (
        lambda w: 10 * w.known[w.rows],
        ("known",),
        "wrong scale",
        "10 times their truths",
    ),
    "standardised": (lambda w: standardised(w, "unseen"), ("unseen",), "wrong scale", "still standardised"),
    "standardised recall": (
        lambda w: standardised(w, "known"),
        ("known",),
        "wrong scale",
        "still standardised",
    ),
    "standardised without truths": (
        lambda w: standardised(w, "unseen"),
        (None,),
        "unclear",
        "may still be standardised: undoing that",
    ),
    "far without truths": (lambda w: w.moments.mean + 1e4 * w.noise(1), (None,), "unclear", "another model"),
    "negated": (lambda w: -w.unseen, ("unseen",), "wrong scale", "-1 times their truths"),
    "negated about the mean": (lambda w: centred(w, "unseen", -1), ("unseen",), "wrong scale", ""),
    "other order": (lambda w: np.roll(w.unseen, 1, axis=0), ("unseen",), "unclear", "check the order"),
    "other order of training vectors": (
        lambda w: np.roll(w.known[w.rows], 1, axis=0),
        ("known",),
        "unclear",
        "check that predictions and training vectors use the same uids",
    ),
    "generalisation": (
        lambda w: w.unseen + w.noise(0.1),
        ("unseen",),
        "generalisation",
        "mean of their category",
    ),
    "shrunk and noisy": (
        lambda w: centred(w, "unseen", 0.8) + w.noise(0.2),
        ("unseen",),
        "generalisation",
        "mean of their category",
    ),
    "unseen without truths": (lambda w: w.unseen, (None,), "unclear", "give --truth"),
}


@pytest.fixture(scope="module", params=SETS)
def world(request):
    return Situation(*SETS[request.param])


@pytest.mark.parametrize("name", SITUATIONS)
def test_every_situation_gets_its_verdict_or_a_reason(world, name):
    predict, places, verdict, words = SITUATIONS[name]
    for truth in places:
        found = world.judge(predict(world), truth)
        assert (
            found.name in ((verdict,) if isinstance(verdict, str) else verdict) and words in found.evidence
        ), (truth, found)


@pytest.mark.parametrize("truth", ["known", "unseen"])
@pytest.mark.parametrize("noise", [0.0, 0.02, 0.1])
@pytest.mark.parametrize("name", ["few codes", "codes", "kinds far apart", "weights"])
def test_means_of_categories_are_kinds_only(name, noise, truth):
    world = Situation(*SETS[name])
    kind = world.kind[world.rows] if truth == "known" else world.unseen_kind
    predicted = world.kind_means(kind) + world.noise(noise)
    assert world.judge(predicted, truth).name == "kinds only"
    unlabelled = world.judge(predicted, truth, labelled=False)
    assert unlabelled.name != "generalisation" or "because categories are missing" in unlabelled.evidence
    if not noise:
        assert world.judge(predicted, None if truth == "unseen" else "known").name == "kinds only"


def test_generalisation_ends_at_noise_that_hides_the_truth(world):
    names = [world.judge(world.unseen + world.noise(noise), "unseen").name for noise in (0.05, 0.3, 1.5, 4)]
    assert names[:2] == ["generalisation"] * 2
    assert "generalisation" not in names[2:] and "recall" not in names


@pytest.mark.parametrize("name", ["recall", "mean", "noise", "generalisation", "one vector"])
def test_few_shapes_and_few_training_vectors_get_no_verdict(world, name):
    predict, (truth, *_), *_ = SITUATIONS[name]
    for count in (1, 2):
        found = world.judge(predict(world), truth, rows=slice(count))
        assert found.name == "unclear" and "a verdict needs at least 3 different shapes" in found.evidence
    few = world.judge(predict(world), truth if truth == "unseen" else None, known=slice(3))
    assert few.name == "unclear"
    assert "a verdict needs at least 8 training vectors, but there are 3" in few.evidence


@pytest.mark.parametrize("dim", [1, 2, 3])
def test_few_dimensions_get_no_verdict(dim):
    world = Situation(100, dim, 5, 0.5, 0.0)
    found = world.judge(world.unseen + world.noise(0.1), "unseen")
    assert found.name == "unclear" and "vectors at random are often similar" in found.evidence


@pytest.mark.parametrize("dim", [5, 6, 8])
@pytest.mark.parametrize("count", [8, 24, 100])
def test_vectors_at_random_get_no_verdict_of_similarity(count, dim):
    for seed in range(20):
        world = Situation(count, dim, 2, 0.0, 0.0, seed)
        shapes = slice(3 + seed % 12)
        noise = world.moments.mean + world.noise(1.0)
        for truth in ("unseen", None):
            found = world.judge(noise, truth, rows=shapes)
            assert found.name in ("noise", "unclear"), (seed, truth, found)
