"""One flat buffer for all parameters of an optimizer.

Every parameter becomes a view into a single contiguous tensor, so that a clip, a dot product or an Adam step is one
operation on one vector instead of one operation per tensor. On small networks the per-call overhead of torch is most of
the cost of an optimizer, which is why a flat buffer pays (measured figures: docs/optimizers.md).

Shapes: N parameter tensors with n_i elements each, n = sum n_i; `theta` and `gradient` are [n]. Offsets are elements.
Gradients are gathered into the flat vector at each step, so a caller may set `.grad` to None, replace it or clip it.
"""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from torch import Tensor


class FlatVector:
    """A vector [n] with its numpy view: on CPU, BLAS level 1 through numpy costs half of what torch's dispatch does.

    `array` is None where numpy cannot see the memory (CUDA, bfloat16); everything works there too, through torch.
    """

    __slots__ = ("array", "tensor")

    def __init__(self, tensor: Tensor) -> None:
        self.tensor = tensor
        visible = tensor.device.type == "cpu" and tensor.dtype in {torch.float32, torch.float64}
        self.array: NDArray[Any] | None = tensor.detach().numpy() if visible else None

    def dot(self, other: FlatVector) -> float:
        """Inner product, in float64 where the plain one is not finite."""
        if self.array is not None and other.array is not None:
            value = float(np.dot(self.array, other.array))
        else:
            value = float(torch.dot(self.tensor, other.tensor))
        if math.isfinite(value):
            return value
        return float(torch.dot(self.tensor.double(), other.tensor.double()))

    def copy_from(self, other: FlatVector) -> None:
        """Self <- other."""
        if self.array is not None and other.array is not None:
            np.copyto(self.array, other.array)
        else:
            self.tensor.copy_(other.tensor)

    def set_difference(self, left: FlatVector, right: FlatVector) -> None:
        """Self <- left - right."""
        if self.array is not None and left.array is not None and right.array is not None:
            np.subtract(left.array, right.array, out=self.array)
        else:
            torch.sub(left.tensor, right.tensor, out=self.tensor)

    def multiply(self, factor: float) -> None:
        """Self <- factor self."""
        if self.array is not None:
            np.multiply(self.array, self.array.dtype.type(factor), out=self.array)
        else:
            self.tensor.mul_(factor)

    def parts(self, offsets: Sequence[int]) -> list[FlatVector]:
        """Views of the segments [offsets[i], offsets[i + 1])."""
        return [FlatVector(self.tensor[a:b]) for a, b in itertools.pairwise(offsets)]

    def __getstate__(self) -> Tensor:
        return self.tensor

    def __setstate__(self, tensor: Tensor) -> None:
        FlatVector.__init__(self, tensor)


class FlatBuffer:
    """Parameters as views into `theta` [n], gradients gathered into `gradient` [n].

    Raises ValueError if the parameters are not dense tensors of one floating dtype on one device.
    """

    def __init__(self, parameters: Sequence[Tensor]) -> None:
        self.parameters = list(parameters)
        _check(self.parameters)
        first = self.parameters[0]
        self.sizes = [parameter.numel() for parameter in self.parameters]
        self.offsets: list[int] = [0, *np.cumsum(self.sizes).tolist()]
        self.size = self.offsets[-1]
        self.theta = FlatVector(torch.empty(self.size, dtype=first.dtype, device=first.device))
        for view, parameter in zip(self.views(self.theta.tensor), self.parameters, strict=True):
            view.copy_(parameter.detach())
        self.gradient = self.new_vector()
        self._bind()

    def new_vector(self) -> FlatVector:
        """Zeros [n] like `theta`."""
        return FlatVector(torch.zeros_like(self.theta.tensor))

    def views(self, flat: Tensor) -> list[Tensor]:
        """Views of `flat` [n] with the shapes of the parameters."""
        assert flat.numel() == self.size
        return [
            flat[start : start + size].view(parameter.shape)
            for start, size, parameter in zip(self.offsets, self.sizes, self.parameters, strict=False)
        ]

    def _bind(self) -> None:
        """Point every parameter at its place in `theta` and remember where that is."""
        for parameter, view in zip(self.parameters, self.views(self.theta.tensor), strict=True):
            parameter.data = view
        self.pointers = [parameter.data_ptr() for parameter in self.parameters]
        self.gradient_views = self.views(self.gradient.tensor)

    def check_binding(self) -> None:
        """Re-adopt parameters whose storage was replaced from outside (`module.share_memory()`, `.data = ...`).

        Their new values win. Without this check such a module would silently stop training.
        Raises ValueError if dtype or device changed: then the optimizer has to be made anew, as with torch's.
        """
        for parameter, pointer in zip(self.parameters, self.pointers, strict=True):
            if parameter.data_ptr() != pointer:
                break
        else:
            return
        for parameter, view in zip(self.parameters, self.views(self.theta.tensor), strict=True):
            if parameter.dtype != view.dtype or parameter.device != view.device:
                raise ValueError(
                    f"parameter moved from {view.dtype}/{view.device} to {parameter.dtype}/{parameter.device}: "
                    "make the optimizer after moving the module"
                )
            if parameter.data_ptr() != view.data_ptr():
                view.copy_(parameter.detach())
        self._bind()

    def gather(self, gradients: Sequence[Tensor | None]) -> list[int]:
        """Copy `gradients` (shapes of the parameters) into the flat vector; returns the indices of missing ones.

        A missing gradient is a zero. Raises ValueError if there are more or fewer gradients than parameters or one is
        sparse (torch.optim.SparseAdam is for those), or if shapes differ.
        """
        if len(gradients) != len(self.parameters):
            raise ValueError(f"{len(gradients)} gradients for {len(self.parameters)} parameters")
        missing = [index for index, gradient in enumerate(gradients) if gradient is None]
        if not missing:
            try:
                torch._foreach_copy_(self.gradient_views, gradients)  # type: ignore[arg-type]  # one call
            except RuntimeError:
                self._refuse(gradients)
                raise
            return missing
        for view, gradient in zip(self.gradient_views, gradients, strict=True):
            if gradient is None:
                view.zero_()
            else:
                self._refuse([gradient])
                view.copy_(gradient)
        return missing

    @staticmethod
    def _refuse(gradients: Sequence[Tensor | None]) -> None:
        if any(gradient is not None and gradient.layout != torch.strided for gradient in gradients):
            raise ValueError(
                "sparse gradients: a flat optimizer needs dense ones (torch.optim.SparseAdam takes sparse)"
            )

    def share_memory(self) -> None:
        """Move parameters to shared memory; gradients stay private to each process."""
        self.theta.tensor.share_memory_()  # type: ignore[no-untyped-call]
        self.theta = FlatVector(self.theta.tensor)
        self._bind()

    def __getstate__(self) -> dict[str, Any]:
        return {"parameters": self.parameters, "theta": self.theta, "sizes": self.sizes, "offsets": self.offsets}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.parameters, self.theta = state["parameters"], state["theta"]
        self.sizes, self.offsets = state["sizes"], state["offsets"]
        self.size = self.offsets[-1]
        self.gradient = self.new_vector()
        self._bind()


def _check(parameters: Sequence[Tensor]) -> None:
    if not parameters:
        raise ValueError("an optimizer needs at least one parameter")
    first = parameters[0]
    for parameter in parameters:
        if parameter.dtype != first.dtype or parameter.device != first.device:
            raise ValueError("all parameters of a flat optimizer have one dtype and one device")
        if not parameter.is_floating_point() or parameter.is_sparse:
            raise ValueError("a flat optimizer needs dense floating-point parameters")
