"""What the processes of test_sharpness_processes.py run."""

import dataclasses

import torch
from cases import classification, images, tiny_cnn, tiny_mlp

from landscape import Problem
from landscape.ascent.ball import Ball
from landscape.runtime import distributed
from landscape.sharpness import measure_sharpness
from landscape.sharpness.second_order import measure_taylor


def problems():
    """Networks by name; all have a ragged last batch, and one has fewer batches than there are
    processes. One takes another number of points per pass in each, as if timed there."""
    own = 2 + 2 * distributed.rank()
    options = {"device": "cpu", "dtype": "float64"}
    return {
        "mlp": Problem(
            tiny_mlp(),
            classification(23),
            batch_size=4,
            num_population=100,
            points_per_pass=own,
            **options,
        ),
        "cnn": Problem(tiny_cnn(), images(), batch_size=7, **options),
        "one batch": Problem(tiny_mlp(), classification(5), batch_size=5, **options),
    }


def measures():
    """All measures of every network, on the whole set and in batches of m, as plain numbers."""
    found = {}
    for name, problem in problems().items():
        for m in (None, 3):
            options = {"m": m, "num_directions": 3, "steps": 3, "max_gradients": 12}
            result = measure_sharpness(problem, [0.05, 0.2], held_out=problem, **options)
            found[name, m] = [dataclasses.asdict(measure) for measure in result.measures]
            found[name, m, "here"] = [
                result.loss,
                result.accuracy,
                result.gradient_norm,
                result.test_loss,
            ]
        found[name, "taylor"] = dataclasses.asdict(measure_taylor(problem, Ball()))
    return found


def main(folder):
    torch.set_num_threads(1)
    with distributed.joined():
        torch.save(measures(), f"{folder}/rank-{distributed.rank()}.pt")
