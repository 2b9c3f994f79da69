import pytest
import torch

from landscape.data.label_noise import with_label_noise, with_noisy_targets
from landscape.errors import InputError
from landscape.problem.reading import as_data
from landscape.training import TrainingPlan, train

TARGETS = torch.arange(5).repeat(13)


def noisy(share, seed=0, targets=TARGETS):
    return with_label_noise(targets, share, num_classes=5, seed=seed)


# 65 examples; 0.1 of them is 6.5, which rounds to the even number.
@pytest.mark.parametrize(("share", "expected"), [(0, 0), (0.1, 6), (0.2, 13), (0.5, 32), (1, 65)])
def test_exactly_the_rounded_share_is_wrong(share, expected):
    assert (noisy(share) != TARGETS).sum() == expected


def test_wrong_labels_are_uniform_over_the_other_classes():
    targets = torch.zeros(40_000, dtype=torch.int64)
    counts = noisy(1, targets=targets).bincount(minlength=5)
    standard_error = (40_000 * 1 / 4 * 3 / 4) ** 0.5
    assert counts[0] == 0
    assert ((counts[1:] - 10_000).abs() < 5 * standard_error).all()


def test_every_example_is_as_likely_to_be_wrong():
    num_seeds, share = 2000, 0.2
    wrong = sum((noisy(share, seed) != TARGETS).long() for seed in range(num_seeds))
    standard_error = (num_seeds * share * (1 - share)) ** 0.5
    assert (wrong - num_seeds * share).abs().max() < 5 * standard_error


def test_same_seed_gives_the_same_noise():
    assert torch.equal(noisy(0.3, seed=4), noisy(0.3, seed=4))


def test_another_seed_gives_other_noise():
    assert not torch.equal(noisy(0.3, seed=4), noisy(0.3, seed=5))


@pytest.mark.parametrize("seed", [0, 1, 7])
def test_wrong_labels_are_spread_over_the_batches_of_a_run_with_the_same_seed(seed):
    num_batches, size, share = 100, 100, 0.2
    targets = torch.arange(num_batches * size) % 5
    changed = with_label_noise(targets, share, num_classes=5, seed=seed)
    is_wrong = (changed != targets).float()[:, None]
    model, num_wrong = torch.nn.Linear(1, 5), []
    model.register_forward_pre_hook(lambda _, inputs: num_wrong.append(inputs[0].sum().item()))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    plan = TrainingPlan(epochs=1, batch_size=size, seed=seed)
    train(model, as_data((is_wrong, changed)), None, optimizer, plan)
    spread = sum((count - share * size) ** 2 for count in num_wrong) / (size * share * (1 - share))
    standard_error = (2 * num_batches) ** 0.5  # of a sum of squares of independent counts
    assert abs(spread - num_batches) < 5 * standard_error


def test_targets_are_left_alone():
    targets = TARGETS.clone()
    noisy(1, targets=targets)
    assert torch.equal(targets, TARGETS)


def test_global_generator_is_left_alone():
    before = torch.get_rng_state()
    noisy(0.5)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int64])
def test_dtype_is_kept(dtype):
    assert noisy(0.5, targets=TARGETS.to(dtype)).dtype == dtype


def test_labels_near_the_end_of_a_small_dtype_do_not_overflow():
    targets = torch.full((1000,), 199, dtype=torch.uint8)
    changed = with_label_noise(targets, 1, num_classes=200, seed=0)
    assert changed.max() < 199


def test_no_examples_stay_none():
    assert len(noisy(0.5, targets=TARGETS[:0])) == 0


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"share": -0.1}, r"wrong labels must be in \[0, 1\], got -0.1"),
        ({"share": 1.1}, r"wrong labels must be in \[0, 1\], got 1.1"),
        ({"share": float("nan")}, r"must be in \[0, 1\], got nan"),
        ({"seed": -1}, "seed of the wrong labels must be at least 0, got -1"),
        ({"num_classes": 1}, "at least 2 classes, got 1"),
        ({"num_classes": 4}, "class numbers must be from 0 to 3, got 0 to 4"),
        ({"targets": TARGETS - 1}, "class numbers must be from 0 to 4, got -1 to 3"),
        ({"targets": TARGETS.float()}, r"class numbers \(N,\), got \(65,\) of float32"),
        ({"targets": TARGETS[:, None]}, r"class numbers \(N,\), got \(65, 1\) of int64"),
    ],
)
def test_impossible_noise_is_refused(changed, message):
    with pytest.raises(InputError, match=message):
        with_label_noise(
            **{"targets": TARGETS, "share": 0.2, "num_classes": 5, "seed": 0, **changed}
        )


INPUTS = torch.arange(65.0).view(65, 1)


def batches():
    return [
        (inputs, targets)
        for inputs, targets in zip(INPUTS.split(20), TARGETS.split(20), strict=True)
    ]


def graphs():
    geometric = pytest.importorskip(
        "torch_geometric.data", reason="the extra graphs is not installed"
    )
    return [
        geometric.Data(x=x[None], edge_index=torch.zeros(2, 0).long(), y=y[None])
        for x, y in zip(INPUTS, TARGETS, strict=True)
    ]


@pytest.mark.parametrize("make", [lambda: (INPUTS, TARGETS), batches, graphs])
def test_targets_of_every_kind_of_data_get_the_same_noise(make):
    data = with_noisy_targets(as_data(make()), 0.3, seed=4)
    found = torch.cat([targets for _, targets in data.batches(20)])
    assert torch.equal(found, noisy(0.3, seed=4))


@pytest.mark.parametrize("make", [lambda: (INPUTS, TARGETS), batches, graphs])
def test_inputs_and_the_data_themselves_stay(make):
    data = as_data(make())
    before = data.hash
    changed = with_noisy_targets(data, 0.3, seed=4)
    assert data.hash == before
    for (inputs, _), (others, _) in zip(changed.batches(20), data.batches(20), strict=True):
        assert torch.equal(getattr(inputs, "x", inputs), getattr(others, "x", others))


def test_without_noise_data_may_be_anything():
    data = as_data((INPUTS, INPUTS))
    assert with_noisy_targets(data, 0, seed=0) is data


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ((INPUTS, INPUTS), r"class numbers \(N,\), got \(65, 1\) of float32"),
        ((INPUTS, torch.zeros(65).long()), "at least 2 classes, got 1"),
        ([(INPUTS, ["cat"] * 65)], "batches whose targets are tensors of class numbers"),
    ],
)
def test_targets_that_cannot_be_wrong_are_refused(source, message):
    with pytest.raises(InputError, match=message):
        with_noisy_targets(as_data(source), 0.2, seed=0)
