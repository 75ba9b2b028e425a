"""The script to compare with: QLoRA as transformers' and peft's own pages write it.

`python -m benchmarks.trial.plain SETTINGS.json ANSWER.json`. Its examples are tokenised already.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, get_peft_model, prepare_model_for_kbit_training
from torch.utils.data import Dataset
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    BitsAndBytesConfig,
    DataCollatorForSeq2Seq,
    Trainer,
    TrainerCallback,
    TrainingArguments,
)

from benchmarks.trial.clock import Clock


class Timer(TrainerCallback):
    """Tells the clock of every step."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """See transformers."""
        self.clock.step_ended(int(state.num_input_tokens_seen))


class Rows(Dataset[dict[str, list[int]]]):
    """Examples with input_ids and labels, a line of a file each."""

    def __init__(self, file: str) -> None:
        lines = Path(file).read_text().splitlines()
        self.rows: list[dict[str, list[int]]] = [json.loads(line) for line in lines]

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, place: int) -> dict[str, list[int]]:
        return self.rows[place]


def main(settings_file: str, answer: str) -> int:
    """Train one epoch and write what the clock says."""
    settings = json.loads(Path(settings_file).read_text())
    cuda = torch.cuda.is_available()
    compute = torch.bfloat16 if cuda and torch.cuda.get_device_capability() >= (8, 0) else torch.float32
    if cuda and compute is torch.float32:
        compute = torch.float16
    tokenizer = AutoTokenizer.from_pretrained(settings["model"])
    tokenizer.pad_token = tokenizer.pad_token or tokenizer.eos_token
    four_bit = BitsAndBytesConfig(  # type: ignore[no-untyped-call]
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=compute,
    )
    model = AutoModelForCausalLM.from_pretrained(
        settings["model"], quantization_config=four_bit, dtype=compute, device_map={"": 0 if cuda else "cpu"}
    )
    clock = Clock()
    train(model, tokenizer, Rows(settings["examples"]), settings, compute, [Timer(clock)])
    Path(answer).write_text(json.dumps(clock.record()))
    return 0


def train(
    model: Any,
    tokenizer: Any,
    rows: Dataset[Any],
    settings: Mapping[str, Any],
    compute: torch.dtype,
    callbacks: list[TrainerCallback],
) -> Any:
    """One epoch on a model as it was loaded.

    Returns:
        The model with its adapter.
    """
    cuda, again = torch.cuda.is_available(), bool(settings.get("checkpointing"))
    model = prepare_model_for_kbit_training(model, use_gradient_checkpointing=again)  # type: ignore[no-untyped-call]
    lora = LoraConfig(
        r=settings["rank"],
        lora_alpha=settings["alpha"],
        target_modules=settings["targets"],
        task_type="CAUSAL_LM",
    )
    arguments = TrainingArguments(
        output_dir=settings["folder"],
        per_device_train_batch_size=settings["batch"],
        num_train_epochs=1,
        learning_rate=1e-4,
        logging_strategy="no",
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
        bf16=cuda and compute is torch.bfloat16,
        fp16=cuda and compute is torch.float16,
        remove_unused_columns=False,
        include_num_input_tokens_seen="non_padding",
        seed=settings["seed"],
    )
    adapted = get_peft_model(model, lora)
    trainer = Trainer(
        model=adapted,
        args=arguments,
        train_dataset=rows,
        data_collator=DataCollatorForSeq2Seq(tokenizer, label_pad_token_id=-100),
        callbacks=callbacks,
    )
    trainer.train()
    return adapted


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
