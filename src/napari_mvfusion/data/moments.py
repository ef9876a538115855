"""Streaming sums of pairs of values: least-squares fit, what it leaves, and correlation."""

from __future__ import annotations

from math import inf, sqrt

import numpy as np

# Values that spread by less than this share of their size are constant: they were float32 once.
_CONSTANT = 1e-6


class PairMoments:
    """Sums over pairs (target, predictor) that arrive in pieces, in float64 about the means of the first piece.

    Attributes
    ----------
    count : pairs so far
    low, high : float64 (2,), least and greatest target and predictor so far
    """

    def __init__(self) -> None:
        self.count = 0
        self.low, self.high = np.full(2, inf), np.full(2, -inf)
        self._centre = np.zeros(2)
        self._sums = np.zeros(2)
        self._products = np.zeros((2, 2))

    def add(self, target: np.ndarray, predictor: np.ndarray) -> None:
        """Take in arrays of one shape."""
        if target.size == 0:
            return
        pair = np.stack([target.ravel(), predictor.ravel()]).astype(np.float64, copy=False)
        self.low = np.minimum(self.low, pair.min(axis=1))
        self.high = np.maximum(self.high, pair.max(axis=1))
        if self.count == 0:
            self._centre = pair.mean(axis=1)
        pair -= self._centre[:, None]
        self.count += pair.shape[1]
        self._sums += pair.sum(axis=1)
        self._products += pair @ pair.T

    @property
    def means(self) -> np.ndarray:
        """Mean target and predictor, float64 (2,)."""
        return np.asarray(self._centre + self._sums / self.count)

    def fit(self, *, with_offset: bool = True) -> tuple[float, float]:
        """Scale and offset of least squares, `target = scale * predictor + offset`.

        The scale is 0 where the predictor is constant (or, without an offset, zero) and nothing can be fitted.
        """
        if not with_offset:
            raw = self._raw()
            return (float(raw[0, 1] / raw[1, 1]) if raw[1, 1] > 0 else 0.0), 0.0
        covariance = self._covariance()
        scale = 0.0 if self._constant()[1] else float(covariance[0, 1] / covariance[1, 1])
        return scale, float(self.means[0] - scale * self.means[1])

    def left_over(self, scale: float, offset: float) -> float:
        """Sum of the squares of `target - scale * predictor - offset`."""
        direction = np.array([1.0, -scale])
        bias = float(direction @ self.means) - offset
        return max(float(direction @ self._covariance() @ direction), 0.0) + self.count * bias**2

    def correlation(self) -> float:
        """Pearson correlation; 0 where there are no pairs or either value is constant."""
        if self.count == 0 or self._constant().any():
            return 0.0
        covariance = self._covariance()
        return float(np.clip(covariance[0, 1] / sqrt(covariance[0, 0] * covariance[1, 1]), -1, 1))

    def _constant(self) -> np.ndarray:
        """Which of target and predictor is the same everywhere."""
        spread = np.sqrt(np.maximum(np.diag(self._covariance()), 0) / self.count)
        return np.asarray(spread <= _CONSTANT * np.maximum(np.abs(self.low), np.abs(self.high)))

    def _covariance(self) -> np.ndarray:
        """Return the sums of products about the means."""
        return np.asarray(self._products - np.outer(self._sums, self._sums) / self.count)

    def _raw(self) -> np.ndarray:
        """Return the sums of products about zero."""
        return np.asarray(self._covariance() + self.count * np.outer(self.means, self.means))
