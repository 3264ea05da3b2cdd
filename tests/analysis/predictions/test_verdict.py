"""Verdicts on predictions of every kind, on mixtures, and on the figures of the paper."""

import numpy as np
import pytest

from sdfkit.analysis.predictions.diagnosis import diagnose, judge_alone
from sdfkit.analysis.predictions.truths import GroundTruth
from sdfkit.analysis.ranking import measure_similarity
from sdfkit.analysis.vectors import measure_moments

SETS = {
    "shell": (60, 2000),
    "weights": (20, 54_785),
    "codes": (100, 64),
    "many codes": (976, 64),
    "clusters": (200, 64),
}


class World:
    """A training set, untrained shapes from the same distribution, and noise relative to their standard deviation."""

    def __init__(self, kind, count, dim, seed=0):
        self.rng = np.random.default_rng(seed)
        self.dim = dim
        self.centre = np.zeros(dim)
        self.scale = 0.1
        if kind in ("shell", "weights", "paper"):
            self.centre = self.rng.normal(size=dim)
            self.centre *= 13.39 * 0.9606**0.5 / np.linalg.norm(self.centre)
            self.scale = 13.39 * (0.0394 / dim) ** 0.5
        self.groups = self.rng.normal(size=(5 if kind == "clusters" else 1, dim)) * self.scale
        if kind != "clusters":
            self.groups *= 0
        self.known = self.shapes(count)
        self.moments = measure_moments(self.known, [str(i) for i in range(count)], "known")
        self.mean = self.moments.mean
        self.rows = self.rng.permutation(count)[:12]

    def shapes(self, count):
        group = self.groups[self.rng.integers(0, len(self.groups), count)]
        own = self.rng.normal(size=(count, self.dim)) * self.scale
        return (self.centre + group + own).astype(np.float32)

    def noise(self, count, share):
        scale = (share * self.moments.total_variance / self.dim) ** 0.5
        return self.rng.normal(size=(count, self.dim)) * scale

    def judge(self, predicted, truth="own", shape_of=None):
        count = len(predicted)
        truths = None
        if isinstance(truth, np.ndarray):
            truths = GroundTruth(np.arange(count), truth, np.full(count, len(self.known)))
        elif truth == "own":
            rows = self.rows[np.arange(count) if shape_of is None else shape_of]
            truths = GroundTruth(np.arange(count), self.known[rows], rows)
        shape_of = np.arange(count) if shape_of is None else shape_of
        uids = [f"obj_{row:04d}" for row in range(len(self.known))]
        return diagnose(
            predicted.astype(np.float32), shape_of, truths, self.known, self.moments, uids, 5
        ).verdict


@pytest.fixture(scope="module", params=SETS)
def world(request):
    return World(request.param, *SETS[request.param])


def test_predictions_near_their_training_vectors_are_judged_recall(world):
    for noise in (1e-4, 0.1):
        verdict = world.judge(world.known[world.rows] + world.noise(12, noise))
        assert verdict.name == "recall"
        assert verdict.classes == {"recalled": 12}
        assert verdict.fvu == pytest.approx(noise, rel=0.3)


def test_predictions_near_unseen_truths_are_judged_generalisation(world):
    unseen = world.shapes(16)
    verdict = world.judge(world.mean + 0.8 * (unseen - world.mean) + world.noise(16, 0.2), unseen)
    assert verdict.name == "generalisation"
    assert verdict.deviations > 4
    assert "not in the training set are similar to their truths" in verdict.evidence


def test_vectors_unrelated_to_their_truths_are_judged_noise(world):
    for share in (0.5, 1.0):
        verdict = world.judge(world.mean + world.noise(12, share))
        assert verdict.name == "noise"
        assert verdict.fvu == pytest.approx(1 + share, rel=0.2)
        assert abs(verdict.centred) < 0.15


def test_predictions_near_the_mean_are_judged_collapse_to_the_mean(world):
    for truth in ("own", None, world.shapes(12)):
        assert world.judge(world.mean + world.noise(12, 0.03), truth).name == "collapse to mean"


def test_repeated_predictions_are_judged_collapse_to_attractors(world):
    own = world.known[[3, 3, 7, 3, 3, 7, 3, 3, 7, 3, 3, 7]] + world.noise(12, 0.02)
    for truth in ("own", None):
        verdict = world.judge(own, truth)
        assert verdict.name == "collapse to attractors"
        assert "obj_0003, obj_0007" in verdict.evidence
    # The repeated vector need not be a training vector.
    verdict = world.judge(world.mean + world.noise(1, 1) + world.noise(12, 0.05))
    assert verdict.name == "collapse to attractors"
    assert verdict.evidence.startswith(
        "all inputs give nearly the same vector, which is not a training vector."
    )


