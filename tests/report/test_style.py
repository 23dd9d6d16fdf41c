from retemper.report.style import styles


def _luminance(colour: str) -> float:
    """Relative luminance as WCAG 2 defines it."""
    channels = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4 for value in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_no_two_of_many_objectives_look_alike() -> None:
    chosen = styles(["plain", *(f"entropic:{weight}" for weight in range(24))])
    assert len(set(chosen.values())) == 25


def test_every_colour_stands_out_from_white() -> None:
    for style in styles(["plain", *"abcdef"]).values():
        assert 1.05 / (_luminance(style.colour) + 0.05) >= 3


def test_neighbours_differ_in_marker_too_for_those_who_see_no_colour() -> None:
    markers = [style.marker for style in styles(["plain", *"abcdef"]).values()]
    assert len(set(markers)) == len(markers)


def test_an_objective_keeps_its_look_whether_plain_training_is_there_or_not() -> None:
    assert styles(["plain", "a", "b"])["b"] == styles(["a", "b"])["b"]
