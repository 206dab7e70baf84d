"""Make trouble for runs, many times over, and print how often the promises of docs/reliability.md held.

    python -m benchmarks.trouble --times 5

Each row is a kind of trouble, in real processes on a small export of the scenes: kills, signals, NaN gradients, files
beyond the allowed size, flipped bits, second starts. A run counts as held if it left no bad state and, resumed, ended
in the weights of a run that nobody disturbed, bit for bit; a damaged file, if it was refused in one sentence, gave way
to the older state or was made again. Exit status 1 where anything did not hold.

COST: one to two minutes for each time on one core.
"""

import argparse
import math
import multiprocessing
import os
import random
import resource
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import compat  # noqa: E402, F401, I001
import torch  # noqa: E402
from safetensors.torch import load_file  # noqa: E402
from tqdm import tqdm  # noqa: E402

from backbones import read_checkpoint  # noqa: E402
from benchmarks import carry_out  # noqa: E402
from datasets.shards import load_index  # noqa: E402
from study.configure import load_config  # noqa: E402
from engine.errors import UserError  # noqa: E402
from engine.finite import state_faults  # noqa: E402
from engine.loop import AddressedLoop  # noqa: E402
from engine.resume import newest_state  # noqa: E402
from engine.run_folder import read_run  # noqa: E402
from engine.stop import AGAIN, INTERRUPTED  # noqa: E402
from pretrain.data.captions import shard_vocabulary  # noqa: E402
from pretrain.data.tags import tag_vocabulary  # noqa: E402
from scenes.export import ensure  # noqa: E402
from study.run import run  # noqa: E402

CONFIG, ITERATIONS, REFUSED = "pretrain/configs/mae.py", 8, 2
Meddle = Callable[[AddressedLoop], None]


def train(root: Path, folder: Path, meddle: Meddle | None = None, resume: bool = False) -> int:
    """Run MAE for some iterations in a process of its own, calling `meddle` before each; returns its exit status."""

    def body() -> None:
        quiet = os.open(folder.with_suffix(".log"), os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(quiet, 1), os.dup2(quiet, 2)
        if meddle:
            run_iter = AddressedLoop.run_iter
            AddressedLoop.run_iter = lambda loop, batches: (meddle(loop), run_iter(loop, batches))
        options = {"train_cfg.max_iters": ITERATIONS, "train_dataloader.batch_size": 8, "progress_interval": 1,
                   "state_interval": 1}  # fmt: skip
        cfg = load_config(CONFIG, data=str(root / "small.py"), work_dir=str(folder), options=options, resume=resume)
        try:
            run(cfg, "trouble")
        except UserError:
            os._exit(REFUSED)
        except SystemExit as end:
            os._exit(end.code)
        os._exit(0)

    process = multiprocessing.get_context("fork").Process(target=body)
    process.start()
    process.join()
    return process.exitcode


def ends_alike(root: Path, folder: Path) -> bool:
    """Whether every saved state is finite and the resumed run's encoder is that of the undisturbed one."""
    states = [torch.load(path, weights_only=True) for path in (folder / "state").glob("*.pt")]
    if any(map(state_faults, states)) or (folder / "checkpoint").exists():
        return False
    if train(root, folder, resume=True) != 0:
        return False
    ours, theirs = (load_file(place / "checkpoint" / "encoder.safetensors") for place in (folder, root / "straight"))
    return ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in ours)


def at(iteration: int, do: Meddle) -> Meddle:
    """Call `do` as that iteration begins."""
    return lambda loop: do(loop) if loop.iter + 1 == iteration else None


def poison(loop: AddressedLoop) -> None:
    """Make one parameter's next gradient NaN."""
    parameter = loop.runner.optim_wrapper.param_groups[0]["params"][0]
    hook = parameter.register_hook(lambda gradient: (hook.remove(), gradient * math.nan)[1])


def no_room(loop: AddressedLoop) -> None:
    """Let no file grow beyond what a row of the curve needs: what a full disk or a limit does to a state."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))


def kill_in_write(loop: AddressedLoop) -> None:
    """Die at a step of the next writing: flush or rename of the progress, of the state, of the state's manifest."""
    left = [random.Random(loop.iter).randrange(6)]

    def dying(step: Callable) -> Callable:
        def done(*words: object) -> object:
            if not left[0]:
                os.kill(os.getpid(), signal.SIGKILL)
            left[0] -= 1
            return step(*words)

        return done

    os.fsync, os.replace = dying(os.fsync), dying(os.replace)


def kill(number: int) -> Meddle:
    """Send the training process a signal."""
    return lambda loop: os.kill(os.getpid(), number)


def disturbed(do: Meddle, status: int) -> Callable[[Path, random.Random], bool]:
    """The trial of a run that `do` disturbs at an iteration drawn: it ends with `status` and resumes exactly."""

    def trial(root: Path, draw: random.Random) -> bool:
        folder = root / "run"
        shutil.rmtree(folder, ignore_errors=True)
        return train(root, folder, at(draw.randint(1, ITERATIONS), do)) == status and ends_alike(root, folder)

    return trial