def test_copies_of_other_training_vectors_are_judged_recall_or_unclear(world):
    copies = world.known[world.rows]
    # For untrained shapes: the model retrieves.
    verdict = world.judge(copies, world.shapes(12))
    assert verdict.name == "recall"
    assert "12 of 12 predictions are copies of 12 training vectors" in verdict.evidence
    # For trained shapes: for example, rows in another order.
    verdict = world.judge(np.roll(copies, 1, axis=0))
    assert verdict.name == "unclear"
    assert "check that predictions and training vectors use the same uids" in verdict.evidence


def test_mixed_and_borderline_predictions_are_judged_unclear(world):
    truth, is_odd = world.known[world.rows], np.arange(12)[:, None] % 2 == 1
    noise, mean = world.mean + world.noise(12, 1), world.mean + world.noise(12, 0.01)
    for predicted in (
        np.where(is_odd, truth, noise),
        np.where(is_odd, truth, mean),
        np.where(is_odd, mean, noise),
        np.where(is_odd, world.known[3], noise),
        world.mean + world.noise(12, 0.2),
        world.mean + 0.25 * (truth - world.mean),
        world.mean + 0.3 * (truth - world.mean) + world.noise(12, 0.7),
    ):
        verdict = world.judge(predicted)
        assert verdict.name == "unclear", verdict.evidence
    verdict = world.judge(np.where(is_odd, truth, mean))
    assert verdict.evidence.startswith(
        "of the 12 predictions, 6 are recalled and 6 are close to the mean of the training vectors."
    )


def test_without_truths_new_vectors_are_judged_neither_good_nor_bad(world):
    verdict = world.judge(world.shapes(12), None)
    assert verdict.name == "unclear"
    claim = "none of the 12 predictions matches a known vector; give --truth to compare them with the true vectors."
    assert verdict.evidence.startswith(claim)


def test_samples_that_vary_as_much_as_shapes_are_judged_noise_without_truths(world):
    shape_of = np.repeat(np.arange(12), 4)
    verdict = world.judge(world.mean + world.noise(48, 1), None, shape_of)
    assert verdict.name == "noise"
    assert verdict.within == pytest.approx(1, abs=0.15)
    # Samples of one shape count once: 48 that follow 2 shapes are no evidence of generalisation.
    two = np.repeat(np.arange(2), 24)
    near = world.mean + 0.7 * (world.known[world.rows[two]] - world.mean) + world.noise(48, 0.6)
    assert world.judge(near, "own", two).shapes == 2


def test_the_papers_cosines_are_judged_as_the_mean_plus_noise():
    # 199 weight vectors as in phases 6 to 9, three of them central as obj_0054, 0055 and 0172 (cosine to the mean
    # 0.995); four predictions with a cosine of 0.9698 to their truths, where the mean's is 0.980.
    world = World("paper", 199, 6000)
    for row in (54, 55, 172):
        world.known[row] = world.mean + 0.49 * (world.known[row] - world.mean)
    world.moments = measure_moments(world.known, [str(row) for row in range(199)], "known")
    world.rows = np.array([0, 50, 100, 119])
    share = ((0.9606**0.5 / 0.9698) ** 2 - 1) * 0.9606 / 0.0394
    predicted = world.mean + world.noise(4, share)
    truth = GroundTruth(np.arange(4), world.known[world.rows], world.rows)
    uids = [f"obj_{row:04d}" for row in range(199)]
    found = diagnose(predicted.astype(np.float32), np.arange(4), truth, world.known, world.moments, uids, 5)
    assert found.truth.cosine.mean() == pytest.approx(0.9698, abs=0.001)
    assert found.truth.mean_cosine.mean() == pytest.approx(0.980, abs=0.001)
    # The paper's attractors, at the cosines that it found: they are central, and the predictions are not like them.
    assert {*found.ranking.order[:, :3].ravel().tolist()} == {54, 55, 172}
    assert np.all((found.ranking.cosine[:, :3] > 0.983) & (found.ranking.cosine[:, :3] < 0.988))
    assert found.verdict.name == "noise"
    assert found.verdict.evidence.startswith("the predictions are the training mean plus noise: ")
    why = "because they are close to the training mean, not because the predictions resemble them"
    assert why in found.verdict.evidence
    assert {"obj_0054", "obj_0055", "obj_0172"} <= set(found.verdict.evidence.replace(",", "").split())
    assert found.verdict.fvu == pytest.approx(1 + share, rel=0.05)


@pytest.mark.parametrize(
    ("own", "name"),
    [
        (np.ones((9, 8)) + 1e-3, "collapse"),
        (np.random.default_rng(0).normal(size=(9, 8)), "no collapse"),
        (5 + np.random.default_rng(0).normal(size=(9, 8)), "unclear"),
    ],
)
def test_without_training_vectors_only_clear_collapse_is_reported(own, name):
    own = own.astype(np.float32)
    similarity = measure_similarity(own, measure_moments(own, [str(row) for row in range(9)], "x"))
    assert judge_alone(similarity)[0] == name
