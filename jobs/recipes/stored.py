"""How a base model is stored, and what its layers are called, from its folder alone. Loads no torch."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Any

from jobs.errors import ModelError
from jobs.recipes.heads import PLAIN_HEADS
from jobs.recipes.recipe import ModelRecipe, Quantisation, Stored, TrainerRecipe
from jobs.recipes.sources import find_source
from jobs.recipes.targets import HEADS, lacking

Problem = tuple[str, str]
LONGEST_HEADER = 100_000_000  # bytes, as the safetensors library has it


def stored_quantisation(folder: Path) -> Quantisation:
    """How the linear layers of a base model are stored.

    Args:
        folder: in Hugging Face format.

    Raises:
        ModelError: in a way that trials cannot train through.
    """
    config = _config(folder).get("quantization_config")
    if not isinstance(config, Mapping):
        return Quantisation.NONE
    if config.get("load_in_4bit"):
        return Quantisation(config.get("bnb_4bit_quant_type", "fp4"))
    if config.get("load_in_8bit"):
        return Quantisation.INT8
    raise ModelError(
        f"model.path: got {folder}, which is quantised by {config.get('quant_method', 'an unknown method')}, "
        "expected a model that is not quantised, or one that bitsandbytes has quantised",
        "take the model that it was made from, whose name its card tells: trials quantise it themselves",
    )


def refuse_other_storage(stored: Quantisation, trainer: Stored) -> None:
    """Check that a base model which is already quantised is what the trainer asks for.

    Raises:
        ModelError: it is not.
    """
    if stored not in (Quantisation.NONE, trainer.quantisation):
        raise ModelError(
            f"trainer.quantisation: got {trainer.quantisation.value} with a base that is stored as "
            f"{stored.value} and used as it is, expected {stored.value}",
            "the model that it was made from can be quantised in any way, or judged and merged unquantised",
        )


def storage_problems(model: ModelRecipe, trainer: TrainerRecipe, *, plain_too: bool) -> list[Problem]:
    """(key path, what is wrong) with how a base model is stored that is here, and the names of its layers.

    Args:
        plain_too: whether trials are judged on the base that is not quantised as well.
    """
    folder = _folder(model)
    if folder is None:
        return []
    try:
        stored = stored_quantisation(folder)
        refuse_other_storage(stored, trainer)
    except ModelError as error:
        key, _, problem = str(error).partition(": ")
        return [(key, problem)]
    found = []
    if plain_too and stored is not Quantisation.NONE:
        got = f"got 16bit with a base that is stored as {stored.value}, expected 4bit alone"
        found.append(("evaluation.bases", got))
    return [*found, *_target_problems(folder, trainer)]


def _target_problems(folder: Path, trainer: TrainerRecipe) -> Iterator[Problem]:
    # of others a checkpoint may name layers otherwise than the model that is made of it
    layers = linear_layers(folder) if _config(folder).get("model_type") in PLAIN_HEADS else []
    if layers and (missing := lacking(trainer.target_modules, layers)):
        known = ", ".join(sorted({name.rpartition(".")[2] for name in layers}))
        yield "trainer.target_modules", f"got {', '.join(missing)}, expected names among {known}"


def linear_layers(folder: Path) -> list[str]:
    """The names of a model's linear layers but its head, by its safetensors files; [] without any."""
    files = tuple((str(file), file.stat().st_mtime_ns) for file in sorted(folder.glob("*.safetensors")))
    return list(_layers(files))


@lru_cache(maxsize=8)  # asked again for the ends of every parameter's range
def _layers(files: tuple[tuple[str, int], ...]) -> tuple[str, ...]:
    shapes: dict[str, list[int]] = {}
    for file, _ in files:
        shapes |= {name: of["shape"] for name, of in _header(Path(file)).items() if "shape" in of}
    weights = (name.removesuffix(".weight") for name, shape in shapes.items() if _is_matrix(name, shape))
    return tuple(name for name in weights if name.rpartition(".")[2] not in HEADS)


def _is_matrix(name: str, shape: list[int]) -> bool:
    return name.endswith(".weight") and len(shape) == 2


def _header(file: Path) -> dict[str, Any]:
    """The beginning of a safetensors file: 8 bytes of length, then JSON: name -> dtype, shape, place."""
    with suppress(OSError, ValueError), file.open("rb") as stream:
        length = int.from_bytes(stream.read(8), "little")
        if length <= LONGEST_HEADER:
            header = json.loads(stream.read(length))
            return header if isinstance(header, dict) else {}
    return {}


def _folder(model: ModelRecipe) -> Path | None:
    """The folder of a model that is here and no GGUF file."""
    with suppress(ModelError):
        source = find_source(model)
        return None if source.packed else source.path
    return None


def _config(folder: Path) -> Mapping[str, Any]:
    with suppress(OSError, ValueError):
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        return config if isinstance(config, dict) else {}
    return {}
