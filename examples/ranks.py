"""The loop of train_loop.py with one process per stage, which saves the weights of all of them.

torchrun --nproc-per-node 2 examples/ranks.py
"""

import torch
from torch import Tensor, nn

from gru_parallel.engine import existing_devices
from gru_parallel.model import LOSSES, GRUStack, StackModel, WindowHead, Windows
from gru_parallel.planning import plan_from_device_map
from gru_parallel.processes.process_engine import ProcessEngine
from gru_parallel.ranks import Launch, Ranks, join


def make_model() -> StackModel:
    stack = GRUStack(input_size=16, hidden_size=64, num_layers=4)
    return StackModel(nn.Linear(8, 16), stack, WindowHead(64, (24, 1)))


def whole_state(model: StackModel, ranks: Ranks) -> dict[str, Tensor]:
    """Return the weights of all stages; here are those of this rank's, the others are empty."""
    here = {name: w.cpu() for name, w in model.state_dict().items() if not w.is_meta}
    parts = ranks.gather(here, "the weights of all ranks")
    return {name: weight for part in parts for name, weight in part.items()}


def train(ranks: Ranks) -> None:
    torch.manual_seed(0)
    x = torch.randn(64, 96, 8)
    y = x[:, -24:, :1].flip(1)

    model = make_model()  # to go on from saved weights, load them here
    device_map = ["cpu:0", "cpu:0", "cpu:1", "cpu:1"]
    plan = plan_from_device_map(device_map, existing_devices(), num_layers=4)

    with ProcessEngine(model, plan, LOSSES["mse"], ranks=ranks) as engine:
        engine.free_other_stages()
        own = [weight for weight in model.parameters() if not weight.is_meta]
        optimizer = torch.optim.Adam(own, lr=1e-3)
        for step in range(20):
            loss = engine.train_step(Windows(x, y), step)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            if ranks.is_first:
                print(f"step {step:2d}  loss {loss.item():.4f}")
        predictions = engine.collect(engine.predict(Windows(x)))
    weights = whole_state(model, ranks)
    if ranks.is_first:
        print("predictions:", tuple(predictions.shape))
        torch.save(weights, "ranks.pt")
        again = make_model()
        again.load_state_dict(torch.load("ranks.pt"))
        are_same = torch.allclose(again(x), predictions, atol=1e-5)
        print("those of ranks.pt in one process:", "the same" if are_same else "others")


def main() -> None:
    launch = Launch.from_environment()
    if launch is None:
        raise SystemExit("Start it with torchrun --nproc-per-node 2 examples/ranks.py")
    with join(launch, timeout_s=60) as ranks:
        train(ranks)


if __name__ == "__main__":
    main()
