"""The machines of a Ray cluster: joining it, and what each worker gets."""

import logging
import os
from typing import Any

from lmpnet_cli.config import DiscoverConfig
from lmpnet_cli.discovery.ray.storage import reason
from lmpnet_cli.errors import InputError, OptionError, missing_package

CORES = 4  # of a worker without a GPU, where a machine has so many


def join(ray: Any) -> None:
    """Joins the cluster that RAY_ADDRESS names; without it the processors of this machine are one."""
    address = os.environ.get("RAY_ADDRESS")
    own = {} if address else {"include_dashboard": False}
    try:
        ray.init(address or "local", log_to_driver=False, logging_level=logging.ERROR, **own)
    except Exception as error:
        where = f"Ray at {address}" if address else "Ray on this machine"
        raise InputError(f"{where} does not start: {reason(error)}. Check RAY_ADDRESS and `ray status`.") from error


def load_ray() -> Any:
    """Ray, told to be silent: what goes wrong is said once, by us.

    Raises:
        OptionError: when it is not installed.
    """
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")  # else it writes to the terminal as it likes
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise missing_package(error, "ray") from error
    for name in ("ray", "ray.data"):
        logging.getLogger(name).setLevel(logging.CRITICAL)  # it would tell every error twice
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.execution_no_progress_timeout_s = -1  # a block may take its time
    return ray


def place_workers(ray: Any, config: DiscoverConfig) -> tuple[int, dict[str, int]]:
    """How many workers, and what each has for itself: as much of one machine as all of them can give.

    Raises:
        OptionError: when there is no room for `--actors`.
    """
    machines = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    with_gpu = [each for each in machines if each.get("GPU", 0) >= 1]
    if with_gpu and config.device != "cpu":
        cores = max(1, min(int(each.get("CPU", 1) // each["GPU"]) for each in with_gpu))
        room = sum(int(each["GPU"]) for each in with_gpu)
        resources = {"num_gpus": 1, "num_cpus": cores}
    else:
        if config.device == "cuda":
            raise OptionError("--device cuda: no machine of the cluster offers a GPU. Use --device auto or cpu.")
        total = sum(int(each.get("CPU", 0)) for each in machines)
        cores = min(CORES, max((int(each.get("CPU", 0)) for each in machines), default=1))
        if config.actors:
            cores = max(1, min(cores, total // config.actors))
        room = sum(int(each.get("CPU", 0)) // cores for each in machines)
        resources = {"num_cpus": cores}
    if config.actors and config.actors > room:
        raise OptionError(f"--actors {config.actors}: this cluster has room for {room} workers.")
    return config.actors or max(1, room), resources
