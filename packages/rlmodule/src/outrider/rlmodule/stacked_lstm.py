"""The LSTMs of P policies as batched products, in a loop over time alone.

Axes: P policies; B rows of each; Q sequences; L places, see `stacked_sequences`; H cell size; G gates (4 H).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from outrider.rlmodule.stacked_product import weight_gradient
from outrider.rlmodule.stacked_tanh import quick_tanh

if TYPE_CHECKING:
    from collections.abc import Iterator

    from outrider.rlmodule.stacked_sequences import StackedSequences

NEAR_BYTES = 4 << 20
"""Weights of so many bytes go through all of time together: they stay in a cache from step to step."""

_sigmoid_backward = torch.ops.aten.sigmoid_backward
_tanh_backward = torch.ops.aten.tanh_backward


class StackedLstm(torch.autograd.Function):
    """The recurrent half of LSTMs, whose input half is in `gates_PBG` already.

        i, f, g, o = gates_t + h_t-1 @ weight.T        c_t = sigmoid(f) c_t-1 + sigmoid(i) tanh(g)
                                                       h_t = sigmoid(o) tanh(c_t)

    The weights' gradient is one product over all of time. Autograd would make one of each step and add them
    up, each as large as all the weights. P = 1,000, 4 sequences of 20 rows, H = 64, one core of a busy
    machine, ms forward and backward: 590 + 740, by autograd 690 + 4,020, by torch.vmap 780 + 4,210.
    """

    @staticmethod
    def forward(
        ctx: Any,  # noqa: ANN401
        gates_PBG: Tensor,
        weight_PGH: Tensor,
        h_PQH: Tensor,
        c_PQH: Tensor,
        sequences: StackedSequences,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return outputs [P, B, H], and the states h and c after each place [P, L, H], without gradient."""
        gates_PLG = sequences.in_places(gates_PBG)
        size = weight_PGH.shape[2]
        h_PLH, c_PLH, tanh_c_PLH = (gates_PLG.new_empty((*gates_PLG.shape[:2], size)) for _ in range(3))
        for part in _parts(weight_PGH):
            gates, weight = gates_PLG[part], weight_PGH[part].transpose(1, 2)
            h, c = h_PQH[part], c_PQH[part]
            for places, has_start in sequences.steps():
                num_running = places.stop - places.start
                h, c = h[:, :num_running], c[:, :num_running]
                if has_start:
                    starts = sequences.starts_PL[part, places].unsqueeze(2)
                    # Overwrite and not multiply: a state that is not a number ends here too.
                    h, c = h.masked_fill(starts, 0), c.masked_fill(starts, 0)
                now = gates[:, places]
                # Not in place, which would be a product for each policy where these do not lie together.
                before = torch.baddbmm(now, h, weight)
                before[..., 2 * size : 3 * size].mul_(2.0)
                torch.sigmoid(before, out=now)
                i, f, g, o = torch.split(now, size, 2)
                g.mul_(2.0).sub_(1.0)  # see `quick_tanh`
                c = torch.mul(f, c, out=c_PLH[part, places]).addcmul_(i, g)
                tanh_c_PLH[part, places] = quick_tanh(c)
                h = torch.mul(o, tanh_c_PLH[part, places], out=h_PLH[part, places])
        ctx.save_for_backward(gates_PLG, weight_PGH, h_PQH, c_PQH, h_PLH, c_PLH, tanh_c_PLH)
        ctx.sequences = sequences
        ctx.mark_non_differentiable(h_PLH, c_PLH)
        ctx.set_materialize_grads(False)
        return sequences.in_rows(h_PLH), h_PLH, c_PLH

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:  # noqa: ANN401
        """Return the gradients of gates and weight."""
        if gradients[0] is None:
            return None, None, None, None, None
        gates_PLG, weight_PGH, h_PQH, c_PQH, h_PLH, c_PLH, tanh_c_PLH = ctx.saved_tensors
        sequences: StackedSequences = ctx.sequences
        size, steps = weight_PGH.shape[2], list(sequences.steps())
        from_rows_PLH = sequences.in_places(gradients[0])
        from_rows_PLH.masked_fill_(~sequences.is_row_PL.unsqueeze(2), 0)
        to_gates_PLG = torch.empty_like(gates_PLG)
        h_before_PLH, c_before_PLH = _before(h_PQH, h_PLH, sequences), _before(c_PQH, c_PLH, sequences)
        for part in _parts(weight_PGH):
            to_h, to_c = torch.zeros_like(h_PQH[part]), torch.zeros_like(c_PQH[part])
            to_gates, weight = to_gates_PLG[part], weight_PGH[part]
            for places, has_start in reversed(steps):
                num_running = places.stop - places.start
                i, f, g, o = torch.split(gates_PLG[part, places], size, 2)
                dh, dc = to_h[:, :num_running], to_c[:, :num_running]
                dh.add_(from_rows_PLH[part, places])
                tanh_c = tanh_c_PLH[part, places]
                dc.add_(_tanh_backward(dh * o, tanh_c))
                now = to_gates[:, places]
                di, df, dg, do = torch.split(now, size, 2)
                _sigmoid_backward(dc * g, i, grad_input=di)
                _sigmoid_backward(dc * c_before_PLH[part, places], f, grad_input=df)
                _tanh_backward(dc * i, g, grad_input=dg)
                _sigmoid_backward(dh * tanh_c, o, grad_input=do)
                dc.mul_(f)
                dh.copy_(torch.bmm(now, weight))
                if has_start:
                    starts = sequences.starts_PL[part, places].unsqueeze(2)
                    dh.masked_fill_(starts, 0)
                    dc.masked_fill_(starts, 0)
        to_gates_PBG = sequences.in_rows(to_gates_PLG)
        to_gates_PBG.masked_fill_(~sequences.is_placed_PB.unsqueeze(2), 0)
        return to_gates_PBG, weight_gradient(weight_PGH, to_gates_PLG, h_before_PLH), None, None, None


def _parts(weight_PGH: Tensor) -> Iterator[slice]:
    """Cut the policies so that the weights of each part stay near; a GPU computes all at once."""
    num_policies = len(weight_PGH)
    size = num_policies
    if weight_PGH.device.type == "cpu":
        size = max(1, NEAR_BYTES * num_policies // max(1, weight_PGH.nbytes))
    return (slice(start, start + size) for start in range(0, num_policies, max(1, size)))


def _before(first_PQH: Tensor, after_PLH: Tensor, sequences: StackedSequences) -> Tensor:
    """Return the state before each place [P, L, H]."""
    befores, before = [first_PQH], slice(0, 0)
    for places, _ in sequences.steps():
        if places.start:
            befores.append(after_PLH[:, before.start : before.start + places.stop - places.start])
        before = places
    result = torch.cat(befores, 1)
    return result.masked_fill_(sequences.starts_PL.unsqueeze(2), 0)
