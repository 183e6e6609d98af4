"""Plays CartPole with an exported policy, without Outrider and without Gymnasium.

    outrider export RUN_DIR -o policy.onnx
    python examples/play_exported.py policy.onnx

The pole's equations: Barto, Sutton and Anderson 1983; the numbers are those of CartPole-v1.
"""

import sys
from pathlib import Path

import numpy as np
import onnxruntime

path = sys.argv[1] if sys.argv[1:] else "policy.onnx"
if not Path(path).is_file():
    sys.exit(f"{path} is no file; write it with  outrider export RUN_DIR -o {path}")
policy = onnxruntime.InferenceSession(path)
x, speed, angle, spin = np.random.default_rng(0).uniform(-0.05, 0.05, 4)
for num_steps in range(1, 501):  # noqa: B007 - printed below
    [action] = policy.run(["action"], {"observation": np.array([[x, speed, angle, spin]], np.float32)})
    push = (20 * action[0] - 10 + 0.05 * spin**2 * np.sin(angle)) / 1.1
    turn = (9.8 * np.sin(angle) - np.cos(angle) * push) / (0.5 * (4 / 3 - 0.1 * np.cos(angle) ** 2 / 1.1))
    slide = push - 0.05 * turn * np.cos(angle) / 1.1
    x, speed, angle, spin = np.array([x, speed, angle, spin]) + 0.02 * np.array([speed, slide, spin, turn])
    if abs(x) > 2.4 or abs(angle) > np.radians(12):
        break
print(f"held the pole for {num_steps} of 500 steps")
