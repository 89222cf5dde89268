"""Arrange the scores of `metrics.json` as tables of text, the same on the screen and in a report."""

from collections.abc import Mapping
from dataclasses import dataclass

from msgspec import Struct

from lmpnet_cli.drawing.charts import result_label

SHOWN = 10  # largest number of keypoints with a row of their own; metrics.json has all


class _Mean(Struct):
    mean: float


class _Score(Struct):
    score: float | None


class _Agreement(Struct):
    nmi: float | None
    ari: float | None


class _GreedyPck(_Mean):
    kp: list[float]
    ci95: tuple[float, float]
    found_only_mean: float | None


class _Row(Struct):
    """The scores of one set of keypoints: an entry of `results` or `baselines`."""

    greedy_pck: _GreedyPck
    greedy_pck_one_to_one: _Mean
    greedy_pck_bbox: _Mean | None
    greedy_pck_bbox_one_to_one: _Mean | None
    coverage: float | None
    duplicate_rate: float | None
    found: float | None
    landmark_recall: dict[str, float | None]
    thr: float | None = None


class _Regression(Struct):
    error: float | None
    baselines: dict[str, float | None]


class _Visibility(Struct):
    average_precision: float | None
    visible: float | None


class _Retrieval(Struct):
    recall_at_1: float | None
    chance: float | None


class _FlipError(Struct):
    error: float | None


class _Parts(Struct):
    names: list[str]
    landmark_regression: _Regression
    voronoi: _Agreement
    map_based: _Agreement
    consistency: _Score
    greedy_pck: _Mean
    greedy_pck_one_to_one: _Mean
    found: float | None
    retrieval: _Retrieval | None = None
    visibility: _Visibility | None = None
    flip: _FlipError | None = None
    stability: _Score | None = None


class _NamedPck(Struct):
    pck: float | None
    error: float | None
    found: float | None
    imagined: float | None


class _Landmarks(_NamedPck):
    alpha: float
    by_landmark: dict[str, _NamedPck]
    baselines: dict[str, _NamedPck]


class Metrics(Struct):
    """The schema of `metrics.json`, as far as its tables show it."""

    dataset: str
    images: int
    k: int
    alpha: float
    results: list[_Row]
    baselines: dict[str, _Row]
    parts: _Parts | None = None
    landmarks: _Landmarks | None = None

    def __post_init__(self) -> None:
        rows = [*self.results, *self.baselines.values()]
        if not self.results or any(len(row.greedy_pck.kp) != self.k for row in rows):
            raise ValueError(f"expected the scores of {self.k} keypoints in each result")


@dataclass(frozen=True)
class TextTable:
    """A table whose first column names the rows; the note says what it leaves out."""

    title: str
    head: list[str]
    rows: list[list[str]]
    note: str = ""


def metric_tables(metrics: Metrics) -> list[TextTable]:
    """Return the tables of `metrics.json`: those of landmarks by name or greedy PCK, baselines, and parts."""
    results = {result_label(row.thr): row for row in metrics.results}
    columns = results | {name.replace("_", " "): row for name, row in metrics.baselines.items()}

    tables = [_greedy_pck(metrics, columns), _landmark_recall(columns, list(metrics.results[0].landmark_recall))]
    if metrics.landmarks is not None:
        tables.insert(0, _landmarks(metrics.landmarks))
    if metrics.parts is not None:
        tables.append(_parts(metrics.parts))
    return tables


def _greedy_pck(metrics: Metrics, columns: Mapping[str, _Row]) -> TextTable:
    rows = columns.values()
    shown = range(min(metrics.k, SHOWN))
    lines = {f"KP {index + 1}": [or_dash(row.greedy_pck.kp[index]) for row in rows] for index in shown}

    lines["greedy PCK"] = [_mean(row.greedy_pck) for row in rows]
    lines["  95 % interval"] = ["{:.1f}-{:.1f}".format(*row.greedy_pck.ci95) for row in rows]
    lines["  found keypoints only"] = [or_dash(row.greedy_pck.found_only_mean) for row in rows]

    lines["one-to-one"] = [_mean(row.greedy_pck_one_to_one) for row in rows]
    lines["by box"] = [_mean(row.greedy_pck_bbox) for row in rows]
    lines["by box, one-to-one"] = [_mean(row.greedy_pck_bbox_one_to_one) for row in rows]
    lines["coverage"] = [or_dash(row.coverage) for row in rows]
    lines["duplicates"] = [or_dash(row.duplicate_rate) for row in rows]
    lines["found per image"] = [or_dash(row.found, ".2f") for row in rows]

    title = f"Greedy PCK in percent, alpha {metrics.alpha:g} of the shorter image side"
    note = f"The first {SHOWN} of {metrics.k} keypoints are shown; the means are over all." if metrics.k > SHOWN else ""
    return TextTable(title, ["", *columns], [[name, *values] for name, values in lines.items()], note)


def _mean(score: _Mean | None) -> str:
    return or_dash(None if score is None else score.mean)


def _landmark_recall(columns: Mapping[str, _Row], landmarks: list[str]) -> TextTable:
    rows = [
        [landmark, *(or_dash(row.landmark_recall.get(landmark)) for row in columns.values())] for landmark in landmarks
    ]
    title = "Landmarks reached by a keypoint, in percent of the images that show them"
    return TextTable(title, ["", *columns], rows)


def _landmarks(landmarks: _Landmarks) -> TextTable:
    rows = {"all landmarks": landmarks, **landmarks.by_landmark}
    rows |= {f"all, {name.replace('_', ' ')}": row for name, row in landmarks.baselines.items()}
    title = f"Landmarks by name, within {landmarks.alpha:g} of the longer box side"
    head = ["", "PCK, %", "error, % of box", "found, %", "found where hidden, %"]
    lines = [[name, *map(or_dash, (row.pck, row.error, row.found, row.imagined))] for name, row in rows.items()]
    return TextTable(title, head, lines)


def _parts(parts: _Parts) -> TextTable:
    regression = parts.landmark_regression
    scores = {"landmark regression, % of box (protocol A)": regression.error}
    for name, error in regression.baselines.items():
        scores[f"  {name.replace('_', ' ')}"] = error

    scores |= {
        "Voronoi NMI": parts.voronoi.nmi,
        "Voronoi ARI": parts.voronoi.ari,
        "map-based NMI": parts.map_based.nmi,
        "map-based ARI": parts.map_based.ari,
        "consistency (EvalProtoPNet)": parts.consistency.score,
        "retrieval R@1": parts.retrieval.recall_at_1 if parts.retrieval else None,
        "  by chance": parts.retrieval.chance if parts.retrieval else None,
        "greedy PCK": parts.greedy_pck.mean,
        "greedy PCK, one-to-one": parts.greedy_pck_one_to_one.mean,
    }
    if parts.visibility and parts.visibility.visible != 100:
        scores["visibility, average precision"] = parts.visibility.average_precision
        scores["  of a random score"] = parts.visibility.visible
    if parts.flip and parts.stability:
        scores["flip error, % of box side"] = parts.flip.error
        scores["stability (EvalProtoPNet)"] = parts.stability.score

    rows = [[name, or_dash(score)] for name, score in scores.items() if score is not None]
    rows.append(["found per image", or_dash(parts.found, ".2f")])
    return TextTable(f"Parts: {', '.join(parts.names)}", ["", "score"], rows)


def or_dash(value: float | None, style: str = ".1f") -> str:
    """Return a number in a format of Python, or a dash for None."""
    return "-" if value is None else format(value, style)
