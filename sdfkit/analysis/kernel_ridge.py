"""Kernel ridge regression: a baseline for networks that map features of images to codes of shapes."""

from itertools import product

import numpy as np
from jaxtyping import Float
from scipy.linalg import eigh
from scipy.spatial.distance import cdist

# Candidates among which leave-one-out errors choose: bandwidths as multiples of the median distance between features,
# and penalties as shares of the kernel's mean eigenvalue, which is 1.
BANDWIDTHS = (0.35, 0.5, 0.7, 1.0, 1.4, 2.0)
PENALTIES = (1e-3, 1e-2, 3e-2, 0.1, 0.3, 1.0)
# A standard deviation that is a smaller share of the mean is rounding.
LEAST_DEVIATION = 1e-6


class KernelRidge:
    """A regression from features to vectors, with a Gaussian kernel.

    The bandwidth of the kernel and the penalty are those with the least leave-one-out error on the given shapes, which
    follows in closed form from one eigendecomposition per bandwidth. Predictions are shrunk towards the mean of
    `targets`: far from all known features, the prediction is this mean.

    Args:
        features: One feature vector per shape. They are standardised, number by number; numbers that are equal in all
            shapes are left out.
        targets: The vector of each shape that is to be predicted, such as its code.

    Attributes:
        bandwidth: The chosen bandwidth, as a multiple of the median distance between two shapes.
        penalty: The chosen penalty.
        error: The leave-one-out error: mean squared error as a share of the variance of `targets`; 1 is that of a
            prediction of the mean, as if features said nothing.

    Reference: Saunders et al., Ridge Regression Learning Algorithm in Dual Variables (1998).
    """

    def __init__(
        self, features: Float[np.ndarray, "shape dim"], targets: Float[np.ndarray, "shape number"]
    ) -> None:
        self._mean, deviation = features.mean(axis=0), features.std(axis=0)
        # A number that is constant here may differ in a query, which must not count as infinitely far away for it.
        self._scale = np.where(deviation > LEAST_DEVIATION * np.abs(self._mean), deviation, np.inf)
        self._known = (features - self._mean) / self._scale
        self._centre = targets.mean(axis=0)
        residual = targets - self._centre
        distances = cdist(self._known, self._known)
        between = distances[~np.eye(len(distances), dtype=bool)]
        self._median = max(float(np.median(between)), 1e-9) if len(between) else 1.0
        variance = max(float(np.square(residual).mean()), 1e-30)
        self.error = np.inf
        for bandwidth, penalty in product(BANDWIDTHS, PENALTIES):
            if penalty == PENALTIES[0]:
                values, vectors = eigh(self._kernel(distances, bandwidth))
                projected = vectors.T @ residual
            inverse = vectors / (values + penalty)
            weights = inverse @ projected
            left_out = weights / np.maximum((inverse * vectors).sum(axis=1), 1e-30)[:, None]
            error = float(np.square(left_out).mean()) / variance
            if error < self.error:
                self.error, self.bandwidth, self.penalty, self._weights = error, bandwidth, penalty, weights

    def predict(self, features: Float[np.ndarray, "query dim"]) -> Float[np.ndarray, "query number"]:
        """Predict the vectors of shapes from their features."""
        distances = cdist((features - self._mean) / self._scale, self._known)
        predicted: Float[np.ndarray, "query number"] = (
            self._centre + self._kernel(distances, self.bandwidth) @ self._weights
        )
        return predicted

    def _kernel(
        self, distances: Float[np.ndarray, "query shape"], bandwidth: float
    ) -> Float[np.ndarray, "query shape"]:
        kernel: Float[np.ndarray, "query shape"] = np.exp(
            -0.5 * np.square(distances / (bandwidth * self._median))
        )
        return kernel
