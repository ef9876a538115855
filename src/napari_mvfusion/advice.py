"""What a look at whole views finds that a user should know before they are fused, in words."""

from __future__ import annotations

from napari_mvfusion.views import RegisteredViews


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
