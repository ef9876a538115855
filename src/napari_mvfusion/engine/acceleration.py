"""How far beyond the last estimate an accelerated iteration begins: a share of the last change of the estimate."""

from __future__ import annotations

from collections.abc import Sequence

# Steps that tell how iterations behave, before the first extrapolation.
_FIRST_STEPS = 2


def extrapolation_factor(steps: Sequence[float]) -> float:
    """The share `a` of the last change that the next iteration begins beyond the estimate, 0 to below 1.

    The next iteration begins at `x + a (x - x before)`. With r the ratio of the last two steps and m the number of
    iterations since steps last grew, `a = min(m / (m + 3), r)`; where the last step grew, and in the first two iterations,
    it is 0. The first term is that of accelerated gradients (Nesterov), which looks further ahead the longer all goes
    well; the second one, after Biggs and Andrews (Applied Optics 36, 1997), keeps it from running ahead of iterations that
    hardly change anything any more.

    Parameters
    ----------
    steps : how far each finished iteration moved from where it began to read, L2 norm, at least 0
    """
    count, begun = len(steps), 0
    for number in range(_FIRST_STEPS, count + 1):
        if steps[number - 1] > steps[number - 2]:
            begun = number
    if count < _FIRST_STEPS or begun == count or steps[-2] == 0:
        return 0.0
    return min((count - begun) / (count + 3 - begun), steps[-1] / steps[-2])
