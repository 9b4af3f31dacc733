"""PeerStage: layers of one `nn.GRU` as the stage of any system that is not this library."""

from __future__ import annotations

from torch import Tensor, nn


class PeerStage(nn.Module):
    """Consecutive layers of an `nn.GRU`, and the head behind the last.

    Between stages go time-first tensors, so that what is sent is contiguous without a copy: Gloo
    takes nothing else.

    Args:
        gru: all the layers; a copy is made of the weights of those that are taken.
        layers: which are taken.
        head: of the model; it runs on the last stage.
    """

    def __init__(self, gru: nn.GRU, layers: range, head: nn.Linear) -> None:
        super().__init__()
        self.is_first = layers.start == 0
        self.gru = nn.GRU(gru.hidden_size, gru.hidden_size, len(layers))
        weights = gru.state_dict()
        self.gru.load_state_dict(
            {
                f"{kind}_l{own}": weights[f"{kind}_l{layer}"]
                for own, layer in enumerate(layers)
                for kind in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
            }
        )
        self.head = head if layers.stop == gru.num_layers else None

    def forward(self, x: Tensor) -> Tensor:
        """Run one micro-batch.

        Args:
            x: windows, shape (batch, time, hidden_size), on the first stage; on others what the
                stage before gives out.

        Returns:
            Predictions, shape (batch, 1), on the last stage; on others outputs, shape
            (time, batch, hidden_size).
        """
        y: Tensor
        y, _ = self.gru(x.transpose(0, 1) if self.is_first else x)
        if self.head is None:
            return y
        predictions: Tensor = self.head(y[-1])
        return predictions
