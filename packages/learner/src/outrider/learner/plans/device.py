"""On which device a learner works."""

import torch

from outrider.learner.plans.group_settings import LearnerGroupSettings


def choose_device(settings: LearnerGroupSettings) -> torch.device:
    """Return the device that `settings` ask for; raises ValueError where there is none."""
    if settings.num_gpus_per_learner == 0:
        return torch.device("cpu")
    if not torch.cuda.is_available():
        build = "was built without CUDA" if torch.version.cuda is None else "finds no CUDA device"
        raise ValueError(
            f"num_gpus_per_learner is {settings.num_gpus_per_learner:g}, but torch {torch.__version__} "
            f"{build}; set it to 0 or install a driver and a CUDA build of torch"
        )
    return torch.device("cuda", 0)
