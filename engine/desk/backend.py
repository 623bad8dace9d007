"""Where jobs run: on this machine, or on the workers of the Dask scheduler that the settings name."""

from collections.abc import Callable

from engine.desk.process import StartChild, local_child
from engine.errors import Refusal
from engine.settings import Settings

THIS_MACHINE = ""
Backend = tuple[StartChild, Callable[[], tuple[str, ...]]]


def backend(settings: Settings) -> Backend:
    """A function that starts a child on a machine, and one that lists the machines.

    Dask is imported only if a scheduler is set. Without one the only machine is this one, the empty name.

    Raises:
        Refusal: a scheduler is set, but Dask is not installed.
    """
    if not settings.scheduler:
        return local_child, lambda: (THIS_MACHINE,)
    try:
        from engine.desk.cluster import Cluster
    except ImportError:
        raise Refusal(
            f"FASTPATH_SCHEDULER is {settings.scheduler}, but Dask is not installed here: "
            "pip install -r requirements-cluster.txt, or leave the variable empty to measure on this machine."
        ) from None
    cluster = Cluster(settings.scheduler)
    return cluster.start_child, cluster.machines
