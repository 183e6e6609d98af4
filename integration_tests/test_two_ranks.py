"""Two learner processes in one torch.distributed group learn what one process learns."""

import subprocess
import sys
from pathlib import Path

import numpy as np

SCRIPT = Path(__file__).with_name("learn_on_rank.py")


def test_two_processes_with_ragged_shards_equal_one(tmp_path: Path) -> None:
    everyone = ("alone", "0", "1")
    processes = [
        subprocess.Popen([sys.executable, SCRIPT, tmp_path, who], stderr=subprocess.PIPE, text=True)
        for who in everyone
    ]
    errors = [process.communicate(timeout=120)[1] for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0], "\n".join(errors)
    for algorithm in ("ppo", "impala", "appo"):
        alone, first, second = (np.load(tmp_path / f"{algorithm}-{who}.npz") for who in everyone)
        for name in alone.files:
            where = f"{algorithm}: {name}"
            np.testing.assert_allclose(first[name], alone[name], rtol=1e-5, atol=1e-5, err_msg=where)
            np.testing.assert_array_equal(first[name], second[name], err_msg=where)
