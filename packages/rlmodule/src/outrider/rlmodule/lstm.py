"""An LSTM that is stepped with plain matrix products and trained over packed sequences.

Axes: B rows; S sequences; T time; N = S * T rows; K pieces between starts; L time within a piece;
G gates (4 times the cell size); H cell size; F features. With tensors [P, ...] it is those of P policies,
which are stepped for rows [P, B, ...], and trained over sequences that lie as `stacked_sequences` says.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from outrider.rlmodule.layers import product, zero
from outrider.rlmodule.stacked_lstm import StackedLstm

if TYPE_CHECKING:
    from outrider.rlmodule.stacked_sequences import StackedSequences


class Lstm(nn.LSTM):
    """One layer; `step` traces into a graph with a free batch axis, `sequence` trains fast."""

    gain = 1.0
    weight_ih_l0: Tensor
    weight_hh_l0: Tensor
    bias_ih_l0: Tensor
    bias_hh_l0: Tensor

    def __init__(self, num_features: int, cell_size: int) -> None:
        """Make zeros; `first_weights` draws both matrices."""
        super().__init__(num_features, cell_size)

    def reset_parameters(self) -> None:
        """Draw nothing."""
        zero(self)

    def step(self, features_BF: Tensor, h_BH: Tensor, c_BH: Tensor) -> tuple[Tensor, Tensor]:
        """Return the next (h, c); the next h is also the output."""
        gates_BG = product(features_BF, self.weight_ih_l0, self.bias_ih_l0)
        gates_BG = gates_BG + product(h_BH, self.weight_hh_l0, self.bias_hh_l0)
        # With a fixed size: `chunk` computes it from the shape in a graph, seven nodes instead of one.
        i, f, g, o = torch.split(gates_BG, self.hidden_size, -1)
        c_BH = f.sigmoid() * c_BH + i.sigmoid() * g.tanh()
        return o.sigmoid() * c_BH.tanh(), c_BH

    def sequence(self, features_STF: Tensor, h_SH: Tensor, c_SH: Tensor, starts_ST: Tensor) -> Tensor:
        """Return outputs [S, T, H]; the state is zeroed before rows where `starts_ST` is true.

        Every start opens a piece of its own. All pieces run side by side, longest first, as rows of
        one packed sequence: no padding, and one call whatever the number of starts.
        """
        order_N, num_running_L, first_K = _pack(starts_ST)
        initial = _initial(h_SH, c_SH, starts_ST, first_K)
        packed, _ = self(PackedSequence(features_STF.flatten(0, 1)[order_N], num_running_L), initial)
        outputs_NH = torch.empty_like(packed.data).index_copy(0, order_N, packed.data)
        return outputs_NH.reshape(*starts_ST.shape, -1)

    def unroll(
        self, features_PBF: Tensor, h_PQH: Tensor, c_PQH: Tensor, sequences: StackedSequences
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return outputs [P, B, H], and the states h and c after each place [P, L, H], without gradient."""
        gates_PBG = product(features_PBF, self.weight_ih_l0, self.bias_ih_l0 + self.bias_hh_l0)
        result: tuple[Tensor, Tensor, Tensor] = StackedLstm.apply(  # type: ignore[no-untyped-call]
            gates_PBG, self.weight_hh_l0, h_PQH, c_PQH, sequences
        )
        return result


def _pack(starts_ST: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Cut rows into pieces at starts.

    Returns the row numbers in packed order [N], how many pieces still run at each step [L] (on the
    CPU), and each piece's first row number [K], longest piece first.
    """
    opens_ST = starts_ST.clone()
    opens_ST[:, 0] = True
    first_K = opens_ST.flatten().nonzero().squeeze(1)
    end_1 = torch.tensor([starts_ST.numel()], device=first_K.device)
    lengths_K, longest_first_K = torch.diff(first_K, append=end_1).sort(descending=True, stable=True)
    first_K = first_K[longest_first_K]
    step_L1 = torch.arange(int(lengths_K[0]), device=first_K.device)[:, None]
    runs_LK = step_L1 < lengths_K
    return (first_K + step_L1)[runs_LK], runs_LK.sum(1).cpu(), first_K


def _initial(h_SH: Tensor, c_SH: Tensor, starts_ST: Tensor, first_K: Tensor) -> tuple[Tensor, Tensor]:
    """Give each piece the state it begins with [1, K, H]: its stream's, or zeros after a start."""
    sequence_K = first_K // starts_ST.shape[1]
    inherits_K = (first_K % starts_ST.shape[1] == 0) & ~starts_ST[:, 0][sequence_K]
    zeros = torch.zeros((), dtype=h_SH.dtype, device=h_SH.device)
    return (
        torch.where(inherits_K[:, None], h_SH[sequence_K], zeros)[None],
        torch.where(inherits_K[:, None], c_SH[sequence_K], zeros)[None],
    )
