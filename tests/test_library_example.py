import re
import runpy

from cases import ROOT

import landscape


def test_the_example_trains_measures_saves_and_draws(tmp_path, capsys):
    example = runpy.run_path(str(ROOT / "examples" / "library.py"))
    example["main"](tmp_path)
    printed = capsys.readouterr().out
    found = dict(re.findall(r"(SGD|SAM) <Spectrum .*lambda_max: ([\d.]+)", printed))
    assert float(found["SAM"]) < float(found["SGD"])
    for name in ("SGD", "SAM"):
        surface = landscape.load(tmp_path / f"{name}.surface.h5")
        assert surface.loss["train"].shape == (11, 11)
        assert surface.loss["train"][5, 5] == surface.center_loss["train"]
        assert (tmp_path / f"{name}.png").stat().st_size > 10_000
