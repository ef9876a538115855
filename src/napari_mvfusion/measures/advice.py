"""What a look at whole views finds that a user should know before they are fused, in words."""

from __future__ import annotations

from napari_mvfusion.data.views import RegisteredViews
from napari_mvfusion.measures.gains import find_gains


def about_gains(views: RegisteredViews) -> list[str]:
    """One line for each view that is brighter or darker than the others everywhere, with what would mend it."""
    found = []
    for view, gain in zip(views.views, find_gains(views), strict=True):
        if gain != 1:
            brighter = f"{gain:.3g} times as bright as" if gain > 1 else f"{1 / gain:.3g} times darker than"
            found.append(
                f"{view.label} is {brighter} the others everywhere, so it counts too much or too little: divide it by its "
                f"gain (--gain {view.name}={view.gain * gain:.3g}, or gain of the view)"
            )
    return found


def about_hot_pixels(views: RegisteredViews) -> list[str]:
    """One line for each view that has hot pixels: what they do, or that they were removed.

    Parameters
    ----------
    views : their statistics are computed where `RegisteredViews.scan` has not run yet
    """
    found = []
    for view, numbers in zip(views.views, views.statistics(), strict=True):
        if not numbers.hot:
            continue
        several = "1 hot pixel" if numbers.hot == 1 else f"{numbers.hot} hot pixels"
        if view.remove_hot:
            found.append(f"{several} of {view.label} {_are(numbers.hot)} replaced by the median of the neighbours")
        else:
            found.append(
                f"{view.label} has {several}, which {'stays' if numbers.hot == 1 else 'stay'} in the result with what is "
                "round them: have hot pixels removed (--remove-hot, or remove_hot of the view)"
            )
    return found


def _are(count: int) -> str:
    return "is" if count == 1 else "are"
