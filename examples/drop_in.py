"""Replace nn.GRU by gru_parallel.GRU in a plain training loop: python examples/drop_in.py."""

import torch
from torch import Tensor, nn

import gru_parallel


class Forecaster(nn.Module):
    def __init__(self, gru: nn.GRU) -> None:
        super().__init__()
        self.gru = gru
        self.head = nn.Linear(gru.hidden_size, 1)

    def forward(self, x: Tensor) -> Tensor:
        y, _ = self.gru(x)
        return self.head(y[:, -1])


def train(gru: nn.GRU) -> list[float]:
    torch.manual_seed(1)
    x = torch.randn(32, 48, 8)
    y = x[:, -4:, 0].sum(1, keepdim=True)
    model = Forecaster(gru)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    losses = []
    for _ in range(12):
        loss = nn.functional.mse_loss(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        losses.append(loss.item())
    return losses


def main() -> None:
    torch.manual_seed(0)
    one = nn.GRU(8, 64, num_layers=4, batch_first=True)
    torch.manual_seed(0)
    device_map = ["cpu:0", "cpu:0", "cpu:1", "cpu:1"]
    cut = gru_parallel.GRU(8, 64, num_layers=4, batch_first=True, device_map=device_map)

    losses = list(zip(train(one), train(cut), strict=True))

    print("step     nn.GRU  gru_parallel.GRU")
    for step, (expected, found) in enumerate(losses):
        print(f"{step:4d}  {expected:9.6f}  {found:16.6f}")
    off = max(abs(found - expected) / expected for expected, found in losses)
    print(f"largest relative difference {off:.1e}: {'the same' if off < 1e-5 else 'NOT THE SAME'}")


if __name__ == "__main__":
    main()
