"""The launch recipes: shells read them, torchrun knows their options, two machines meet."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import yaml
from torch.distributed.run import get_args_parser

from data_manifests.media import Workspace
from data_manifests.store import Store
from training.journal import read_journal

ROOT = Path(__file__).parents[2]
LAUNCH = ROOT / "launch"
SHELLS = ("one-node.sh", "node.sh", "slurm.sbatch")


@pytest.mark.parametrize("name", SHELLS)
def test_a_shell_reads_the_recipe(name: str) -> None:
    subprocess.run(["bash", "-n", str(LAUNCH / name)], check=True)
    assert "set -euo pipefail" in (LAUNCH / name).read_text()


def options_of(name: str, tmp_path: Path, **environment: str) -> Any:
    """What torchrun would be told by a recipe, parsed by torchrun's own parser."""
    stand_in = tmp_path / "torchrun"
    stand_in.write_text('#!/usr/bin/env bash\nprintf "%s\\n" "$@"\n')
    stand_in.chmod(0o755)
    found = subprocess.run(
        ["bash", str(LAUNCH / name), "prior", "--name", "two words", "--resume"],
        env={"PATH": f"{tmp_path}:{os.environ['PATH']}", **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    return get_args_parser().parse_args(found.stdout.splitlines())


def test_torchrun_knows_what_the_shells_tell_it(tmp_path: Path) -> None:
    one = options_of("one-node.sh", tmp_path)
    assert (one.standalone, one.nproc_per_node, one.module) == (True, "gpu", True)
    assert (one.training_script, one.training_script_args) == (
        "authface",
        ["train", "prior", "--name", "two words", "--resume"],
    )
    assert one.shutdown_timeout == 600
    many = options_of("node.sh", tmp_path, NODES="3", MEETING="a:1", RUN="r", PROCESSES="2")
    assert (many.nnodes, many.nproc_per_node, many.rdzv_endpoint) == ("3", "2", "a:1")
    assert (many.rdzv_backend, many.rdzv_id, many.max_restarts) == ("c10d", "r", 0)


def test_a_machine_that_was_not_told_of_the_others_says_so() -> None:
    told = {"PATH": os.environ["PATH"], "NODES": "2", "RUN": "r"}
    found = subprocess.run(
        ["bash", str(LAUNCH / "node.sh"), "prior"], env=told, capture_output=True, check=False
    )
    assert found.returncode != 0
    assert b"MEETING: host:port of one of them" in found.stderr


@pytest.mark.parametrize(("fails", "left_s", "again"), [(0, 99, 0), (1, 99, 1), (1, 9000, 0)])
def test_a_job_of_slurm_tells_each_machine_and_is_queued_again_only_when_it_was_stopped(
    fails: int, left_s: int, again: int, tmp_path: Path
) -> None:
    """Slurm's commands are stand-ins that write down what they are told: there is no cluster."""
    log = tmp_path / "log"
    stand_ins = {
        "scontrol": f'[[ "$1" == show ]] && printf "%s\\n" node-{{1..900}} || echo "$@" >> {log}',
        "srun": f'echo "$NODES $MEETING $RUN $PROCESSES" >> {log}; '
        f'printf "%s\\n" "${{@:2}}" >> {log}; exit {fails}',
    }
    for name, body in stand_ins.items():
        (tmp_path / name).write_text(f"#!/usr/bin/env bash\n{body}\n")
        (tmp_path / name).chmod(0o755)
    slurm = {"NNODES": "900", "JOB_ID": "7", "JOB_NODELIST": "node-[1-900]"}
    slurm |= {"SUBMIT_DIR": str(ROOT), "JOB_END_TIME": str(int(time.time()) + left_s)}
    found = subprocess.run(
        ["bash", str(LAUNCH / "slurm.sbatch"), "prior", "--name", "two words"],
        env={f"SLURM_{k}": v for k, v in slurm.items()}
        | {"PATH": f"{tmp_path}:{os.environ['PATH']}"},
        check=False,
    )
    assert found.returncode == fails
    told = log.read_text().splitlines()
    assert told[0] == "900 node-1:20007 7 gpu"
    assert told[1:6] == ["bash", str(LAUNCH / "node.sh"), "prior", "--name", "two words"]
    assert told[6:] == ["requeue 7"] * again


def test_the_job_for_kubernetes_fits_together() -> None:
    """What no schema sees: names that must agree, and enough time to save before the end."""
    service, job = yaml.safe_load_all((LAUNCH / "kubernetes.yaml").read_text())
    pod = job["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    options = get_args_parser().parse_args(container["args"])
    name, port = options.rdzv_endpoint.split(":")
    assert name == f"{job['metadata']['name']}-0.{service['metadata']['name']}"
    assert pod["subdomain"] == service["metadata"]["name"]
    assert service["spec"]["selector"] == {"job-name": job["metadata"]["name"]}
    assert service["spec"]["ports"][0]["port"] == int(port)
    assert job["spec"]["completions"] == job["spec"]["parallelism"] == int(options.nnodes)
    assert options.shutdown_timeout < pod["terminationGracePeriodSeconds"]
    assert options.training_script_args[:2] == ["train", "prior"]
    assert "--resume" in options.training_script_args
    assert {m["name"] for m in container["volumeMounts"]} == {v["name"] for v in pod["volumes"]}


@pytest.mark.slow
def test_two_machines_meet_and_train_one_run(
    filled: tuple[Workspace, Store], tiny_base: Path
) -> None:
    """Two torchruns on the loopback, each with one process, as on two machines."""
    workspace = filled[0]
    workspace.settings.write_text("")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = os.environ | {
        "PYTHONPATH": str(ROOT),
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        **{"NODES": "2", "MEETING": f"127.0.0.1:{port}", "RUN": "test", "PROCESSES": "1"},
        "OMP_NUM_THREADS": "1",
    }
    where = ["-w", str(workspace.root), "--base", str(tiny_base), "--name", "p", "--steps", "2"]
    command = ["bash", str(LAUNCH / "node.sh"), "prior", *where, "--set", "size=64"]
    machines = [
        subprocess.Popen(
            command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        for _ in range(2)
    ]
    said = [machine.communicate(timeout=400)[0] for machine in machines]
    assert [machine.returncode for machine in machines] == [0, 0], said
    assert sum(text.count("steps 1 to 2") for text in said) == 1
    assert [row["step"] for row in read_journal(workspace.runs / "p")] == [1, 2]
    assert (workspace.runs / "p" / "model" / "model_index.json").exists()
