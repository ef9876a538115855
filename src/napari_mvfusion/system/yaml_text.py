"""Plain values from text in YAML, whatever the text holds."""

from __future__ import annotations

import yaml

from napari_mvfusion.system.file_checks import parsing


class _Loader(yaml.SafeLoader):
    """Refuses aliases: a few of them, each naming the one before twice, stand for more values than memory holds."""

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("aliases, as *name, are not read")
        node: yaml.Node | None = super().compose_node(parent, index)
        return node


def parse_yaml(text: str, source: str) -> object:
    """The plain values of a text in YAML or JSON.

    Parameters
    ----------
    text : a whole file, or one value
    source : where it comes from, for the message

    Raises
    ------
    InputError
        If it is no YAML, a date or number in it cannot be one, or it is nested without end.
    """
    with parsing(f"{source} is no readable YAML or JSON", "check its brackets, quotes and numbers"):
        values: object = yaml.load(text, _Loader)
    return values
