"""An LSTM that is stepped with plain matrix products and trained over packed sequences.

Axes: B rows; S sequences; T time; G gates (4 times the cell size); H cell size; F features.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.rnn import PackedSequence


class Lstm(nn.Module):
    """One layer; `step` traces into a graph with a free batch axis, `sequence` trains fast."""

    def __init__(self, num_features: int, cell_size: int) -> None:
        """Initialise both matrices orthogonally, one gate's block like the other's, biases zero."""
        super().__init__()
        self.core = nn.LSTM(num_features, cell_size)
        for name, weight in self.core.named_parameters():
            if name.startswith("weight"):
                nn.init.orthogonal_(weight, 1.0)
            else:
                nn.init.zeros_(weight)

    def step(self, features_BF: Tensor, h_BH: Tensor, c_BH: Tensor) -> tuple[Tensor, Tensor]:
        """Return the next (h, c); the next h is also the output."""
        core = self.core
        gates_BG = functional.linear(features_BF, core.weight_ih_l0, core.bias_ih_l0) + functional.linear(
            h_BH, core.weight_hh_l0, core.bias_hh_l0
        )
        i, f, g, o = gates_BG.chunk(4, 1)
        c_BH = f.sigmoid() * c_BH + i.sigmoid() * g.tanh()
        return o.sigmoid() * c_BH.tanh(), c_BH

    def sequence(self, features_STF: Tensor, h_SH: Tensor, c_SH: Tensor, starts_ST: Tensor) -> Tensor:
        """Return outputs [S, T, H]; the state is zeroed before rows where `starts_ST` is true.

        Every start opens a sequence of its own. All of them run side by side, longest first, as
        rows of one packed sequence: no padding, and one call whatever the number of starts.
        """
        order_N, batch_sizes, first_K = _pack(starts_ST)
        outputs_NH, _ = self.core(
            PackedSequence(features_STF.flatten(0, 1)[order_N], batch_sizes),
            _initial(h_SH, c_SH, starts_ST, first_K),
        )
        unpacked = torch.empty_like(outputs_NH.data)
        unpacked = unpacked.index_copy(0, order_N, outputs_NH.data)
        return unpacked.reshape(*starts_ST.shape, -1)


def _pack(starts_ST: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Cut rows into K pieces at starts.

    Returns the row numbers in packed order [N], the number of pieces that still run at each step,
    and each piece's first row number [K], longest piece first.
    """
    num_sequences, num_steps = starts_ST.shape
    opens_ST = starts_ST.clone()
    opens_ST[:, 0] = True
    first_K = opens_ST.flatten().nonzero().squeeze(1)
    end = torch.tensor([num_sequences * num_steps], device=first_K.device)
    lengths_K, longest_first_K = torch.diff(first_K, append=end).sort(descending=True, stable=True)
    first_K = first_K[longest_first_K]
    steps_L = torch.arange(int(lengths_K[0]), device=first_K.device)
    running_LK = steps_L[:, None] < lengths_K
    order_N = (first_K + steps_L[:, None])[running_LK]
    return order_N, running_LK.sum(1).cpu(), first_K


def _initial(h_SH: Tensor, c_SH: Tensor, starts_ST: Tensor, first_K: Tensor) -> tuple[Tensor, Tensor]:
    num_steps = starts_ST.shape[1]
    inherits_K1 = ((first_K % num_steps == 0) & ~starts_ST.flatten()[first_K]).to(h_SH.dtype)[:, None]
    sequence_K = first_K // num_steps
    return (h_SH[sequence_K] * inherits_K1)[None], (c_SH[sequence_K] * inherits_K1)[None]
