"""The commands that a page of Markdown tells to type."""

import re
import shlex


def commands(text):
    """Lines of the shell blocks of a page."""
    lines = "\n".join(re.findall(r"```sh\n(.*?)```", text, re.DOTALL)).replace("\\\n", " ")
    return [line.split("#")[0].strip() for line in lines.splitlines() if line.strip()]


def verb_and_flags(command):
    """``python -m xmm_jax.VERB ...`` or ``xmm-jax VERB ...``, None for other commands."""
    words = shlex.split(command.split("&&")[-1])
    if words[:2] == ["python", "-m"] and words[2].startswith("xmm_jax."):
        return words[2].removeprefix("xmm_jax."), words[3:]
    return (words[1], words[2:]) if words[0] == "xmm-jax" else None
