"""A plain PyTorch training loop over two logical CPU devices: python examples/train_loop.py."""

import torch
from torch import nn

from gru_parallel.engine import ThreadEngine, existing_devices
from gru_parallel.model import LOSSES, GRUStack, StackModel, WindowHead, Windows
from gru_parallel.planning import plan_from_device_map


def main() -> None:
    torch.manual_seed(0)
    x = torch.randn(64, 96, 8)
    y = x[:, -24:, :1].flip(1)

    stack = GRUStack(input_size=16, hidden_size=64, num_layers=4)
    model = StackModel(nn.Linear(8, 16), stack, WindowHead(64, (24, 1)))
    device_map = ["cpu:0", "cpu:0", "cpu:1", "cpu:1"]
    plan = plan_from_device_map(device_map, existing_devices(), num_layers=4)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)

    with ThreadEngine(model, plan, LOSSES["mse"]) as engine:
        # For the bubble alone: only a step that is timed has one where CUDA graphs replay it.
        engine.measure = True
        for step in range(20):
            loss = engine.train_step(Windows(x, y), step)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            print(f"step {step:2d}  loss {loss.item():.4f}  bubble {engine.timeline.bubble:.0%}")
        print("predictions:", tuple(engine.predict(Windows(x)).shape))


if __name__ == "__main__":
    main()
