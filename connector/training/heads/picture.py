"""Plot a training run."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from connector.training.heads.trainer import TrainedHead

_SIZE = (13, 3.8)


def plot_training(trained: TrainedHead, path: Path) -> None:
    """Plot held-out results, document frequencies of latents and the frontier, if matplotlib is installed."""
    try:
        import matplotlib
    except ImportError:
        return
    matplotlib.use("agg")
    from matplotlib import pyplot
    from matplotlib.ticker import FormatStrFormatter, NullFormatter

    figure, (curves, usage, frontier) = pyplot.subplots(1, 3, figsize=_SIZE, layout="constrained")
    steps = [result.step for result in trained.validations]
    for label, values in (
        ("NDCG@10, of dense", [result.ndcg_share for result in trained.validations]),
        ("rescored, of dense", [result.rescored_ndcg_share for result in trained.validations]),
        ("dense top 10 in first 100", [result.recall_at_100 for result in trained.validations]),
    ):
        curves.plot(steps, values, marker="o", label=label)
    curves.set(xlabel="steps", title=f"Held-out queries, {trained.best.k}/{trained.best.k_query}")
    loss = curves.twinx()
    loss.plot(steps[len(steps) - len(trained.losses) :], trained.losses, color="grey", linestyle=":", label="loss")
    loss.set_ylabel("training loss (dotted)")
    curves.legend(fontsize="small")

    alive = trained.document_frequencies[trained.document_frequencies > 0]
    usage.hist(alive, bins=np.geomspace(1e-5, 1, 41).tolist())
    usage.set(xscale="log", xlabel="document frequency", ylabel="latents")
    usage.set_title(f"{len(alive):,} latents fire, {len(trained.document_frequencies) - len(alive):,} are dead")

    for label, key in (("by features alone", "ndcg_share"), ("first 100 rescored", "rescored_ndcg_share")):
        points = sorted((each.postings, getattr(each, key), f"{each.k}/{each.k_query}") for each in trained.frontier)
        frontier.plot([x for x, _, _ in points], [y for _, y, _ in points], marker="o", label=label)
        for x, y, name in points if key == "ndcg_share" else ():
            frontier.annotate(name, (x, y), textcoords="offset points", xytext=(4, -9), fontsize="x-small")
    frontier.axhline(1.0, color="grey", linewidth=0.8)
    frontier.set(xscale="log", xlabel="postings read per query / N", ylabel="NDCG@10, of dense", title="Frontier")
    frontier.xaxis.set_major_formatter(FormatStrFormatter("%g"))
    frontier.xaxis.set_minor_formatter(NullFormatter())
    frontier.legend(fontsize="small", loc="lower right")
    figure.savefig(path, dpi=110)
    pyplot.close(figure)
