"""What the architectures share: means, He initialization, and checks of sizes and dropout."""

from __future__ import annotations

from typing import Literal

from torch import Tensor, nn

from landscape.errors import require, require_in_limits


class Mean(nn.Module):
    """The mean over some dimensions, which disappear."""

    def __init__(self, *dims: int) -> None:
        super().__init__()
        self.dims = dims

    def forward(self, x: Tensor) -> Tensor:
        """Average (N, ...) over the dimensions."""
        return x.mean(dim=self.dims)


def he_initialized(
    model: nn.Module, *, nonlinearity: Literal["relu", "tanh"] = "relu"
) -> nn.Module:
    """Draw convolution and linear weights from N(0, gain^2 / fan_in), and zero their biases.

    Both are changed in place, and the model is returned.

    The gain is sqrt(2) for "relu" and torch's 5/3 for "tanh".

    Source:
        He et al. (2015), Delving Deep into Rectifiers, arXiv:1502.01852, Eq. 10.
    """
    for module in model.modules():
        if isinstance(module, (nn.Conv2d, nn.Linear)):
            nn.init.kaiming_normal_(module.weight, nonlinearity=nonlinearity)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    return model


def check_at_least(minimum: int, **sizes: int) -> None:
    """Check every size against `minimum`, and against its limit if it has one.

    Raises:
        InputError: Naming the first size that is smaller, or one that is larger.
    """
    require_in_limits(sizes)
    for name, size in sizes.items():
        require(size >= minimum, f"{name} must be at least {minimum}, got {size}.")


def check_dropout(dropout: float) -> None:
    """Check that `dropout` is a probability below 1.

    Raises:
        InputError: If it is not.
    """
    require(0 <= dropout < 1, f"dropout must be in [0, 1), got {dropout}.")
