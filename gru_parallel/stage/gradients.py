"""SectionGradients: the one place where a section back-propagates, and adds up what it finds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor

from gru_parallel.errors import ScheduleError, UsageError
from gru_parallel.model.core.own import Pending, add_weight_gradients
from gru_parallel.model.core.tape import Tape
from gru_parallel.schedule import Cell
from gru_parallel.stage.spec import PassSpec, Purpose


class SectionGradients:
    """The gradients of one section: those of its inputs cell by cell, and those of its weights.

    B needs the first at once. W, the second, can wait: what B leaves for it is worked out when W of
    the cell comes, or at once where the schedule has no W. Sums over cells have at least the
    precision of float32, whatever the cells compute in.

    Args:
        weights: the tensors that are differentiated by; those that need no gradient get none.
        spec: of the pass.

    Attributes:
        keep: whether what F saved stays in place for a second B, which does not run it again.
        is_trained: whether a weight needs a gradient.
    """

    def __init__(self, weights: Sequence[Tensor], spec: PassSpec) -> None:
        self.keep = spec.purpose is Purpose.DIFFERENTIATE and not spec.recompute
        self.is_trained = any(weight.requires_grad for weight in weights)
        self._separates = spec.separates_weights
        self._segments = spec.segments
        self._weights = weights
        self._trained = [weight for weight in weights if weight.requires_grad]
        self._places = {id(weight): place for place, weight in enumerate(self._trained)}
        self.forget()

    def forget(self) -> None:
        """Begin the sums over the cells anew."""
        self._left: dict[Cell, list[Callable[[], None]]] = {}
        self._sums: list[Tensor | None] = [None for _ in self._trained]
        self._is_new = [False for _ in self._trained]

    def of_inputs(
        self,
        roots: Sequence[Tensor],
        root_gradients: Sequence[Tensor | None],
        inputs: Sequence[Tensor],
    ) -> list[Tensor | None]:
        """Back-propagate through one cell.

        Args:
            roots: results of F; what needs no gradient is left out.
            root_gradients: one for each root; a root without one is left out, but for a scalar,
                whose own gradient is 1.
            inputs: of F.

        Returns:
            A gradient for each input, None where nothing depends on it.
        """
        pairs = [
            (root, gradient)
            for root, gradient in zip(roots, root_gradients, strict=True)
            if root.requires_grad and (gradient is not None or root.dim() == 0)
        ]
        if not pairs:
            return [None for _ in inputs]
        # As in plain training, autocast chooses the types of F only; B follows what F did.
        with torch.autocast(pairs[0][0].device.type, enabled=False):
            found = torch.autograd.grad(
                [root for root, _ in pairs],
                [*inputs, *self._trained],
                [gradient for _, gradient in pairs],
                retain_graph=self.keep,
                allow_unused=True,
            )
        self._add(found[len(inputs) :])
        return list(found[: len(inputs)])

    def tape(self, cell: Cell) -> Tape:
        """Return what takes the work that B of a cell leaves for W."""
        return Tape(lambda *of_layer: self.leave(cell, partial(self._work_out, *of_layer)))

    def leave(self, cell: Cell, work: Callable[[], None]) -> None:
        """Keep work on the weights' gradients for W; where W is not separate, do it now.

        Args:
            cell: that the work belongs to.
            work: adds what it finds to the sums.
        """
        if self._separates:
            self._left.setdefault(cell, []).append(work)
        else:
            work()

    def work_out(self, cell: Cell) -> None:
        """Do the work that was left for W of a cell.

        Behind a barrier in time B does nothing before the first chunk, so W of later ones may have
        come too early: what they were to do is done here.
        """
        due = [left for left in self._left if self._position(left) <= self._position(cell)]
        for left in due:
            for work in self._left.pop(left):
                work()

    def of_weights(self) -> list[Tensor | None]:
        """Return the sum over the cells for each weight, in their order; None where none is.

        Their types are those of `sum_type`.

        Raises:
            ScheduleError: work was left for a W that never came.
        """
        if self._left:
            left = ", ".join(map(str, self._left))
            raise ScheduleError(
                f"The weights' gradients lack the cells {left}: each B left work, and no W came; a"
                " schedule with W runs it once for every cell, after its B."
            )
        sums = iter(self._sums)
        return [next(sums) if weight.requires_grad else None for weight in self._weights]

    def check_leaves(self, what: str, roots: Sequence[Tensor], inputs: Sequence[Tensor]) -> None:
        """Refuse a graph with a leaf that B does not know, and whose gradient would be lost.

        Args:
            what: has made it.
            roots: of the graph.
            inputs: leaves that B knows beside the weights.

        Raises:
            UsageError: there is one.
        """
        known = {id(leaf) for leaf in (*self._trained, *inputs)}
        nodes = [root.grad_fn for root in roots]
        seen = set()
        while nodes:
            node = nodes.pop()
            if node is None or node in seen:
                continue
            seen.add(node)
            stranger = getattr(node, "variable", None)
            if stranger is not None and id(stranger) not in known:
                raise UsageError(
                    f"{what} computes with a tensor of shape {tuple(stranger.shape)} that requires"
                    " a gradient and is no parameter that a pipeline could find in it, so it would"
                    " get none; make it a parameter of the module that uses it, found by its name."
                )
            nodes += [before for before, _ in node.next_functions]

    def _position(self, cell: Cell) -> tuple[int, int, int]:
        """Where a cell comes in the order of B, and of W."""
        return cell.micro_batch, self._segments.of(cell.chunk), -cell.chunk

    def _work_out(self, weights: Sequence[Tensor], pending: Pending) -> None:
        """Run W of one layer over one chunk."""
        places = [self._places.get(id(weight)) for weight in weights]
        totals = [None if place is None else self._sum_in_place(place) for place in places]
        # As autograd would: in the type of the weights, and then added up.
        found = [
            total if total is None or total.dtype == weight.dtype else torch.zeros_like(weight)
            for total, weight in zip(totals, weights, strict=True)
        ]
        add_weight_gradients(pending, found)
        for total, gradient in zip(totals, found, strict=True):
            if total is not None and gradient is not None and total is not gradient:
                total += gradient

    def _sum_in_place(self, place: int) -> Tensor:
        """Return the sum for a weight, as memory that can be added to."""
        total, weight = self._sums[place], self._trained[place]
        if total is None:
            total = torch.zeros_like(weight, dtype=sum_type(weight), requires_grad=False)
        elif not self._is_new[place]:
            total = total.clone()
        self._sums[place], self._is_new[place] = total, True
        return total

    def _add(self, found: Sequence[Tensor | None]) -> None:
        for index, gradient in enumerate(found):
            total = self._sums[index]
            if gradient is None:
                continue
            if total is None:
                self._sums[index] = gradient.to(sum_type(gradient))
                self._is_new[index] = self._sums[index] is not gradient
            elif self._is_new[index]:
                total.add_(gradient)
            else:
                # autograd may have handed one tensor to several weights: the first sum is new.
                self._sums[index] = total + gradient
                self._is_new[index] = True


def sum_type(weight: Tensor) -> torch.dtype:
    """Return the type in which a weight's gradients are added up."""
    return torch.promote_types(weight.dtype, torch.float32)


def leaf(tensor: Tensor) -> Tensor:
    """Cut `tensor` off from what made it; where gradients are recorded, a new graph begins here."""
    return tensor.detach().requires_grad_(torch.is_grad_enabled())
