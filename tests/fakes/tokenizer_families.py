"""Tokenizers of a few hundred tokens, each with the marks, processors and chat template of its family."""

from __future__ import annotations

from functools import cache
from typing import Any

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

TEXTS = [
    "The quick brown fox jumps over the lazy dog.",
    "What is the capital of France? The capital of France is Paris.",
    "Below is an instruction that describes a task. Write a response that completes the request.",
    "user assistant system model instruction response hello world yes no one two three",
]
ALTERNATE = (
    "{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('Conversation roles must alternate user/assistant/user/assistant/...') }}{% endif %}"
)
LLAMA2 = (
    "{% if messages[0]['role'] == 'system' %}{% set loop_messages = messages[1:] %}"
    "{% set system_message = messages[0]['content'] %}"
    "{% else %}{% set loop_messages = messages %}{% set system_message = false %}{% endif %}"
    "{% for message in loop_messages %}" + ALTERNATE + "{% if loop.index0 == 0 and system_message != false %}"
    "{% set content = '<<SYS>>\\n' + system_message + '\\n<</SYS>>\\n\\n' + message['content'] %}"
    "{% else %}{% set content = message['content'] %}{% endif %}"
    "{% if message['role'] == 'user' %}{{ bos_token + '[INST] ' + content.strip() + ' [/INST]' }}"
    "{% elif message['role'] == 'assistant' %}{{ ' ' + content.strip() + ' ' + eos_token }}{% endif %}"
    "{% endfor %}"
)
LLAMA3 = (
    "{% for message in messages %}{% set content = '<|start_header_id|>' + message['role'] + "
    "'<|end_header_id|>\\n\\n' + message['content'] | trim + '<|eot_id|>' %}"
    "{% if loop.index0 == 0 %}{% set content = bos_token + content %}{% endif %}{{ content }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}{% endif %}"
)
MISTRAL = (
    "{{ bos_token }}{% for message in messages %}"
    + ALTERNATE
    + "{% if message['role'] == 'user' %}{{ '[INST] ' + message['content'] + ' [/INST]' }}"
    "{% elif message['role'] == 'assistant' %}{{ ' ' + message['content'] + eos_token }}"
    "{% else %}{{ raise_exception('Only user and assistant roles are supported!') }}{% endif %}{% endfor %}"
)
CHATML = (
    "{% for message in messages %}"
    "{% if loop.first and messages[0]['role'] != 'system' %}"
    "{{ '<|im_start|>system\\nYou are a helpful assistant.<|im_end|>\\n' }}{% endif %}"
    "{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
QWEN3 = (  # the last answer begins with thoughts, earlier ones lose theirs
    "{%- set ns = namespace(last=-1) %}"
    "{%- for message in messages %}{% if message.role == 'user' %}{% set ns.last = loop.index0 %}{% endif %}"
    "{%- endfor %}"
    "{%- if tools %}{{- '<|im_start|>system\\n# Tools\\n' }}"
    "{% for tool in tools %}{{- tool | tojson }}{% endfor %}"
    "{{- '<|im_end|>\\n' }}{% endif %}"
    "{%- for message in messages %}"
    "{{- '<|im_start|>' + message.role + '\\n' }}"
    "{%- if message.role == 'assistant' and loop.index0 > ns.last %}"
    "{{- '<think>\\n\\n</think>\\n\\n' }}{% endif %}"
    "{{- message.content if message.content else '' }}"
    "{%- if message.tool_calls %}{% for tool_call in message.tool_calls %}"
    "{{- '\\n<tool_call>\\n' + tool_call.function.name + ' ' }}{{ tool_call.function.arguments | tojson }}"
    "{{- '\\n</tool_call>' }}{% endfor %}{% endif %}"
    "{{- '<|im_end|>\\n' }}{% endfor %}"
    "{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{% endif %}"
)
GEMMA_TURNS = (
    "{% for message in loop_messages %}"
    + ALTERNATE
    + "{% set role = 'model' if message['role'] == 'assistant' else message['role'] %}"
    "{{ '<start_of_turn>' + role + '\\n' + (first_user_prefix if loop.first else '') }}"
    "{{ message['content'] | trim + '<end_of_turn>\\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<start_of_turn>model\\n' }}{% endif %}"
)
GEMMA2 = (
    "{{ bos_token }}{% if messages[0]['role'] == 'system' %}"
    "{{ raise_exception('System role not supported') }}{% endif %}"
    "{% set loop_messages = messages %}{% set first_user_prefix = '' %}" + GEMMA_TURNS
)
GEMMA3 = (
    "{{ bos_token }}{% if messages[0]['role'] == 'system' %}"
    "{% set first_user_prefix = messages[0]['content'] + '\\n\\n' %}{% set loop_messages = messages[1:] %}"
    "{% else %}{% set first_user_prefix = '' %}{% set loop_messages = messages %}{% endif %}" + GEMMA_TURNS
)
PHI3 = (
    "{% for message in messages %}{{ '<|' + message['role'] + '|>\\n' + message['content'] + '<|end|>\\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|assistant|>\\n' }}{% else %}{{ eos_token }}{% endif %}"
)
CHATML_MARKED = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' }}"
    "{% if message['role'] == 'assistant' %}"
    "{% generation %}{{ message['content'] + '<|im_end|>' }}{% endgeneration %}"
    "{% else %}{{ message['content'] + '<|im_end|>' }}{% endif %}{{ '\\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
FAMILIES = ("llama2", "llama3", "mistral", "qwen2", "qwen3", "gemma2", "gemma3", "phi3", "gpt_neox", "smollm")


@cache
def family(name: str) -> Any:
    """The tokenizer of a family."""
    return {
        "llama2": lambda: _pieces(LLAMA2, bos="<s>", eos="</s>", adds_bos=True),
        "llama3": lambda: _bytes(
            LLAMA3, bos="<|begin_of_text|>", eos="<|eot_id|>", adds_bos=True,
            more=("<|start_header_id|>", "<|end_header_id|>", "<|end_of_text|>"),
        ),
        "mistral": lambda: _pieces(MISTRAL, bos="<s>", eos="</s>", adds_bos=True),
        "qwen2": lambda: _bytes(CHATML, eos="<|im_end|>", pad="<|endoftext|>", more=("<|im_start|>",)),
        "qwen3": lambda: _bytes(
            QWEN3, eos="<|im_end|>", pad="<|endoftext|>",
            more=("<|im_start|>", "<think>", "</think>", "<tool_call>", "</tool_call>"),
        ),
        "gemma2": lambda: _pieces(GEMMA2, bos="<bos>", eos="<eos>", pad="<pad>", adds_bos=True,
            more=("<start_of_turn>", "<end_of_turn>"), prepends=False,
        ),
        "gemma3": lambda: _pieces(GEMMA3, bos="<bos>", eos="<end_of_turn>", pad="<pad>", adds_bos=True,
            more=("<start_of_turn>",), prepends=False,
        ),
        "phi3": lambda: _pieces(PHI3, bos="<s>", eos="<|endoftext|>", pad="<|endoftext|>",
            more=("<|user|>", "<|assistant|>", "<|system|>", "<|end|>"),
        ),
        "gpt_neox": lambda: _bytes(None, bos="<|endoftext|>", eos="<|endoftext|>"),
        "smollm": lambda: _bytes(
            CHATML, bos="<|im_start|>", eos="<|im_end|>", pad="<|im_end|>", more=("<|endoftext|>",)
        ),
    }[name]()  # fmt: skip


def _bytes(
    template: str | None,
    *,
    eos: str,
    bos: str | None = None,
    pad: str | None = None,
    adds_bos: bool = False,
    more: tuple[str, ...] = (),
) -> Any:
    """Byte-level BPE, as GPT-2's."""
    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    special = list(dict.fromkeys(mark for mark in (bos, eos, pad, *more) if mark))
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=special,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    core.train_from_iterator(TEXTS, trainer)
    return _finished(core, template, bos, eos, pad, adds_bos)


def _pieces(
    template: str,
    *,
    bos: str,
    eos: str,
    pad: str | None = None,
    adds_bos: bool = False,
    more: tuple[str, ...] = (),
    prepends: bool = True,
) -> Any:
    """SentencePiece's BPE, as transformers rebuilds it: blanks are letters, one is put before a text."""
    core = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=False, fuse_unk=True))
    blanks = normalizers.Replace(" ", "▁")
    core.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), blanks]) if prepends else blanks
    core.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.Fuse()])
    special = list(dict.fromkeys(mark for mark in ("<unk>", bos, eos, pad, *more) if mark))
    letters = [chr(code) for code in range(32, 127)] + ["\n", "▁", "é"]
    trainer = trainers.BpeTrainer(
        vocab_size=400, special_tokens=special, initial_alphabet=letters, show_progress=False
    )
    core.train_from_iterator(" ".join(TEXTS).split(), trainer)
    return _finished(core, template, bos, eos, pad, adds_bos)


def _finished(
    core: Tokenizer, template: str | None, bos: str | None, eos: str, pad: str | None, adds_bos: bool
) -> Any:
    if adds_bos and bos is not None:
        core.post_processor = processors.TemplateProcessing(
            single=f"{bos} $A", special_tokens=[(bos, core.token_to_id(bos))]
        )
    marks = {"bos_token": bos, "eos_token": eos, "pad_token": pad}
    made = PreTrainedTokenizerFast(tokenizer_object=core, **marks)  # type: ignore[no-untyped-call]
    made.chat_template = template
    return made
