"""How published papers measured sharpness: set, batches, loss, mode, ball and scale, by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from landscape.errors import require, require_one_of
from landscape.problem.batches import BatchData, Data, TensorData
from landscape.problem.passes import Loss
from landscape.problem.problem import Problem
from landscape.problem.reading import as_data
from landscape.problem.sampling_error import Sample
from landscape.results.sharpness import SCALE, Taylor
from landscape.runtime.progress import SILENT, Progress
from landscape.runtime.random_state import derived_seeds
from landscape.sharpness.losses import cross_entropy_of_normalized, divergence_from_smoothed
from landscape.sharpness.measured import measure_rises
from landscape.sharpness.measurement import SharpnessOptions
from landscape.sharpness.rises import Measured, Rises

_AUGMENTATION = 0x61_75_67_6D  # tells it from other random numbers of the same seed
_AT_A_TIME = 1000  # examples that are augmented together, to bound the memory


@dataclass(frozen=True)
class Protocol:
    """How one paper measured sharpness.

    Attributes:
        name: Of the protocol.
        source: Paper and section, or code.
        fixes: What it states, in a sentence.
        left_open: What it does not state, or what is done otherwise here, and what is taken.
        radii: Measure -> radii.
        options: Ball, batches and effort.
        batchnorm: One of `landscape.problem.forward.BATCHNORM_MODES`.
        loss: `loss(outputs, targets)`.
        num_examples: The first so many of the train split, in their order; None for all.
        augmentation: Name of what is done to the images, once, as in training; `none` for nothing.
        is_short_by_one: Whether the values of the batches count the same whatever their size, and
            their sum is divided by the number of batches minus 1, as Algorithm 1 of S003 does with
            its last index.
        has_gap: Whether the generalization gap belongs to it.
        scale: What the paper multiplies its numbers by.
    """

    name: str
    source: str
    fixes: str
    left_open: str
    radii: Mapping[str, tuple[float, ...]]
    options: SharpnessOptions = field(default_factory=SharpnessOptions)
    batchnorm: str = "stored"
    loss: Loss = F.cross_entropy
    num_examples: int | None = None
    augmentation: str = "none"
    is_short_by_one: bool = False
    has_gap: bool = False
    scale: float = 1.0

    @property
    def measures(self) -> tuple[str, ...]:
        """Names of the measures."""
        return tuple(self.radii)

    @property
    def problem_arguments(self) -> dict[str, Any]:
        """Arguments of `landscape.Problem` other than model and the data from `prepared`."""
        return {"loss": self.loss, "batchnorm": self.batchnorm}


_ALL = (
    Protocol(
        "s001",
        source="Tiwary and Aananth (2024), section 4.1 and Table 2",
        fixes=(
            "The standardized sharpness L(w + e1) - L(w), e1 one ascent step of length rho = 0.05 "
            "in the Euclidean norm whatever the training used, times 1000, beside 1000 times the "
            "generalization gap, test loss minus train loss."
        ),
        left_open=(
            "The set and the batches: all training examples at once. BatchNorm: stored. "
            "Augmentation: none. Number of runs: not stated."
        ),
        radii={"asc": (0.05,)},
        has_gap=True,
        scale=SCALE,
    ),
    Protocol(
        "s003-text",
        source="Khalid et al., Proposition 1, Algorithm 1 and section III.A",
        fixes=(
            "The sum of rho times the Euclidean norm of the gradient over batches of 128, with "
            "random crops and flips, divided by the last index of the batches, which is their "
            "number minus 1."
        ),
        left_open=(
            "rho: 0.05. Loss: plain cross-entropy. BatchNorm: batch, as in training. The paper "
            "takes each batch at the weights of its step of an epoch: here all batches are taken "
            "at the checkpoint. Crops are padded with 0 after the images are standardised."
        ),
        radii={"first_order": (0.05,)},
        options=SharpnessOptions(m=128),
        batchnorm="batch",
        augmentation="crop-flip",
        is_short_by_one=True,
    ),
    Protocol(
        "s003-code",
        source=(
            "the code of Khalid et al., github.com/mukherjeesohom/OptML_Project, "
            "sam/sam_train_models.py"
        ),
        fixes=(
            "As s003-text, but adaptive: rho = 2 times the Euclidean norm of |w| g, without eta; "
            "the loss is the divergence from targets smoothed by 0.1 over the other classes; "
            "BatchNorm batch."
        ),
        left_open=(
            "Its train.py and two of its notebooks cut out squares too; the script that its README "
            "names for the results, and that records sharpness, does not: no cutout. Checkpoint "
            "and padding: as s003-text."
        ),
        radii={"first_order": (2.0,)},
        options=SharpnessOptions(m=128, adaptive=True, eta=0.0),
        batchnorm="batch",
        loss=divergence_from_smoothed,
        augmentation="crop-flip",
        is_short_by_one=True,
    ),
    Protocol(
        "foret",
        source="Foret et al. (2021), Eqs. 1 and 2 and section 4.1; code "
        "github.com/google-research/sam",
        fixes=(
            "m-sharpness in the Euclidean ball with the one ascent step of Eq. 2, rho = 0.05; in "
            "the code BatchNorm is in training mode, and m the batch of one accelerator, 128 over "
            "their number."
        ),
        left_open=(
            "Number of accelerators: one, m = 128. Augmentation: none, where training has crops "
            "and flips. Weight decay: not in the gradient of the ascent, where the code has it."
        ),
        radii={"asc": (0.05,)},
        options=SharpnessOptions(m=128),
        batchnorm="batch",
    ),
    Protocol(
        "andriushchenko2023",
        source="Andriushchenko et al. (2023), section 3; code "
        "github.com/tml-epfl/sharpness-vs-generalization",
        fixes=(
            "The first 1024 training examples, not augmented, in batches of 128, each for itself; "
            "outputs centred and divided by their norm; BatchNorm stored; perturbations scaled by "
            "|w|: the maximum in the box with 20 gradients, and the mean over Gaussian noise of "
            "standard deviation rho |w|, 20 evaluations; the radii that the code takes for "
            "ResNet-18."
        ),
        left_open=(
            "The maximum is sought by the iteration of this toolkit, not by theirs; both are lower "
            "bounds. Noise: 10 antithetic pairs, the same for all batches, for 20 single draws."
        ),
        radii={"max": (0.001, 0.002, 0.004, 0.008), "avg": (0.05, 0.1, 0.2, 0.4)},
        options=SharpnessOptions(
            p=np.inf,
            adaptive=True,
            eta=0.0,
            m=128,
            is_shuffled=False,
            max_gradients=20,
            num_directions=10,
            is_gaussian=True,
        ),
        loss=cross_entropy_of_normalized,
        num_examples=1024,
    ),
)

PROTOCOLS: dict[str, Protocol] = {protocol.name: protocol for protocol in _ALL}
"""Name -> protocol."""


def get_protocol(name: str) -> Protocol:
    """Return the protocol of that name.

    Raises:
        InputError: If there is none.
    """
    require_one_of("a protocol", name, PROTOCOLS)
    return PROTOCOLS[name]


def prepared(
    protocol: Protocol,
    data: Any,
    augment: Callable[[Any, torch.Generator], Any] | None = None,
    *,
    seed: int = 0,
) -> Data:
    """Return the examples that a protocol measures on: the first or all, augmented as in training.

    Args:
        protocol: Which.
        data: The train split, what `landscape.problem.reading.as_data` reads.
        augment: What the protocol's augmentation stands for, such as
            `landscape.training.augmentation` has it; a function of the inputs of a batch and a CPU
            generator. None for nothing.
        seed: Of the augmentation, so that checkpoints are compared on the same images.

    Raises:
        InputError: If there are fewer examples than the protocol takes, or no augmentation where it
            has one.
    """
    require(
        augment is not None or protocol.augmentation == "none",
        f"the protocol {protocol.name} needs the augmentation {protocol.augmentation}, got none.",
    )
    data = as_data(data)
    count = protocol.num_examples
    if count is not None:
        require(
            data.num_examples >= count,
            f"the protocol {protocol.name} takes the first {count} examples of the train split, "
            f"it has {data.num_examples}.",
            hint="Take a larger set, or measure without the protocol.",
        )
        data = data.take(torch.arange(count))
    if augment is None or protocol.augmentation == "none":
        return data
    generator = torch.Generator().manual_seed(derived_seeds(1, seed, _AUGMENTATION)[0])
    changed = [
        (augment(inputs, generator), targets) for inputs, targets in data.batches(_AT_A_TIME)
    ]
    if isinstance(data, TensorData):
        return TensorData(torch.cat([inputs for inputs, _ in changed]), data.targets)
    return BatchData(tuple(changed))


def measure_by(
    protocol: Protocol,
    problem: Problem,
    *,
    held_out: Problem | None = None,
    taylor: Taylor | None = None,
    directions: Sequence[Tensor] = (),
    split: str = "train",
    settings: Mapping[str, Any] | None = None,
    progress: Progress = SILENT,
    seed: int = 0,
) -> Measured:
    """Measure sharpness as a protocol does.

    Args:
        protocol: Which.
        problem: Made with `protocol.problem_arguments` and on the data that `prepared` returns.
        held_out: This and the other arguments are those of `landscape.sharpness.measure_sharpness`.
        taylor: What is known of the loss to second order, to be recorded.
        directions: Vectors (P,) that the search for `max` starts from too.
        split: Name of the data split, to be recorded.
        settings: What the user asked for, to be recorded.
        progress: Counts evaluations of loss or gradient.
        seed: Seed of directions and batches.

    Returns:
        The measures, not multiplied by `protocol.scale`; the result has the name of the protocol.

    Raises:
        InputError: If the problem has another loss or treatment of normalization, or there are too
            few examples.
    """
    _require_problem(protocol, problem)
    names: dict[tuple[float, ...], list[str]] = {}
    for name, rho in protocol.radii.items():
        names.setdefault(rho, []).append(name)
    parts = [
        measure_rises(
            problem,
            rho,
            replace(protocol.options, seed=seed),
            measures=group,
            held_out=held_out,
            taylor=taylor,
            directions=directions,
            split=split,
            settings=settings,
            progress=progress,
        )
        for rho, group in names.items()
    ]
    found = Measured(
        replace(
            parts[0].result,
            measures=tuple(measured for part in parts for measured in part.result.measures),
            protocol=protocol.name,
        ),
        {key: value for part in parts for key, value in part.rises.items()},
        parts[0].sample,
    )
    return _short_by_one(found) if protocol.is_short_by_one else found


def _short_by_one(found: Measured) -> Measured:
    """Replace the mean over examples by the batches' sum over their number minus 1."""
    count = len(next(iter(found.rises.values())).units)
    sample = None if found.sample is None else Sample(np.ones(count), found.sample.share)
    rises = {key: _summed(each, count / (count - 1)) for key, each in found.rises.items()}
    measures = tuple(
        replace(
            each,
            loss=rises[each.key].loss,
            sharpness=rises[each.key].value,
            rounding=each.rounding and each.rounding * count / (count - 1),
            data_error=None if sample is None else sample.error(rises[each.key].units),
        )
        for each in found.result.measures
    )
    return Measured(replace(found.result, measures=measures), rises, sample)


def _summed(rises: Rises, factor: float) -> Rises:
    units = factor * rises.units
    value = float(units.mean())
    return replace(rises, loss=rises.loss - rises.value + value, value=value, units=units)


def _require_problem(protocol: Protocol, problem: Problem) -> None:
    fewest = (protocol.options.m or 1) + protocol.is_short_by_one
    require(
        problem.batchnorm == protocol.batchnorm,
        f"the protocol {protocol.name} measures with BatchNorm {protocol.batchnorm}, got "
        f"{problem.batchnorm}.",
        hint=f"Pass `batchnorm='{protocol.batchnorm}'`.",
    )
    require(
        problem.passes.criterion is protocol.loss,
        f"the protocol {protocol.name} measures with a loss of its own, got another.",
        hint="Make the problem with the arguments that the protocol gives for it.",
    )
    require(
        problem.num_examples >= fewest,
        f"the protocol {protocol.name} needs at least {fewest} examples, got "
        f"{problem.num_examples}.",
    )
