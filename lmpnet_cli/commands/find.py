"""Find keypoints: `lmpnet discover`, `lmpnet merge`, `lmpnet match`."""

from typing import Any

from lmpnet_cli.commands.console import Terminal, method_line, model_line, resume_hint, skipped_line, written
from lmpnet_cli.commands.parameters import takes
from lmpnet_cli.config import DiscoverConfig, MatchConfig, MergeConfig, default_out, url_of


@takes(DiscoverConfig, out=default_out("discover"))
def discover(config: DiscoverConfig, terminal: Terminal) -> None:
    """Find keypoints on every image and write them as COCO keypoint annotations, with overlays.

    \b
    lmpnet discover photos/
    lmpnet discover photos/ --report --export cvat
    lmpnet discover photos/ --method lmpnet --k 5 --thr 3
    lmpnet discover photos/ --method saliency --panels
    lmpnet discover clip.mp4 --every 5
    lmpnet discover photos/ --shard 1/4 --out shards/1
    lmpnet discover photos/ -c model.onnx
    lmpnet discover s3://bucket/photos --backend ray --out s3://bucket/keypoints
    lmpnet discover photos/ heron.jpg -c runs/herons/lmpnet.safetensors --out herons
    """
    if config.backend == "ray":
        _discover_on_ray(config, terminal)
        return
    from lmpnet_cli.discovery.discover import discover as run
    from lmpnet_cli.discovery.store import LOCAL_CHUNKS

    out = config.out or default_out("discover")
    with resume_hint(out / LOCAL_CHUNKS), terminal.progress() as progress:
        result = run(**vars(config), progress=progress)

    images, found = len(result.keypoints), sum(int(each.found.sum()) for each in result.keypoints)
    facts = {
        "device": result.device,
        "time": f"{result.seconds:.1f} s ({images / result.seconds:.1f} images/s)",
        "written": written(out, "keypoints.json", "overlays", "overview.jpg", "panels", "exports", "report.html"),
    }
    counts = {"images": images, "skipped": len(result.skipped), "keypoints": found}
    _finish_discover(config, terminal, result, counts, facts, {"seconds": round(result.seconds, 2), "out": out})


def _discover_on_ray(config: DiscoverConfig, terminal: Terminal) -> None:
    from lmpnet_cli.discovery.ray.run import discover_on_ray as run

    with terminal.progress() as progress:
        result = run(**vars(config), progress=progress)

    out = url_of(result.out) or str(result.out)
    earlier = f", {result.done_before} of them from an earlier run" if result.done_before else ""
    facts = {
        "chunks": f"{result.chunks}{earlier}",
        "time": f"{result.seconds:.1f} s",
        "written": f"{out} (`lmpnet merge {out}` makes one keypoints.json)",
    }
    counts = {"images": result.images, "skipped": result.skipped, "keypoints": result.found}
    _finish_discover(config, terminal, result, counts, facts, {"chunks": result.chunks, "out": out})


def _finish_discover(
    config: DiscoverConfig,
    terminal: Terminal,
    result: Any,
    counts: dict[str, int],
    facts: dict[str, str],
    document: dict[str, Any],
) -> None:
    """Print what local runs and runs on Ray have in common, then `facts` or `document`."""
    images, found = counts["images"], counts["keypoints"]
    common = {
        "images": images,
        "skipped": skipped_line(counts["skipped"]),
        "keypoints": f"{found} ({found / images:.2f} of {len(result.names)} per image)",
        "method": method_line(result.method, result.names),
        "checkpoint": model_line(config),
    }
    terminal.finish("discover", common | facts, counts | {"method": result.method, "names": result.names} | document)


@takes(MergeConfig, out=default_out("merge"))
def merge(config: MergeConfig, terminal: Terminal) -> None:
    """Merge the shards of a run into one keypoints.json, the same as that of a run without shards.

    \b
    lmpnet discover photos/ --shard 1/2 --out shards/1
    lmpnet discover photos/ --shard 2/2 --out shards/2
    lmpnet merge shards/ --out all
    """
    from lmpnet_cli.discovery.merge import merge as run

    with terminal.progress() as progress:
        result = run(**vars(config), progress=progress)

    images, skipped = len(result.keypoints), len(result.skipped)
    facts = {
        "shards": f"{result.shards}" + (f", {len(result.twice)} of them twice" if result.twice else ""),
        "images": images,
        "skipped": skipped_line(skipped),
        "written": written(config.out, "keypoints.json"),
    }
    document = {"images": images, "skipped": skipped, "shards": result.shards, "out": config.out}
    terminal.finish("merge", facts, document)


@takes(MatchConfig, out=default_out("match"))
def match(config: MatchConfig, terminal: Terminal) -> None:
    """Draw the same parts of several images, joined by lines.

    \b
    lmpnet match heron.jpg egret.jpg
    lmpnet match photos/ -c results/parts/lmpnet.safetensors --columns 3
    """
    from lmpnet_cli.discovery.match import match as run

    with terminal.progress() as progress:
        result = run(**vars(config), progress=progress)

    images, skipped = len(result.keypoints), len(result.skipped)
    on_all = [name for index, name in enumerate(result.names) if all(each.found[index] for each in result.keypoints)]
    facts = {
        "images": images,
        "skipped": skipped_line(skipped),
        "parts on all images": ", ".join(on_all) or "none",
        "checkpoint": model_line(config),
        "time": f"{result.seconds:.1f} s",
        "written": written(config.out, "match.png"),
    }
    terminal.finish("match", facts, {"images": images, "skipped": skipped, "on_all": on_all, "out": config.out})
