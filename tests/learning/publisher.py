"""A process that publishes, rejects, rolls back and deletes until it is killed, and a look at what it left."""

import json
import multiprocessing
import os
import random
import time
from dataclasses import dataclass, field
from pathlib import Path

import torch
from learnt import MANIFEST, SPEC, report, whole
from safetensors.torch import load_file

from textseg.learning.versions import Versions

ACTS = ("publish", "publish", "publish", "reject", "rollback", "keep")
KEPT = 3  # versions
LONGEST_LIFE = 1.5  # seconds
PATIENCE = 120  # seconds
FORKS = multiprocessing.get_context("forkserver")  # imports torch once for all
FORKS.set_forkserver_preload(["textseg.learning.candidate", "timm"])


@dataclass
class Killed:
    """A folder of versions whose publisher is killed again and again; served: after the last kill."""

    folder: Path
    seed: int
    served: str = "v0000"
    numbers: list[str] = field(default_factory=list)
    kills: int = 0
    cut: dict[str, int] = field(default_factory=lambda: dict.fromkeys(ACTS, 0))

    def kill_one(self) -> None:
        """Let a publisher work for a moment, kill it, look at the versions."""
        rng, told = random.Random(f"{self.seed} {self.kills}"), self.folder.with_name(f"told{self.kills}")
        told.touch()
        process = FORKS.Process(target=work, args=(self.folder, told, rng.getrandbits(32)), daemon=True)
        process.start()
        deadline = time.monotonic() + PATIENCE
        while not told.stat().st_size:
            assert process.is_alive() and time.monotonic() < deadline, "a publisher does not work"
            time.sleep(0.001)
        time.sleep(rng.uniform(0, LONGEST_LIFE))
        process.kill()
        process.join(PATIENCE)
        assert process.exitcode == -9, "the publisher ended by itself"
        self.kills += 1
        self.check([json.loads(line) for line in told.read_bytes().split(b"\n")[:-1]])

    def check(self, told: list[dict[str, str]]) -> None:
        """Asserts that what serves is whole, and the last that was acknowledged, or what was under way."""
        begun = told.pop()["begin"] if "begin" in told[-1] else None
        done = [line for line in told if "done" in line]
        self.numbers += [line["version"] for line in done if line["done"] in ("publish", "reject")]
        before = ([self.served] + [line["version"] for line in done if line["done"] in ("publish", "rollback")])[-1]
        versions = Versions(self.folder, SPEC)
        self.served = whole(versions).version
        if begun:
            self.cut[begun] += 1
        expected = {"publish": self.served >= before, "rollback": self.served <= before}
        assert expected.get(begun, self.served == before), f"{begun}: {self.served} after {before}"
        assert [each for each in versions.stored() if each.fault] == []
        assert self.numbers == sorted(set(self.numbers)), "a number was given twice"
        assert {each.version for each in versions.verdicts()} >= set(self.numbers)


def work(folder: Path, told: Path, seed: int) -> None:
    """Act without end; say in the file `told` what is begun and, once it returned, what is done."""
    torch.set_num_threads(1)
    versions, rng = Versions(folder, SPEC), random.Random(seed)
    state = load_file(SPEC.weights_path)
    handle = os.open(told, os.O_WRONLY | os.O_APPEND)
    while True:
        act = rng.choice(ACTS)
        if act == "rollback" and versions.served().version == "v0000":
            continue
        os.write(handle, json.dumps({"begin": act}).encode() + b"\n")
        version = _act(versions, act, state)
        os.write(handle, json.dumps({"done": act, "version": version}).encode() + b"\n")


def _act(versions: Versions, act: str, state: dict[str, torch.Tensor]) -> str:
    if act == "publish":
        return versions.publish(state, MANIFEST, report("Better."))
    if act == "reject":
        return versions.reject(report("Worse."))
    return versions.rollback() if act == "rollback" else ",".join(versions.keep(KEPT))
