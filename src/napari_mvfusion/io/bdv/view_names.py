"""What the views of a project are called: by their angle where that is enough, else with what tells them apart."""

from __future__ import annotations

from collections.abc import Sequence

from napari_mvfusion.io.bdv.project import KINDS, Project, ViewSetup


def names_of(project: Project, setups: Sequence[ViewSetup], kinds: Sequence[str] = KINDS) -> list[str]:
    """Names of views, one a setup, all different: "90", "90 illumination 1", "tile 3".

    Parameters
    ----------
    project : with the names of angles, illuminations, tiles and channels
    setups : of the views that are opened together
    kinds : what may tell them apart
    """
    rows = [{kind: part.name for kind in kinds if (part := project.part(kind, setup)) is not None} for setup in setups]
    telling = [kind for kind in kinds if len({row.get(kind) for row in rows}) > 1]
    if not telling and any("angle" in row for row in rows):
        telling = ["angle"]
    names = [
        " ".join(row[kind] if kind == "angle" else f"{kind} {row[kind]}" for kind in telling if kind in row)
        for row in rows
    ]
    # A list of names is separated by commas.
    names = [name.replace(",", " ") for name in names]
    return [
        name if name and names.count(name) == 1 else f"{name} setup {setup.number}".strip()
        for name, setup in zip(names, setups, strict=True)
    ]
