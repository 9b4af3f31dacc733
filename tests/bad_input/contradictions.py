"""Settings of which each alone would do, and which contradict each other, drawn at random."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from random import Random

from tests.bad_input.settings import GOOD_FILE, PLAN
from tests.bad_input.tries import Try
from tests.cli.in_process import SMALL

Draw = Callable[[Random], tuple[str, ...]]


def _more(name: str, than: str, most: int = 9) -> Draw:
    """Return settings of which the first must not be larger than the second, and is."""

    def draw(random: Random) -> tuple[str, ...]:
        least = random.randint(1, most)
        return (
            f"{than}={least}",
            f"{name}={least + random.randint(1, 10 ** random.randint(0, 9))}",
        )

    return draw


def _another_number(setting: str, words: tuple[str, ...]) -> Draw:
    """Return a list with more or fewer entries than there are blocks."""

    def draw(random: Random) -> tuple[str, ...]:
        n_blocks = random.randint(2, 5)
        n_entries = random.choice([n for n in range(1, 8) if n != n_blocks])
        entries = ",".join(random.choice(words) for _ in range(n_entries))
        return (f"model.num_layers={n_blocks}", f"{setting}=[{entries}]")

    return draw


def _map_with_return(random: Random) -> tuple[str, ...]:
    one, other = random.sample(range(4), 2)
    return (f"placement.device_map=[cpu:{one},cpu:{other},cpu:{one},cpu:{one}]",)


def _map_with_gap(random: Random) -> tuple[str, ...]:
    end = random.randint(0, 2)
    begin = random.choice([n for n in range(4) if n != end + 1])
    return (f"placement.device_map={{0-{end}: cpu:0, {begin}-3: cpu:1}}",)


def _split(random: Random) -> tuple[str, ...]:
    parts = [round(random.uniform(0.34, 1), 3) for _ in range(3)]
    return (f"data.split={parts}".replace(" ", ""),)


def _split_of_rows(random: Random) -> tuple[str, ...]:
    parts = [random.randint(88, 10 ** random.randint(3, 12)) for _ in range(3)]
    return (f"data.split={parts}".replace(" ", ""),)


def _mixed_split(random: Random) -> tuple[str, ...]:
    parts = [0.5, random.randint(2, 100), random.choice([0.2, -1, 0, 30])]
    random.shuffle(parts)
    return (f"data.split={parts}".replace(" ", ""),)


def _too_long(random: Random) -> tuple[str, ...]:
    name = random.choice(["input_length", "horizon", "season_length"])
    return (f"data.{name}={random.randint(260, 10 ** random.randint(3, 18))}",)


def _stream(random: Random) -> tuple[str, ...]:
    stride = random.choice([3, 5, 6, 7, 9, 16, 100])
    return ("data.order=streams", "data.centre=none", f"data.stride={stride}")


def _same_mark(random: Random) -> tuple[str, ...]:
    mark = random.choice(["comma", "point"])
    return (f"data.decimal={mark}", f"data.thousands={mark}")


def _plan_and_more(random: Random) -> tuple[str, ...]:
    other = random.choice(
        [
            "model.num_layers=7",
            "schedule=gpipe",
            "schedule.n_chunks=3",
            "model.layers_per_block=2",
            "placement.device_map=[0,0,1,1]",
            "placement.merge=false",
        ]
    )
    return ("placement=file", f"placement.path={PLAN}", other)


def _too_large(random: Random) -> tuple[str, ...]:
    name = random.choice(
        ["data.n_steps", "data.n_channels", "model.hidden_size", "model.num_layers"]
    )
    return (f"{name}={10 ** random.randint(12, 40)}",)


def _no_checkpoint(random: Random) -> tuple[str, ...]:
    name = random.choice(["ckpt_path", "init_from"])
    path = random.choice(["much", "much.ckpt", "good.csv", ".", "/", "5", "[]", "{}", "nan", "''"])
    return (f"{name}={path}",)


def _fixed(*settings: str) -> Draw:
    return lambda _: settings


DRAWS: dict[str, Draw] = {
    "more layers a block than layers": _more("model.layers_per_block", "model.num_layers"),
    "more chunks than steps": _more("schedule.n_chunks", "data.input_length"),
    "more micro-batches than windows": _more("schedule.n_micro_batches", "data.batch_size"),
    "a least input above the whole": _more("data.min_input_length", "data.input_length"),
    "more epochs at least than at most": _more("trainer.min_epochs", "trainer.max_epochs"),
    "more steps at least than at most": _more("trainer.min_steps", "trainer.max_steps"),
    "a validation after the end": _more("trainer.check_val_every_n_epoch", "trainer.max_epochs"),
    "cuts beyond the window": _more("schedule.truncate", "schedule.n_chunks", 8),
    "directions of other blocks": _another_number("model.bidirectional", ("true", "false")),
    "policies of other blocks": _another_number("model.h_0", ("zeros", "learned")),
    "devices of other blocks": _another_number("placement.device_map", ("cpu:0",)),
    "a device that returns": _map_with_return,
    "a map with a gap": _map_with_gap,
    "shares of more than all": _split,
    "counts of more than all": _split_of_rows,
    "shares and counts": _mixed_split,
    "longer than the series": _too_long,
    "a stride that breaks streams": _stream,
    "larger than memory": _too_large,
    "no checkpoint": _no_checkpoint,
    "a plan for something else": _plan_and_more,
    "one mark for two things": _same_mark,
    "streams of centred windows": _fixed("data.order=streams"),
    "every step of centred windows": _fixed("model.head=every_step"),
    "carried over shuffled windows": _fixed("model.h_0=carry"),
    "two checkpoints": _fixed("ckpt_path=a.ckpt", "init_from=b.ckpt"),
    "weights that cannot wait": _fixed("schedule=zero_bubble", "model.core=native"),
    "a frequency without times": _fixed("data.time_column=none", "data.frequency=1h"),
    "a frequency with dropped rows": _fixed("data.missing=drop", "data.frequency=1h"),
    "a series column for times": _fixed("data.series_column=a", "data.time_column=a"),
    "a target that does not go in": _fixed("data.columns=[a]", "data.target=b"),
}

_ON_A_FILE = (
    "one mark for two things",
    "a frequency without times",
    "a frequency with dropped rows",
    "a series column for times",
    "a target that does not go in",
)


def contradictions(n_each: int, seed: int = 0) -> Iterator[Try]:
    """Yield so many tries of each kind; fewer where they repeat."""
    random = Random(seed)
    for kind, draw in DRAWS.items():
        start = GOOD_FILE if kind in _ON_A_FILE else SMALL
        drawn = dict.fromkeys(draw(random) for _ in range(n_each))
        for number, settings in enumerate(drawn):
            command = "plan" if number % 3 == 2 and kind not in _OF_A_RUN else "train"
            yield Try(kind, command, (*start, *settings))


_OF_A_RUN = ("no checkpoint", "two checkpoints", "larger than memory")
"""What `plan` does not look at."""
