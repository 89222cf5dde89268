"""View and export the results: `lmpnet report`, `lmpnet convert`, `lmpnet export`."""

from lmpnet_cli.commands.console import Terminal, document_of
from lmpnet_cli.commands.parameters import takes
from lmpnet_cli.config import ConvertConfig, ExportConfig, ReportConfig

SHOWN = 10  # largest number of keypoint names in a summary


@takes(ReportConfig)
def report(config: ReportConfig, terminal: Terminal) -> None:
    """Write the results as one HTML page that works offline: a gallery, the filters or the scores.

    \b
    lmpnet report results/discover
    lmpnet report results/viz-filters -o filters.html
    lmpnet report all --images photos/ --limit 2000
    """
    from lmpnet_cli.export.report.report import report as run

    result = terminal.run(run, config)

    facts = {"sections": ", ".join(result.sections), "size": f"{result.bytes / 1e6:.1f} MB"}
    document = document_of(result) | {"sections": result.sections}
    terminal.summarize("report", config, result, facts, [result.path], document)


@takes(ConvertConfig)
def convert(config: ConvertConfig, terminal: Terminal) -> None:
    """Write keypoints in the format of another tool.

    \b
    lmpnet convert results/discover --to csv -o keypoints.csv
    lmpnet convert results/discover/keypoints.json --to cvat -o for-cvat
    lmpnet convert results/discover --to cvat --category bird --skeleton beak-crown,crown-wing
    lmpnet convert results/discover --to yolo-pose --images photos/
    lmpnet convert results/discover --to csv --names beak,crown,wing,breast,belly
    lmpnet convert results/discover --to dlc --labels Me -o for-deeplabcut
    """
    from lmpnet_cli.export.convert import convert as run

    result = terminal.run(run, config)

    names, more = ", ".join(result.names[:SHOWN]), len(result.names) - SHOWN
    facts = {"keypoints": f"{names} and {more} more" if more > 0 else names, "next": result.next}
    terminal.summarize("convert", config, result, facts, result.files, document_of(result) | {"files": result.files})


@takes(ExportConfig)
def export(config: ExportConfig, terminal: Terminal) -> None:
    """Write the model as ONNX, from image to keypoints, and its first look as another ONNX file beside it.

    The model takes RGB bytes (B, 3, S, S) and returns positions in map cells, scores, the replica's share of
    the votes, and class probabilities. NAME.first-look.onnx finds the windows; --objects none needs none.
    `discover -c model.onnx` runs it with onnxruntime, which is faster on a CPU.

    \b
    lmpnet export --out model.onnx
    lmpnet export --int8 photos/ --out small.onnx
    lmpnet discover photos/ -c model.onnx
    """
    from lmpnet_cli.export.onnx import export_onnx as run

    result = terminal.run(run, config)

    header = result.header
    facts = {
        "input": f"pixels, (B, 3, {header.input_size}, {header.input_size}) RGB bytes",
        "keypoints": ", ".join(header.names),
        "size": f"{result.bytes / 1e6:.0f} MB",
    }
    if header.int8 is not None:
        agreeing, images = header.int8.agreement, header.int8.checked
        facts["8 bits"] = f"{agreeing:.0%} of the keypoints of {images} other images stay near their place"
    document = document_of(result) | {"method": config.method, "names": header.names}
    terminal.summarize("export", config, result, facts, result.files, document)
