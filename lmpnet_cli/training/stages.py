"""The stages of a training as the progress names them."""

from lmpnet_cli.config import TrainConfig
from lmpnet_cli.progress import Progress


def title(config: TrainConfig, stage: str) -> str:
    """Return the name of a stage (network, replica or parts) with its number, as in "stage 1 of 3: network"."""
    stages = {"network": config.network_from is None, "replica": config.replica_epochs > 0, "parts": config.parts > 0}
    names = [name for name, runs in stages.items() if runs]
    return f"stage {names.index(stage) + 1} of {len(names)}: {stage}"


class StageProgress(Progress):
    """Reports the steps of one stage to another progress, with the title of the stage before their names."""

    def __init__(self, progress: Progress, stage_title: str) -> None:
        self.progress, self.title = progress, stage_title

    def start(self, task: str, total: int, unit: str = "images") -> None:
        self.progress.start(f"{self.title}, {task}", total, unit)

    def advance(self, count: int, note: str = "") -> None:
        self.progress.advance(count, note)

    def warn(self, message: str) -> None:
        self.progress.warn(message)

    def tell(self, message: str) -> None:
        self.progress.tell(message)
