"""Find keypoints: `lmpnet discover`, `lmpnet merge`, `lmpnet match`."""

from typing import Any

from lmpnet_cli.commands.console import Terminal, document_of
from lmpnet_cli.commands.parameters import takes
from lmpnet_cli.config import DiscoverConfig, MatchConfig, MergeConfig, default_out, url_of


@takes(DiscoverConfig, out=default_out("discover"))
def discover(config: DiscoverConfig, terminal: Terminal) -> None:
    """Find keypoints on every image and write them as COCO keypoint annotations, with overlays.

    \b
    lmpnet discover photos/
    lmpnet discover photos/ --method parts --report
    lmpnet discover photos/ --method parts --export cvat
    lmpnet discover photos/ -c results/fit --method landmarks --review 50 --report
    lmpnet discover photos/ --method saliency --panels
    lmpnet discover clip.mp4 --every 5
    lmpnet discover photos/ --shard 1/4 --out shards/1
    lmpnet discover photos/ -c model.onnx
    lmpnet discover s3://bucket/photos --backend ray --out s3://bucket/keypoints
    lmpnet discover photos/ heron.jpg -c runs/herons --out herons
    """
    if config.backend == "ray":
        _discover_on_ray(config, terminal)
        return
    from lmpnet_cli.discovery.discover import discover as run
    from lmpnet_cli.discovery.store import LOCAL_CHUNKS

    result = terminal.run(run, config, unfinished=config.out and config.out / LOCAL_CHUNKS)

    found = sum(int(each.found.sum()) for each in result.keypoints)
    document = document_of(result) | {"keypoints": found, **result.objects}
    files = ("keypoints.json", "overlays", "overview.jpg", "panels", "exports", "review.csv", "report.html")
    terminal.summarize("discover", config, result, _found(document), files, document)


def _discover_on_ray(config: DiscoverConfig, terminal: Terminal) -> None:
    from lmpnet_cli.discovery.ray.run import discover_on_ray as run

    result = terminal.run(run, config)

    out = url_of(result.out) or str(result.out)
    document = document_of(result)
    document |= {"keypoints": document.pop("found"), "out": out}
    earlier = f", {result.done_before} of them from an earlier run" if result.done_before else ""
    facts = {
        "chunks": f"{result.chunks}{earlier}",
        "written": f"{out} (`lmpnet merge {out}` makes one keypoints.json)",
    }
    terminal.summarize("discover", config, result, _found(document) | facts, document=document)


def _found(document: dict[str, Any]) -> dict[str, str]:
    """Return the row with the number of keypoints that were found, for a summary."""
    found, images, each = document["keypoints"], document["images"], "image"
    facts = {}
    if (objects := document.get("objects_found")) is not None:
        empty = document["images_without_object"]
        without = f" ({empty} {'image' if empty == 1 else 'images'} without one)" if empty else ""
        facts["objects"] = f"{objects}{without}"
        if objects:
            images, each = objects, "object"
    return facts | {"keypoints": f"{found} ({found / images:.2f} of {len(document['names'])} per {each})"}


@takes(MergeConfig, out=default_out("merge"))
def merge(config: MergeConfig, terminal: Terminal) -> None:
    """Merge the shards of a run into one keypoints.json, equal to that of a run without shards except for rounding.

    \b
    lmpnet discover photos/ --shard 1/2 --out shards/1
    lmpnet discover photos/ --shard 2/2 --out shards/2
    lmpnet merge shards/ --out all
    """
    from lmpnet_cli.discovery.merge import merge as run

    result = terminal.run(run, config)

    twice = f", {len(result.twice)} of them twice" if result.twice else ""
    terminal.summarize("merge", config, result, {"shards": f"{result.shards}{twice}"}, ["keypoints.json"])


@takes(MatchConfig, out=default_out("match"))
def match(config: MatchConfig, terminal: Terminal) -> None:
    """Draw the same parts of several images, joined by lines.

    \b
    lmpnet match heron.jpg egret.jpg
    lmpnet match photos/ -c results/parts --columns 3
    """
    from lmpnet_cli.discovery.match import match as run

    result = terminal.run(run, config)

    on_all = [name for index, name in enumerate(result.names) if all(each.found[index] for each in result.keypoints)]
    facts = {"parts on all images": ", ".join(on_all) or "none"}
    terminal.summarize("match", config, result, facts, ["match.png"], document_of(result) | {"on_all": on_all})
