"""A model with segments, channels by themselves and a decoder, and the same in plain PyTorch."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from gru_parallel.model import (
    DecoderHead,
    GRUStack,
    StackModel,
    StepEncoder,
    WindowHead,
    WindowView,
)

N_CHANNELS, N_SEGMENTS, SEGMENT, HORIZON, HIDDEN = 3, 4, 2, 5, 6
"""The horizon is two segments and a half: the last step after the window reaches beyond it."""

N_DECODING = 3


def build_forecaster(
    num_layers: int = 4,
    *,
    per_channel: bool = True,
    decoder: bool = True,
    n_known: int = 0,
    dropout: float = 0.0,
    dtype: torch.dtype = torch.float64,
    seed: int = 1,
    **options: Any,
) -> StackModel:
    """Build a model; the same seed gives the same weights. Options are those of `GRUStack`."""
    torch.manual_seed(seed)
    n_alone = 1 if per_channel else N_CHANNELS
    view = WindowView(SEGMENT, N_CHANNELS if per_channel else None, n_known)
    encoder = StepEncoder(
        SEGMENT * (n_alone + n_known * (1 if decoder else 2)),
        HIDDEN,
        n_channels=view.n_channels,
        n_decoding=N_DECODING if decoder else 0,
        is_known_ahead=n_known > 0,
    )
    stack = GRUStack(HIDDEN, HIDDEN, num_layers, dropout=dropout, drops_last=decoder, **options)
    kind = DecoderHead if decoder else WindowHead
    head = kind.for_forecast(HIDDEN, HORIZON, n_alone, SEGMENT)
    return StackModel(encoder, stack, head, view).to(dtype)


def make_windows(
    batch_size: int = 2, *, dtype: torch.dtype = torch.float64, seed: int = 2
) -> tuple[Tensor, Tensor]:
    """Make windows x and targets y, of all channels."""
    generator = torch.Generator().manual_seed(seed)
    shape = batch_size, N_SEGMENTS * SEGMENT, N_CHANNELS
    x = torch.randn(shape, generator=generator, dtype=dtype)
    y = torch.randn(batch_size, HORIZON, N_CHANNELS, generator=generator, dtype=dtype)
    return x, y


class SegRNN(nn.Module):
    """SegRNN with its parallel decoder as its authors write it, but for layers on top of another.

    arXiv:2308.11200, and `models/SegRNN.py` in lss-1138/SegRNN.

    Args:
        num_layers: of the `nn.GRU`.
        cut_after: segments after which the state is detached, for truncated back-propagation.
    """

    def __init__(self, num_layers: int = 4, cut_after: Sequence[int] = ()) -> None:
        super().__init__()
        self.cut_after = cut_after
        self.value_embedding = nn.Sequential(nn.Linear(SEGMENT, HIDDEN), nn.ReLU())
        self.rnn = nn.GRU(HIDDEN, HIDDEN, num_layers, batch_first=True)
        self.pos_emb = nn.Parameter(torch.randn(N_DECODING, HIDDEN // 2))
        self.channel_emb = nn.Parameter(torch.randn(N_CHANNELS, HIDDEN // 2))
        self.predict = nn.Linear(HIDDEN, SEGMENT)

    def forward(self, x: Tensor) -> Tensor:
        """Forecast: (batch, time, channels) to (batch, horizon, channels)."""
        n, h = len(x), self.rnn.hidden_size
        segments = x.permute(0, 2, 1).reshape(-1, N_SEGMENTS, SEGMENT)
        h_n: Tensor | None = None
        bounds = [0, *self.cut_after, N_SEGMENTS]
        for first, stop in pairwise(bounds):
            h_n = None if h_n is None else h_n.detach()
            _, h_n = self.rnn(self.value_embedding(segments[:, first:stop]), h_n)
        assert h_n is not None
        both = [
            self.pos_emb.unsqueeze(0).repeat(N_CHANNELS, 1, 1),
            self.channel_emb.unsqueeze(1).repeat(1, N_DECODING, 1),
        ]
        embedding = torch.cat(both, dim=-1).view(-1, 1, h).repeat(n, 1, 1)
        start = h_n.repeat(1, 1, N_DECODING).view(self.rnn.num_layers, -1, h)
        outputs, _ = self.rnn(embedding, start)
        y: Tensor = self.predict(outputs).view(n, N_CHANNELS, -1)
        return y.permute(0, 2, 1)[:, :HORIZON]

    def load_from(self, model: StackModel) -> None:
        """Take over the weights of a model of `build_forecaster`."""
        encoder, head = model.encoder, model.head
        assert isinstance(encoder, StepEncoder)
        assert encoder.places is not None
        assert encoder.channels is not None
        self.value_embedding[0].load_state_dict(encoder.linear.state_dict())
        self.rnn.load_state_dict(model.gru.state_dict())
        self.predict.load_state_dict(head.linear.state_dict())
        self.pos_emb.data = encoder.places.weight.detach().clone()
        self.channel_emb.data = encoder.channels.weight.detach().clone()

    def in_order(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        """Put what belongs to the parameters into the order of those of `build_forecaster`."""
        by_name = dict(zip((name for name, _ in self.named_parameters()), tensors, strict=True))
        ends = {
            name: by_name.pop(name)
            for name in (
                "value_embedding.0.weight",
                "value_embedding.0.bias",
                "channel_emb",
                "pos_emb",
                "predict.weight",
                "predict.bias",
            )
        }
        *before, weight, bias = ends.values()
        return [*before, *by_name.values(), weight, bias]
