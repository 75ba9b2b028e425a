"""What comes from the hub: fetched once where there is a network, and found on this disk from then on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from jobs.cache import intact, key_of, obtain
from jobs.errors import DataError, ModelError
from jobs.recipes.data import DataRecipe, DataSource, Missing
from jobs.recipes.recipe import ModelRecipe
from jobs.recipes.sources import awaits_fetching

ROWS = "rows.parquet"
MODEL_FILES = ("*.json", "*.model", "*.jinja", "*.txt", "*.safetensors")
OLDER_WEIGHTS = ("pytorch_model*.bin",)  # of models without safetensors


def hub_file(source: DataSource, cache: Path | None) -> Path:
    """Where the rows of a hub data set are.

    Args:
        source: one that is on the hub.
        cache: root of the cache; None: there is none.

    Raises:
        DataError: they were not fetched yet.
    """
    path = None if cache is None else _entry(source, cache) / ROWS
    if path is None or not path.is_file():
        raise DataError(
            f"data.path: got the hub data set {source.path!r}, which is not in the cache {cache}, "
            "expected its rows there, as nodes have no network",
            "on a machine with network that shares the cache: `frontrunner prefetch` with the same overrides",
        )
    return path


def fetched(source: DataSource, cache: Path) -> bool:
    """Whether the rows of a hub data set are in the cache, complete.

    Args:
        source: one that is on the hub.
    """
    return intact(_entry(source, cache))


def fetch(data: DataRecipe, cache: Path, say: Callable[[str], None]) -> None:
    """Put the rows of every hub data set of a recipe into the cache, as far as it lacks them.

    What is there stays: a study goes on with the rows that it began with.

    Raises:
        DataError: the hub does not answer, or has no such data set, subset, split or revision; of a mixture
            with `data.missing=skip` only where none of its sets can be had.
    """
    lacking: dict[str, DataError] = {}
    for source in data.parts():
        if source.on_hub and not fetched(source, cache):
            say(f"fetching {source.path}, once for this cache")
            try:
                _fetch(source, cache)
            except DataError as error:
                lacking[source.name] = error
    left_out = data.missing is Missing.SKIP and len(lacking) < len(data.parts())
    for name, why in lacking.items() if data.sources else ():
        what = "is left out" if left_out else "cannot be had (data.missing=skip reads the others)"
        say(f"data.sources.{name} {what}: {str(why).splitlines()[0]}")
    if lacking and not left_out:
        raise next(iter(lacking.values()))


def _entry(source: DataSource, cache: Path) -> Path:
    hub = source.hub
    return cache / "hub" / key_of(path=source.path, subset=hub.subset, split=hub.split, revision=hub.revision)


def _fetch(source: DataSource, cache: Path) -> None:
    from datasets import load_dataset  # slow, and needed for hub names only

    hub = source.hub

    def build(folder: Path) -> None:
        rows = load_dataset(source.path, name=hub.subset, split=hub.split, revision=hub.revision)
        rows.to_parquet(folder / ROWS)

    try:
        obtain(_entry(source, cache), build, {"path": source.path, "subset": hub.subset, "split": hub.split})
    except (OSError, ValueError, RuntimeError) as error:  # what `datasets` and the hub's client raise
        said = " ".join(str(error).split())[:300]
        raise DataError(
            f"data.path: got {source.path!r}, expected a file that ends in .jsonl, .json, .csv or .parquet, "
            f"or a data set of the hub that can be reached: {type(error).__name__}: {said}",
            "on a machine with network that shares the cache: `frontrunner prefetch` with the same settings, "
            "data.hub.subset and .split among them",
        ) from error


def fetch_model(model: ModelRecipe, say: Callable[[str], None]) -> None:
    """Put a base model that is named by its hub name into the local hub cache, unless it is there.

    Raises:
        ModelError: the hub does not answer, has no such model or revision, or wants its licence accepted.
    """
    if not awaits_fetching(model):
        return
    from huggingface_hub import snapshot_download  # slow, and needed for hub names only
    from huggingface_hub.errors import HfHubHTTPError

    say(f"fetching {model.path}, once for this hub cache")
    own = ("*.py",) if model.trust_remote_code else ()

    def get(*patterns: str) -> Path:
        wanted = [*patterns, *own]
        return Path(snapshot_download(str(model.path), revision=model.revision, allow_patterns=wanted))

    try:
        if not any(get(*MODEL_FILES).glob("*.safetensors")):
            get(*MODEL_FILES, *OLDER_WEIGHTS)
    except (OSError, ValueError, HfHubHTTPError) as error:
        said = " ".join(str(error).split())[:300]
        raise ModelError(
            f"model.path: got {model.path!r}, expected an existing folder, or a model of the hub that can be "
            f"reached: {type(error).__name__}: {said}",
            "on a machine with network that shares the hub cache (HF_HOME): `frontrunner prefetch` with the "
            "same settings; a model with a licence needs it accepted, and `hf auth login`",
        ) from error
