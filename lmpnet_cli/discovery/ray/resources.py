"""The machines of a Ray cluster: join it, and divide it among the workers."""

import logging
import os
from typing import Any

from lmpnet_cli.config import DiscoverConfig
from lmpnet_cli.errors import InputError, OptionError, missing_package
from lmpnet_cli.io.storage import reason

MAX_CORES = 4  # of a worker without a GPU


def join(ray: Any) -> None:
    """Join the cluster that RAY_ADDRESS names, or start one of the processors of this machine."""
    address = os.environ.get("RAY_ADDRESS")
    own = {} if address else {"include_dashboard": False}
    try:
        ray.init(address or "local", log_to_driver=False, logging_level=logging.ERROR, **own)
    except Exception as error:
        where = f"Ray at {address}" if address else "Ray on this machine"
        raise InputError(f"{where} did not start: {reason(error)}. Check RAY_ADDRESS and `ray status`.") from error


def load_ray() -> Any:
    """Return the `ray` module, silenced: errors are reported once, by lmpnet.

    Raises:
        OptionError: when Ray is not installed.
    """
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")  # else its processes write to the terminal
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise missing_package(error, "ray") from error

    for name in ("ray", "ray.data"):
        logging.getLogger(name).setLevel(logging.CRITICAL)  # it would report every error again
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.execution_no_progress_timeout_s = -1  # a chunk may take long
    return ray


def place_workers(ray: Any, config: DiscoverConfig) -> tuple[int, dict[str, int]]:
    """Return the number of workers, and the resources of each, which every machine can provide.

    Raises:
        OptionError: when the cluster has too few resources for --actors, or no GPU for --device cuda.
    """
    machines = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    with_gpu = [each for each in machines if each.get("GPU", 0) >= 1]

    if with_gpu and config.device != "cpu":
        cores = max(1, min(int(each.get("CPU", 1) // each["GPU"]) for each in with_gpu))
        room = sum(int(each["GPU"]) for each in with_gpu)
        resources = {"num_gpus": 1, "num_cpus": cores}

    else:
        if config.device == "cuda":
            raise OptionError("--device cuda: no machine of the cluster has a GPU. Use --device auto or cpu.")
        total = sum(int(each.get("CPU", 0)) for each in machines)
        cores = min(MAX_CORES, max((int(each.get("CPU", 0)) for each in machines), default=1))
        if config.actors:
            cores = max(1, min(cores, total // config.actors))
        room = sum(int(each.get("CPU", 0)) // cores for each in machines)
        resources = {"num_cpus": cores}

    if config.actors and config.actors > room:
        raise OptionError(f"--actors {config.actors} is too many: this cluster has resources for {room} workers.")
    return config.actors or max(1, room), resources
