import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.optim import SGD, Adam, AdamW

from landscape.errors import InputError
from landscape.optim import GSAM, OPTIMIZERS, SAM, FriendlySAM, build_optimizer


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 5), nn.BatchNorm1d(5), nn.Linear(5, 2))


@pytest.fixture(autouse=True)
def _kept_random_state():
    with torch.random.fork_rng():
        yield


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("sgd", SGD),
        ("adam", Adam),
        ("adamw", AdamW),
        ("sam", SAM),
        ("asam", SAM),
        ("rand-sam", SAM),
        ("gsam", GSAM),
        ("friendly-sam", FriendlySAM),
    ],
)
def test_name_gives_its_optimizer(name, kind):
    assert name in OPTIMIZERS
    assert type(build_optimizer(name, network())) is kind


def test_defaults_suit_each_optimizer():
    sgd, adam, adamw = (
        build_optimizer(name, network()).param_groups[0] for name in ("sgd", "adam", "adamw")
    )
    assert (sgd["momentum"], sgd["weight_decay"], sgd["nesterov"]) == (0.9, 5e-4, False)
    assert (adam["weight_decay"], adamw["weight_decay"]) == (0, 0.01)


@pytest.mark.parametrize(("base", "kind"), [("sgd", SGD), ("adam", Adam), ("adamw", AdamW)])
def test_sam_has_the_defaults_of_its_base_and_keeps_the_buffers(base, kind):
    model = network()
    sam = build_optimizer("sam", model, base=base)
    assert type(sam.base) is kind
    assert sam.module is model
    group, alone = sam.param_groups[0], build_optimizer(base, network()).param_groups[0]
    assert group["rho"] == 0.05
    assert {name: group[name] for name in alone if name != "params"} == {
        name: alone[name] for name in alone if name != "params"
    }


def test_names_of_the_family_stand_for_options():
    asam, random = build_optimizer("asam", network()), build_optimizer("rand-sam", network())
    assert (asam.param_groups[0]["adaptive"], asam.param_groups[0]["rho"], asam.direction) == (
        True,
        0.5,
        "gradient",
    )
    assert (
        random.param_groups[0]["adaptive"],
        random.param_groups[0]["rho"],
        random.direction,
    ) == (
        False,
        0.05,
        "random",
    )


def test_options_of_sam_reach_it_and_none_takes_the_default():
    options = {
        "p": float("inf"),
        "ascent_steps": 3,
        "radius": "sphere",
        "every": 2,
        "scope": "process",
        "seed": 4,
    }
    sam = build_optimizer("asam", network(), rho=None, eta=0.5, **options)
    assert (sam.param_groups[0]["rho"], sam.param_groups[0]["eta"], sam.param_groups[0]["p"]) == (
        0.5,
        0.5,
        float("inf"),
    )
    assert (sam.steps, sam.radius, sam.every, sam.scope, sam.seed) == (3, "sphere", 2, "process", 4)


def test_options_reach_the_optimizer():
    options = {"lr": 0.3, "momentum": 0.5, "nesterov": True, "weight_decay": 0.1}
    for name, extra in (("sgd", {}), ("sam", {"rho": 0.0})):
        group = build_optimizer(name, network(), **options, **extra).param_groups[0]
        found = (group["lr"], group["momentum"], group["nesterov"], group["weight_decay"])
        assert found == (0.3, 0.5, True, 0.1)
    assert group["rho"] == 0


def test_zero_options_are_not_taken_for_missing_ones():
    group = build_optimizer(
        "sam", network(), lr=0.0, momentum=0.0, weight_decay=0.0, rho=0.0
    ).param_groups[0]
    assert [group[name] for name in ("lr", "momentum", "weight_decay", "rho")] == [0, 0, 0, 0]


def test_frozen_parameters_are_left_out():
    model = network()
    model[0].weight.requires_grad_(False)
    (group,) = build_optimizer("sgd", model).param_groups
    assert all(w is not model[0].weight for w in group["params"])
    assert len(group["params"]) == 5


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_fused_kernels_agree_with_the_plain_ones_to_rounding(name):
    first, second = network().double(), network().double()
    fused, plain = build_optimizer(name, first), build_optimizer(name, second)
    assert fused.param_groups[0]["fused"] is True
    plain.param_groups[0]["fused"] = False
    plain.param_groups[0]["foreach"] = False
    inputs = torch.randn(8, 4, dtype=torch.float64)
    for model, optimizer in ((first, fused), (second, plain)):

        def closure(model=model, optimizer=optimizer):
            optimizer.zero_grad()
            loss = F.cross_entropy(model(inputs), torch.arange(8) % 2)
            loss.backward()
            return loss

        for _ in range(5):
            optimizer.step(closure)
    for a, b in zip(first.parameters(), second.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"optim": "lion"},
            "must be one of sgd, adam, adamw, sam, asam, rand-sam, gsam, friendly-sam, got 'lion'",
        ),
        ({"optim": "sam", "base": "sam"}, "must be one of sgd, adam, adamw, got 'sam'"),
        (
            {"optim": "sgd", "rho": 0.05},
            "rho can be set for sam, asam, rand-sam, gsam, friendly-sam only, got the optimizer "
            "sgd",
        ),
        ({"optim": "sgd", "base": "adam"}, "base can be set for sam, asam"),
        ({"optim": "sam", "eta": 0.5}, "eta is the smallest scale of an adaptive ball"),
        ({"optim": "sam", "radius": "sphere"}, "radius is for several ascent steps"),
        ({"optim": "adam", "momentum": 0.9}, "options of sgd only"),
        ({"optim": "sam", "base": "adam", "nesterov": True}, "options of sgd only"),
        ({"optim": "sgd", "momentum": 0.0, "nesterov": True}, "nesterov needs a momentum"),
        ({"optim": "sgd", "lr": -1.0}, "learning rate must be"),
        ({"optim": "sgd", "lr": float("nan")}, "learning rate must be"),
        ({"optim": "adam", "weight_decay": -1.0}, "weight decay must be"),
        ({"optim": "sgd", "momentum": -0.5}, "momentum must be"),
        ({"optim": "sam", "rho": -0.1}, "rho must be"),
    ],
)
def test_argument_that_does_not_fit_is_refused(arguments, message):
    with pytest.raises(InputError, match=message):
        build_optimizer(module=network(), **arguments)


def test_model_without_trainable_parameters_is_refused():
    with pytest.raises(InputError, match="must have trainable parameters"):
        build_optimizer("sgd", nn.ReLU())
