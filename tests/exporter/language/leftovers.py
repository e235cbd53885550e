"""What is left of English in what is said in Chinese."""

# ruff: noqa: RUF001 - Chinese texts use Chinese punctuation

from __future__ import annotations

import re

#: What stays English: between quotes, code; arguments, options, paths, URLs; names with an underscore; commands.
_WORD = r"[^\s\u3000-\u9fff\uff00-\uffef`]*"
CODE = re.compile(
    rf"""`[^`]*` | '[^']*' | "[^"]*" | https?://\S+ | {_WORD}[=/_@]{_WORD} | --?\w[\w.-]* | <[^>]+>
    | (?:yoloscope|yolo|py-spy|nvidia-smi|journalctl|docker|pip|python|taskset|scontrol|sacct|kubectl|nsys|iostat|dmesg
      |nfsiostat|pidstat|htop|systemctl|ulimit|ipmitool|time|cat|ls|df|top
      |last|curl|kill|free)\ [^\u4e00-\u9fff；，。：]*""",
    re.VERBOSE,
)
#: Names of three words, and what Ultralytics itself prints.
NAMES = re.compile(
    r"A stethoscope for YOLO training|HW Power Brake Slowdown|NVIDIA [\w ]+|Tesla [\w ]+|PID namespace|"
    r"workers x prefetch|ms postprocess per image"
)
SENTENCE = re.compile(r"[A-Za-z][A-Za-z']*(?:,? [A-Za-z][A-Za-z']*){2,}")


def english(told: str) -> list[str]:
    """Runs of three English words or more that are no code."""
    return SENTENCE.findall(NAMES.sub(" ", CODE.sub(" ", told)))