def second_start(root: Path, draw: random.Random) -> bool:
    """A second process in the folder of a run is refused and changes nothing of it."""
    folder = root / "run"
    shutil.rmtree(folder, ignore_errors=True)
    ends = os.pipe()

    def again(loop: AddressedLoop) -> None:
        os.write(ends[1], bytes([train(root, folder)]))

    status = train(root, folder, at(draw.randint(1, ITERATIONS), again))
    found = os.read(ends[0], 1)[0]
    shutil.rmtree(folder / "state")
    encoders = [(place / "checkpoint/encoder.safetensors").read_bytes() for place in (folder, root / "straight")]
    return status == 0 and found == REFUSED and encoders[0] == encoders[1]


def flipped(path: Path, read: Callable[[], object]) -> Callable[[Path, random.Random], bool]:
    """The trial of a file with one flipped bit: `read` gives what it gave before, or refuses in one line."""

    def trial(root: Path, draw: random.Random) -> bool:
        before, good = path.read_bytes(), read()
        data = bytearray(before)
        data[draw.randrange(len(data))] ^= 1 << draw.randrange(8)
        path.write_bytes(data)
        try:
            return read() == good
        except UserError as error:
            return "\n" not in str(error)
        finally:
            path.write_bytes(before)

    return trial


def iteration_found(folder: Path) -> bool:
    """Whether a usable state was found; its checksum vouches for its content."""
    return newest_state(folder)["iteration"] in (ITERATIONS - 1, ITERATIONS)


def trials(root: Path) -> dict[str, tuple[int, Callable[[Path, random.Random], bool]]]:
    """Each kind of trouble: how many times as often as asked for, and one trial of it."""
    straight, shards = root / "straight", root / "scenes" / "shards"
    checkpoint, index = straight / "checkpoint", root / "scenes" / ".shards.index"
    caches = {
        "counts": lambda: load_index(shards).first.tolist(),
        "vocabulary": lambda: shard_vocabulary(shards),
        "tags": lambda: tag_vocabulary(shards, "*.tar", "enriched", 2),
    }
    for read in caches.values():
        read()
    state = sorted((straight / "state").glob("*.pt"))[-1]
    found = lambda: iteration_found(straight / "state")  # noqa: E731
    files = {
        "newest state": (state, found),
        "its manifest": (state.with_suffix(".json"), found),
        "run.json": (straight / "run.json", lambda: read_run(straight)),
        "checkpoint.json": (checkpoint / "checkpoint.json", lambda: read_checkpoint(checkpoint)),
        **{name: (next(index.glob(f"{name}-*[!6]")), read) for name, read in caches.items()},
    }  # fmt: skip
    return {
        "kill -9 in training": (1, disturbed(kill(signal.SIGKILL), -signal.SIGKILL)),
        "kill -9 in the write of a state": (1, disturbed(kill_in_write, -signal.SIGKILL)),
        "SIGTERM in training": (1, disturbed(kill(signal.SIGTERM), AGAIN)),
        "SIGUSR1 in training": (1, disturbed(kill(signal.SIGUSR1), AGAIN)),
        "Ctrl-C in training": (1, disturbed(kill(signal.SIGINT), INTERRUPTED)),
        "NaN gradient": (1, disturbed(poison, REFUSED)),
        "no room for a state": (1, disturbed(no_room, REFUSED)),
        "second start": (1, second_start),
        **{f"flipped bit: {name}": (20, flipped(*pair)) for name, pair in files.items()},
    }


def main() -> int:
    """Prepare a small data set and an undisturbed run, make trouble, print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--times", type=int, default=5, help="of each trouble; bits are flipped 20 times as often")
    parser.add_argument("--only", nargs="+", metavar="WORDS", help="troubles whose names hold one of these")
    parser.add_argument("--seed", type=int, default=0, help="of when and where")
    args = parser.parse_args()
    torch.set_num_threads(1)
    rows = []
    with tempfile.TemporaryDirectory() as place:
        root = Path(place)
        ensure(root / "scenes", counts={"pretrain": 48, "train": 2, "val": 2, "test": 2}, processes=1)
        data = load_config(CONFIG).data.to_dict()
        data |= {"root": data["root"].replace("data/scenes", str(root / "scenes")), "name": "small-scenes"}
        data.pop("scenes_root", None)
        (root / "small.py").write_text(f"data = {data!r}\n")
        if train(root, root / "straight") != 0:
            sys.exit((root / "straight.log").read_text())
        asked = {name: found for name, found in trials(root).items() if any(part in name for part in args.only or [""])}
        for name, (factor, trial) in asked.items():
            draw, times = random.Random(f"{args.seed} {name}"), args.times * factor
            bar = tqdm(range(times), desc=name, leave=False, file=sys.__stderr__)
            with open(os.devnull, "w") as nowhere, redirect_stdout(nowhere), redirect_stderr(nowhere):
                held = sum(trial(root, draw) for _ in bar)
            rows.append((name, times, held))
    print("| trouble | times | held |\n|---|---|---|")
    print("\n".join(f"| {name} | {times} | {held} |" for name, times, held in rows))
    return int(any(times != held for _, times, held in rows))


if __name__ == "__main__":
    carry_out(main)
