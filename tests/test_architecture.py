"""The order of the imports, as CONTRIBUTING.md draws it."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "lmpnet_cli"

LEVELS = [
    {"errors", "documents", "memory", "colors", "keypoints", "bundled", "progress", "__init__", "config.__init__", "config.checks", "config.base", "config.keypoints", "config.filters", "config.training", "config.discover", "config.convert", "config.vocabulary"},
    {"listing", "images", "shards", "claims", "journal", "remote", "runtime", "metrics", "identity_metrics", "baselines"},
    {"lmp.selection", "lmp.pooling", "lmp.clustering", "lmp.masking", "lmp.backbone", "lmp.turning", "lmp.vocabulary", "lmp.choice", "lmp.vocabulary_start", "lmp.vocabulary_learning", "lmp.vocabulary_threshold", "lmp.network", "lmp.fusion", "lmp.graph", "lmp.__init__", "saliency.__init__", "saliency.occlusion", "saliency.guided_backprop", "saliency.combination", "saliency.nms", "saliency.foerstner", "saliency.histogram", "saliency.windows", "saliency.walk", "saliency.patched", "saliency.local_occlusion", "saliency.detection"},
    {"datasets", "annotations", "predictions", "augmentation", "training_data", "schedule", "films", "rendering", "charts", "checkpoints", "training_state", "trainer", "pictures", "inference", "classifiers", "drawings", "film_drawings", "panels", "parts", "results", "tables", "formats.document", "formats.csv_table", "formats.coco_results", "formats.deeplabcut", "formats.label_studio", "formats.cvat", "formats.fiftyone", "formats.yolo_pose", "formats.__init__", "pages.__init__", "pages.thumbnails", "pages.gallery", "pages.atlas", "pages.page"},
    {"converting", "reporting", "vocabulary_picture", "vocabulary_making", "vocabularies", "training", "lmpnet_finder", "identity_finder", "saliency_finder", "graphs", "inspecting", "diagnosis", "graph_finder", "finders", "exporting", "discovery", "cluster_worker", "cluster_machines", "cluster", "merging", "matching", "filter_votes", "filter_ranking", "filter_views", "witness", "measurement", "identity_evaluation", "evaluation", "salience"},
    {"console"},
    {"cli", "__main__", "commands.__init__", "commands.options", "commands.train", "commands.discover", "commands.viz_filters", "commands.evaluate", "commands.salient", "commands.vocabulary", "commands.match", "commands.merge", "commands.export", "commands.convert", "commands.report", "commands.info", "commands.doctor"},
]  # fmt: skip
# inside these levels an order holds too: each may import those before it
WITHIN = {
    2: [
        "lmp.pooling", "lmp.selection", "lmp.clustering", "lmp.masking", "lmp.backbone", "lmp.turning", "lmp.vocabulary", "lmp.choice", "lmp.vocabulary_start", "lmp.vocabulary_learning", "lmp.vocabulary_threshold", "lmp.network", "lmp.fusion", "lmp.graph",
        "saliency.occlusion", "saliency.guided_backprop", "saliency.combination", "saliency.nms", "saliency.foerstner", "saliency.histogram",
        "saliency.windows", "saliency.walk", "saliency.patched", "saliency.local_occlusion", "saliency.detection",
    ],
    3: ["datasets", "annotations", "predictions", "augmentation", "training_data", "schedule", "films", "rendering", "charts", "checkpoints", "training_state", "trainer", "pictures", "inference", "classifiers", "drawings", "film_drawings", "panels", "parts", "results", "tables", "formats.document", "formats.csv_table", "formats.coco_results", "formats.deeplabcut", "formats.label_studio", "formats.cvat", "formats.fiftyone", "formats.yolo_pose", "formats.__init__", "pages.__init__", "pages.thumbnails", "pages.gallery", "pages.atlas", "pages.page"],
    4: ["converting", "reporting", "vocabulary_picture", "vocabulary_making", "vocabularies", "training", "lmpnet_finder", "identity_finder", "saliency_finder", "graphs", "inspecting", "diagnosis", "graph_finder", "finders", "exporting", "discovery", "cluster_worker", "cluster_machines", "cluster", "merging", "matching", "filter_votes", "filter_ranking", "filter_views", "witness", "measurement", "identity_evaluation", "evaluation", "salience"],
}  # fmt: skip


def modules() -> dict[str, ast.Module]:
    return {
        path.relative_to(PACKAGE).with_suffix("").as_posix().replace("/", "."): ast.parse(path.read_text())
        for path in PACKAGE.rglob("*.py")
    }


def imports(tree: ast.AST) -> set[str]:
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def level(name: str) -> int:
    return next(index for index, names in enumerate(LEVELS) if name in names)


MODULES = modules()


def test_every_module_has_its_level():
    assert sorted(name for names in LEVELS for name in names) == sorted(MODULES)


@pytest.mark.parametrize("name", sorted(set(MODULES) - {"__init__"}))
def test_imports_point_downwards(name):
    own = level(name)
    for target in MODULES:
        if f"lmpnet_cli.{target.removesuffix('.__init__')}" not in imports(MODULES[name]) or target == name:
            continue
        if level(target) == own and own in WITHIN:
            assert WITHIN[own].index(target) < WITHIN[own].index(name), f"{name} imports {target}"
        elif own not in (0, 1, 6):
            assert level(target) < own, f"{name} imports {target}"
        else:
            assert level(target) <= own, f"{name} imports {target}"


def test_the_two_papers_know_nothing_of_each_other():
    for name, tree in MODULES.items():
        other = {"lmp": "saliency", "saliency": "lmp"}.get(name.split(".")[0])
        assert other is None or not any(i.startswith(f"lmpnet_cli.{other}") for i in imports(tree)), name


@pytest.mark.parametrize(("library", "allowed"), [("typer", {"cli", "commands"}), ("rich", {"console"})])
def test_only_the_outside_talks_to_the_terminal(library, allowed):
    users = {
        name.split(".")[0] for name, tree in MODULES.items() if any(i.split(".")[0] == library for i in imports(tree))
    }
    assert users <= allowed


def test_no_print_inside_the_package():
    for name, tree in MODULES.items():
        calls = [n for n in ast.walk(tree) if isinstance(n, ast.Call) and getattr(n.func, "id", "") == "print"]
        assert not calls, name


def test_level_zero_needs_numpy_at_most():
    for name in LEVELS[0] - {"__init__"}:
        for imported in imports(MODULES[name]):
            root = imported.split(".")[0]
            assert root in sys.stdlib_module_names | {"lmpnet_cli", "numpy"}, f"{name} imports {imported}"


@pytest.mark.parametrize(
    "arguments", [["--help"], ["--version"], ["discover", "--help"], ["discover", "x", "--k", "0"]]
)
def test_help_and_usage_errors_load_neither_torch_nor_cv2(arguments):
    code = (
        "import sys\nsys.argv = ['lmpnet', *sys.argv[1:]]\nfrom lmpnet_cli.cli import main\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        "heavy = {'torch', 'cv2', 'timm', 'lightning', 'scipy'} & set(sys.modules)\nassert not heavy, heavy\n"
    )
    subprocess.run([sys.executable, "-c", code, *arguments], check=True, capture_output=True, timeout=60)


def test_files_stay_small():
    long = {name: len((PACKAGE / (name.replace(".", "/") + ".py")).read_text().splitlines()) for name in MODULES}
    assert not {name: lines for name, lines in long.items() if lines > 250}
