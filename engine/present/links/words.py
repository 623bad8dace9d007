"""What is said about a link: what it carries, what it leaves out, and the cells of its table. Pure functions."""

from engine.present.links.shared import SharedExperiment, SharedPath, SharedRun
from engine.present.words.runs import (
    agreement_words,
    evidence_sentence,
    interval_words,
    ms_words,
    path_title,
    speedup_text,
    verdict_label,
)

CARRIED = "the verdict, speedups, medians, proof, agreement, costs, environment and operators"


def left_out_sentence(run: SharedRun) -> str:
    """What of the measured run is not in the link."""
    return (
        "Left out: the texts of the batch, the time of every round, the machine's name, the variables of its "
        f"environment, and {_operators_left_out(run)}. Figures have three or four digits."
    )


def _operators_left_out(run: SharedRun) -> str:
    if run.smallest_share is None:
        return "all operators"
    return f"operators with less than {run.smallest_share:.1%} of a path's time"


def size_words(text: str) -> str:
    """How long the text of a link is."""
    return f"{len(text):,} characters"


def asked_words(asked: SharedExperiment) -> str:
    """What was measured: model, batch and its padding, and the settings that an answer depends on."""
    batch = asked.batch
    texts = "1 text" if batch.texts == 1 else f"{batch.texts:,} texts"
    lengths = f" of {batch.shortest:,} to {batch.longest:,} tokens" if batch.longest else ""
    cut = f", {batch.truncated:,} of them truncated" if batch.truncated else ""
    padding = f"; {batch.padding_ratio:.0%} of the padded batch is padding" if batch.longest else ""
    return f"Model {asked.model}; batch {batch.name}: {texts}{lengths}{cut}{padding}."


def path_row(run: SharedRun, path: SharedPath) -> dict[str, str]:
    """One row of the table of paths."""
    if path.median_ms is None:
        return {"Path": path_title(path.name), "Verdict": path.status, "What its profile shows": path.reason}
    return {
        "Path": path_title(path.name),
        "Median": ms_words(path.median_ms),
        "Speedup": speedup_text(path.speedup) if path.speedup else "",
        "95 % interval": interval_words(path.speedup_ci95),
        "Verdict": verdict_label(path),
        "Answer": "baseline" if path.name == run.experiment.baseline else agreement_words(path),
        "What its profile shows": evidence_sentence(path, run.layers),
    }


def environment_rows(run: SharedRun) -> dict[str, str]:
    """Where and with what it was measured, as names and values."""
    env, asked, model = run.environment, run.experiment, run.model
    libraries = ", ".join(f"{name} {version}" for name, version in env.libraries.items())
    rows = {
        "Processor": f"{env.device_name} ({env.cpu_capability})" if env.cpu_capability else env.device_name,
        "Threads": f"{env.threads:,} of {env.cores:,} cores",
        "System": env.platform,
        "torch": f"{env.torch}, torchtext {env.torchtext} ({env.bridge}), Python {env.python}",
        "Libraries": libraries,
        "CUDA": f"{env.cuda}, driver {env.driver}" if env.cuda else "",
        "Memory allocator": env.allocator_in_force,
        "Precision and device": f"{asked.dtype} on {asked.device}",
        "Model": _model_words(run) if model else asked.model,
        "Rounds": f"{run.rounds:,}: {run.stop_reason}",
        "While it measured": "quiet" if env.quiet else "; ".join(env.notes) or "not quiet",
        "Id of the run": run.id,
    }
    return {name: value for name, value in rows.items() if value}


def _model_words(run: SharedRun) -> str:
    assert run.model is not None  # noqa: S101  (the caller asked)
    model = run.model
    weights = "pretrained weights" if model.real_weights else "random weights"
    return (
        f"{model.title}, {model.layers} layers, {model.parameters / 1e6:,.1f} M parameters, {weights}, "
        f"checksum {model.checksum}"
    )
