"""Two processes that torchrun starts on the CPU train as one does."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from tiny_training import RECIPE, gradients, pictures, run, tiny
from two_processes import COUNT, LONG

from textseg.engine.distributed import processes
from textseg.errors import OptionError

HERE = Path(__file__).parent
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]


def torchrun(*command: str) -> subprocess.CompletedProcess:
    """What two processes say and leave."""
    if not torch.distributed.is_gloo_available():
        pytest.skip("torch has no gloo here")
    surroundings = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run([*TORCHRUN, *command], capture_output=True, text=True, env=surroundings)
    assert done.returncode == 0, done.stderr[-3000:]
    return done


@pytest.fixture(scope="module")
def shared_out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where two processes have trained, see two_processes.py."""
    folder = tmp_path_factory.mktemp("shared_out")
    torchrun(str(HERE / "two_processes.py"), str(folder))
    return folder


@pytest.fixture(scope="module")
def ranks(shared_out: Path) -> list[dict]:
    """What each of them had at the end."""
    return [torch.load(shared_out / f"rank{rank}.pt", weights_only=True) for rank in range(2)]


def test_the_gradients_are_those_of_the_joint_batch(shared_out, tmp_path):
    run(tiny(norm=True, frozen=True), RECIPE, pictures(4), tmp_path)
    both = zip(gradients(shared_out / "step"), gradients(tmp_path), strict=True)
    assert max((one - other).abs().max().item() for one, other in both) < 1e-5


def test_both_end_with_the_same_weights_and_the_same_choice(ranks):
    first, second = (rank["weights"] for rank in ranks)
    assert all(torch.equal(value, second[name]) for name, value in first.items())
    assert ranks[0]["epoch"] == ranks[1]["epoch"] > 0 and ranks[0]["dice"] == ranks[1]["dice"]


def test_the_first_alone_writes_and_tells(shared_out, ranks):
    names = ["best.pt", "resume_checkpoint_epoch=2.pt", "resume_checkpoint_epoch=3.pt"]
    assert sorted(path.name for path in (shared_out / "long").iterdir()) == names
    assert len(list((shared_out / "board").iterdir())) == 1
    assert [rank["told"] for rank in ranks] == [LONG.epochs, 0]


def test_what_two_began_one_goes_on_with(shared_out, ranks):
    again = run(tiny(norm=True), LONG, pictures(COUNT), shared_out / "long")
    assert (again.epoch, again.dice) == (ranks[0]["epoch"], ranks[0]["dice"])
    assert all(torch.equal(value, ranks[0]["weights"][name]) for name, value in again.network.state_dict().items())


def test_both_pass_over_a_damaged_checkpoint(shared_out, ranks, tmp_path):
    shutil.copytree(shared_out, tmp_path, dirs_exist_ok=True)
    (tmp_path / "long" / f"resume_checkpoint_epoch={LONG.epochs}.pt").write_bytes(b"")
    torchrun(str(HERE / "two_processes.py"), str(tmp_path))
    again = [torch.load(tmp_path / f"rank{rank}.pt", weights_only=True) for rank in range(2)]
    assert [each["told"] for each in again] == [1, 0]  # the last epoch alone was trained again
    for name, value in ranks[0]["weights"].items():
        assert torch.equal(again[0]["weights"][name], again[1]["weights"][name])
        assert torch.allclose(again[0]["weights"][name], value, atol=1e-5)


def test_the_same_command_trains_under_torchrun(drawn, tmp_path):
    options = ["--epochs", "1", "--phantoms", "0", "--batch", "4", "--workers", "0", "--random-encoders"]
    command = ["-m", "textseg.cli", "train", "c2fvl-compact", "--data", str(drawn), "--output", str(tmp_path), *options]
    told = torchrun(*command).stdout
    assert told == f"{tmp_path / 'c2fvl-compact.safetensors'}: use it with --weights\n"
    manifest = json.loads((tmp_path / "c2fvl-compact.json").read_text())
    assert manifest["data"]["rows"] == 4 and manifest["metrics"]["validation"]["rows"] == 2


def test_several_processes_do_not_share_a_gpu(monkeypatch):
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    with pytest.raises(OptionError, match="--device cuda: each"), processes("cuda:0"):
        pass
