"""From options to names."""

from pathlib import Path


def test_paths_are_told_apart_by_as_many_folders_as_it_takes():
    from landscape_cli.resolve import names_apart

    assert names_apart([Path("a/x.h5"), Path("b/y.h5")]) == ["x.h5", "y.h5"]
    assert names_apart([Path("a/x/c"), Path("b/x/c")]) == ["a/x/c", "b/x/c"]
