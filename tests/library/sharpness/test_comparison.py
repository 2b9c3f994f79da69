from dataclasses import replace

import numpy as np
import pytest
import torch
from cases import classification, seeded, tiny_mlp
from reference import loss_of_vector
from scipy import stats
from torch import nn

from landscape import Problem
from landscape.errors import InputError
from landscape.sharpness import MEASURES, SharpnessOptions, measure_rises
from landscape.sharpness.comparison import differences, group_differences, group_values

NAMES = ("a", "b")


def network(seed, factor=1.0):
    model = seeded(lambda: nn.Sequential(nn.Linear(5, 7), nn.Tanh(), nn.Linear(7, 3)), seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(factor)
    return model


def measured(model, rows=slice(None), num_population=None, **options):
    x, y = classification(300)
    dtype = options.pop("dtype", "float64")
    problem = Problem(
        model, (x[rows], y[rows]), device="cpu", dtype=dtype, num_population=num_population
    )
    measures = options.pop("measures", tuple(MEASURES))
    return measure_rises(problem, [0.5], SharpnessOptions(**options), measures=measures)


def by_name(found):
    return {difference.name: difference for difference in found}


def test_the_directions_are_common_and_their_pairs_are_compared():
    a, b = (measured(network(seed), measures=["avg"], num_directions=6) for seed in (0, 1))
    found = differences(NAMES, [a, b])[0]
    paired = b.rises["avg", 0.5].directions - a.rises["avg", 0.5].directions
    expected = stats.ttest_1samp(paired, 0).confidence_interval(0.95)
    assert (found.first, found.second, found.source) == ("b", "a", "directions")
    assert found.value == pytest.approx(paired.mean())
    assert (found.low, found.high) == pytest.approx(tuple(expected))


def test_the_same_network_is_not_distinguishable_from_itself():
    a = measured(tiny_mlp())
    assert {d.verdict for d in differences(NAMES, [a, a])} == {"not distinguishable"}


def test_on_all_data_numbers_differ_by_more_than_rounding_or_not_at_all():
    a, b = measured(tiny_mlp(), measures=["asc"]), measured(network(0, 1 + 1e-18), measures=["asc"])
    sharper = measured(network(0, 3.0), measures=["asc"])
    assert differences(NAMES, [a, b])[0].verdict == "not distinguishable"
    found = differences(NAMES, [a, sharper])[0]
    assert found.source == "rounding"
    assert found.verdict == ("higher" if found.value > 0 else "lower")
    assert found.high - found.low < 1e-12


def test_the_interval_holds_the_difference_in_float64_where_float32_rounds():
    models, exact = (network(0, 3.0), network(1, 3.0)), []
    for model in models:
        loss, w = loss_of_vector(model, *classification(300))
        gradient = torch.func.grad(loss)(w)
        exact.append(float(loss(w + 0.5 * gradient / gradient.norm()) - loss(w)))
    a, b = (measured(model, measures=["asc"], dtype="float32") for model in models)
    found = differences(NAMES, [a, b])[0]
    assert found.low <= exact[1] - exact[0] <= found.high
    rough = [
        replace(each, result=replace(each.result, measures=(replace(measure, rounding=rounding),)))
        for each, rounding in ((a, 0.25), (b, 0.5))
        for measure in each.result.measures
    ]
    rounding = sum(each.result.measures[0].rounding for each in (a, b))
    wide = differences(NAMES, rough)[0]
    assert wide.high - found.high == pytest.approx(0.75 - rounding)
    assert wide.verdict == "not distinguishable"


@pytest.mark.slow
def test_on_a_sample_the_interval_holds_the_difference_on_all_data():
    models, hits = (network(0), network(1)), 0
    whole = differences(NAMES, [measured(model, measures=["avg"]) for model in models])[0].value
    for seed in range(40):
        rows = torch.randperm(300, generator=torch.Generator().manual_seed(seed))[:60]
        samples = [measured(model, rows, 300, measures=["avg"]) for model in models]
        found = differences(NAMES, samples)[0]
        hits += found.low <= whole <= found.high
    assert found.source == "directions and data"
    assert hits >= 34  # 38 are expected


def test_paired_on_the_same_examples_it_is_narrower_than_apart():
    rows = torch.arange(60)
    a, b = (measured(network(0, factor), rows, 300, measures=["asc"]) for factor in (1.0, 1.02))
    found = differences(NAMES, [a, b])[0]
    apart = 1.96 * np.hypot(*(each.result.measures[0].data_error for each in (a, b)))
    assert (found.high - found.low) / 2 < 0.2 * apart


def test_other_data_are_refused():
    a, b = measured(tiny_mlp()), measured(tiny_mlp(), slice(0, 20))
    with pytest.raises(InputError, match="must be measured on the same data, b is not"):
        differences(NAMES, [a, b])


class TestGroups:
    def groups(self):
        seeds = range(4)
        return {
            "sgd": [measured(network(seed), measures=["asc", "avg"]).result for seed in seeds],
            "sam": [measured(network(seed, 0.9), measures=["asc", "avg"]).result for seed in seeds],
        }

    def test_means_and_sample_deviations(self):
        groups = self.groups()
        found = {(v.group, v.name): v for v in group_values(groups)}
        values = [result.measures[0].sharpness for result in groups["sgd"]]
        assert found["sgd", "asc"].mean == pytest.approx(np.mean(values))
        assert found["sgd", "asc"].deviation == pytest.approx(np.std(values, ddof=1))
        assert found["sam", "loss"].mean == pytest.approx(
            np.mean([result.loss for result in groups["sam"]])
        )
        assert {v.count for v in found.values()} == {4}

    def test_the_interval_is_that_of_a_paired_t_test(self):
        groups = self.groups()
        found = by_name(group_differences(groups))["asc"]
        values = {
            name: [result.measures[0].sharpness for result in results]
            for name, results in groups.items()
        }
        test = stats.ttest_rel(values["sam"], values["sgd"])
        interval = test.confidence_interval(0.95)
        assert (found.first, found.second, found.source) == ("sam", "sgd", "seeds")
        assert (found.low, found.high) == pytest.approx((interval.low, interval.high))
        assert (found.verdict == "not distinguishable") == (test.pvalue > 0.05)

    def test_groups_of_different_sizes_are_refused(self):
        groups = self.groups()
        with pytest.raises(InputError, match="got 3 for sam and 4 for sgd"):
            group_differences({**groups, "sam": groups["sam"][:3]})

    def test_a_single_checkpoint_has_no_deviation(self):
        groups = {name: results[:1] for name, results in self.groups().items()}
        assert all(np.isnan(value.deviation) for value in group_values(groups))
        with pytest.raises(InputError, match="at least 2"):
            group_differences(groups)


def test_lower_precision_counts_more_as_rounding():
    a = measured(tiny_mlp(), measures=["asc"])
    slightly = replace(
        a,
        rises={("asc", 0.5): replace(a.rises["asc", 0.5], value=a.rises["asc", 0.5].value + 1e-4)},
    )

    def verdict(dtype):
        both = [
            replace(
                m, result=replace(m.result, provenance=replace(m.result.provenance, dtype=dtype))
            )
            for m in (a, slightly)
        ]
        return differences(NAMES, both)[0].verdict

    assert [verdict(dtype) for dtype in ("float64", "float32", "bfloat16")] == [
        "higher",
        "higher",
        "not distinguishable",
    ]


def test_rounding_is_added_to_the_standard_error_from_directions_and_data():
    measure = measured(tiny_mlp(), measures=["asc"]).result.measures[0]
    errors = {"standard_error": 0.3, "data_error": 0.4}
    assert replace(measure, **errors, rounding=0.25).error_with_rounding == pytest.approx(0.75)
    assert replace(measure, **errors, rounding=None).error_with_rounding == pytest.approx(0.5)
    assert replace(measure, rounding=0.25).error_with_rounding == 0.25
    assert replace(measure, rounding=None).error_with_rounding is None
