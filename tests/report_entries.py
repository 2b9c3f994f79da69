"""Entries of a report with numbers that are easy to follow."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from landscape.report.entry import Detail, Entry
from landscape.results.provenance import Provenance
from landscape.results.sharpness import Measure, Sharpness
from landscape.results.spectrum import Spectrum, Trace
from landscape.sharpness import Measured
from landscape.sharpness.rises import Rises

RHOS = (0.05, 0.1)


def provenance(**settings):
    return Provenance(
        weights_hash="w",
        data_hash={"train": "d"},
        num_examples={"train": 100},
        num_parameters=7,
        settings={"model": "mlp", "data": "digits", "samples": None, **settings},
        versions={"torch": "2.0"},
    )


def sharpness(rise=0.01, **settings):
    measures = tuple(
        Measure(
            "avg", rho, 0.2 + rise * rho, rise * rho, 0.001, 2.0, False, 0, 1.0, num_directions=3
        )
        for rho in RHOS
    )
    return Sharpness(
        0.2, 0.9, 1.5, measures, "train", provenance(**settings), test_loss=0.25, test_accuracy=0.8
    )


def detail(rise=0.01, test_losses=(0.1, 0.2, 0.3, 0.4), **settings):
    result = sharpness(rise, **settings)
    spread = rise * np.array([-1e-3, 0.0, 1e-3])
    rises = {
        measure.key: Rises(
            measure.loss, measure.sharpness, np.empty(0), directions=measure.sharpness + spread
        )
        for measure in result.measures
    }
    return Detail(Measured(result, rises), None, np.array(test_losses), "t")


def spectrum(top=8.0, bottom=-2.0, **fields):
    values = {
        "eigenvalues": np.array([top, 7.0, 6.0, 5.0, 4.0]),
        "residuals": np.full(5, 0.5),
        "bottom_eigenvalues": np.array([bottom]),
        "bottom_residuals": np.array([0.25]),
        "num_matvecs": 30,
        "converged": True,
        "tolerance": 1e-4,
        "noise_floor": 1e-6,
        "engine": "lanczos",
        "loss": 0.2,
        "accuracy": 0.9,
        "split": "train",
        "provenance": provenance(),
        "trace": Trace(20.0, 0.4, 19.0, 21.0, 0.95, 50, 60),
    }
    return Spectrum(**{**values, **fields})


def entry(name="sgd", *, rise=0.01, test_losses=(0.1, 0.2, 0.3, 0.4), **fields):
    found = Entry(name, Path(f"{name}.pt"), detail(rise, test_losses), spectrum())
    return replace(found, **fields)
