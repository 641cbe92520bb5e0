"""``hmimo-fast train``: a network from a recipe."""

from __future__ import annotations

import argparse
from dataclasses import asdict, replace
from pathlib import Path

from ..streams import say, tell
from .arguments import Commands, count, integer, seed
from .display import display
from .output import add_force, check

_DESCRIPTION = """\
Train a network on the sum rate it reaches, over channels drawn as it goes. A
run that was ended goes on where it was when the same command is given again.
"""

_EPILOG = """\
RECIPE is the name of a shipped recipe, NETWORK_CONSTRAINT:
  mbdnn_radiated     mbdnn_digital       the network of paper A
  unrolled_radiated  unrolled_digital    ours
  gnn2d_radiated     fnn_radiated        those that paper A compares with
or a file .json like them: the model, its configuration, and the fields of
hmimo_fast.nn.training.Training.

what is written:
  FOLDER/checkpoint.safetensors   weights and optimizer, at every validation
  FOLDER/log.csv                  step, validation rate (bit/s/Hz), seconds
  FOLDER/model.safetensors        the trained model, for hmimo_fast.nn.load
  Each file appears complete or not at all.

exit status:
  0 done; 2 a bad argument or file; 130 interrupted; 143 terminated

examples:
  hmimo-fast train mbdnn_digital
  hmimo-fast train unrolled_radiated --steps 100 --threads 1
  hmimo-fast train mbdnn_digital --samples 5000 --folder five_thousand
"""


def add(commands: Commands) -> None:
    """Add the command."""
    command = commands.add_parser(
        "train",
        help="train a network",
        description=_DESCRIPTION,
        epilog=_EPILOG,
    )
    option = command.add_argument
    option("recipe", metavar="RECIPE", help="what to train, and how (see below)")
    option("--folder", type=Path, metavar="DIR",
        help="for what is written (default: train_RECIPE here)")  # fmt: skip
    option("--steps", type=count, metavar="INT", help="batches (default: the recipe's)")
    option("--batch", type=integer(1, 100_000), metavar="INT",
        help="channels per batch (default: the recipe's)")  # fmt: skip
    option("--samples", type=integer(1, 1_000_000), metavar="INT",
        help="train on this many fixed channels (default: new draws at every step)")  # fmt: skip
    option("--seed", type=seed, metavar="INT",
        help="of the channels and of the first weights (default: the recipe's)")  # fmt: skip
    option("--device", default="cpu", help="where torch computes, such as cuda (default: cpu)")
    option("--threads", type=count, metavar="T", help="most threads of torch (default: its own)")
    add_force(command)
    command.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """Train, and write the model."""
    import torch

    from .. import nn
    from ..nn.training import load_recipe

    if options.threads is not None:
        torch.set_num_threads(options.threads)
    given = {name: getattr(options, name) for name in ("steps", "batch", "samples", "seed")}
    changes = {name: value for name, value in given.items() if value is not None}
    recipe = load_recipe(options.recipe)
    training = replace(recipe.training, **changes)
    folder: Path = options.folder or Path(f"train_{Path(options.recipe).stem}")
    folder.mkdir(parents=True, exist_ok=True)
    for name, mark in (("log.csv", "step,rate,seconds"), ("model.safetensors", '"hmimo_fast"')):
        check("--folder", folder / name, options.force, mark)
    with display() as begin:
        progress = begin(f"{options.recipe}: {training.steps} steps of {training.batch} channels")

        def report(done: int, steps: int, rate: float) -> None:
            progress(done, steps)
            if done % training.check_every == 0 or done == steps:
                tell(f"step {done}: {rate:.3f} bit/s/Hz")

        model = nn.train(
            options.recipe, folder=folder, device=options.device, report=report, **changes
        )
    nn.save(model, folder / "model.safetensors", asdict(training))
    say(f"model: {folder / 'model.safetensors'}")
