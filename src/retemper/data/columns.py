"""Which column of a table holds the inputs, and which the labels."""

from typing import Any

from retemper.errors import DataError

Features = dict[str, Any]

_LABEL_NAMES = ("label", "labels", "target", "y", "class")


def label_column(features: Features, chosen: str | None, source: str) -> str:
    """Find the labels: the one `ClassLabel`, else the one column with a usual name."""
    from datasets import ClassLabel

    if chosen is not None:
        return _present(features, chosen, "label_column", source)
    declared = [name for name, feature in features.items() if isinstance(feature, ClassLabel)]
    named = [name for name in _LABEL_NAMES if name in features]
    candidates = declared if len(declared) == 1 else named
    if len(candidates) != 1:
        raise DataError(
            f"Expected one column of labels in {source}, but the columns are {list(features)}; "
            "name it with `label_column` of `retemper.load`, or call it `label`."
        )
    return candidates[0]


def image_column(features: Features, chosen: str | None, source: str) -> str | None:
    """Find the images; None if the table has none and so holds vectors."""
    from datasets import Image

    if chosen is not None:
        return _present(features, chosen, "image_column", source)
    candidates = [name for name, feature in features.items() if isinstance(feature, Image)]
    if len(candidates) > 1:
        raise DataError(f"Expected one column of images in {source}, but got {candidates}; pass `image_column`.")
    return candidates[0] if candidates else None


def vector_columns(features: Features, label: str, source: str) -> list[str]:
    """Find the numbers of a table without images: its one list column, else all numeric columns."""
    from datasets import Value

    rest = {name: feature for name, feature in features.items() if name != label}
    lists = [name for name, feature in rest.items() if is_list(feature)]
    if len(lists) == 1:
        return lists
    numeric = [
        name
        for name, feature in rest.items()
        if isinstance(feature, Value) and feature.dtype.startswith(("int", "uint", "float", "bool"))
    ]
    if len(lists) > 1 or not numeric:
        raise DataError(
            f"Expected a column of images, one of lists of numbers, or numeric columns in {source}, but the "
            f"columns are {list(features)}; name the inputs with `image_column`."
        )
    return numeric


def is_list(feature: Any) -> bool:
    """Tell whether a column holds a list or array in each row."""
    from datasets import Array2D, Array3D, LargeList, List

    return isinstance(feature, (List, LargeList, Array2D, Array3D))


def _present(features: Features, name: str, argument: str, source: str) -> str:
    if name not in features:
        raise DataError(f"Expected `{argument}` to be a column of {source}, {list(features)}, but got {name!r}.")
    return name
