"""Messages are listed in docs/messages.md, in one tone, and say what to do."""

import re
import runpy
from pathlib import Path

DOCS = Path(__file__).resolve().parents[1] / "docs"
SCRIPT = runpy.run_path(str(DOCS / "list_messages.py"))
MESSAGES = [
    (f"xmm_jax.{module}, line {line}", text)
    for module, line, text in SCRIPT["messages"](SCRIPT["parse"]())
]
# A remedy follows a semicolon, or is one of these.
REMEDY = re.compile(
    r"; |\?|--\w+=[A-Z]+$|\b(at least|begins with|belong|choose|expected|give|leave|make|must|name"
    r"|named in|need|needs|needed|only|pass|pip install|say|see|share|such as|use|write|0 or more"
    r"|exposures are|lists are|images are|pairs are)\b|: above"
)
# These say what is wrong inside a file or sample; who reads that adds the file and the remedy.
INNER = ("models.published", "models.torch_zip", "data.schema", "data.splits", "flags")


def test_the_page_has_all_messages():
    found = (DOCS / "messages.md").read_text()
    assert found == SCRIPT["page"](), "out of date: python docs/list_messages.py"
    assert len(MESSAGES) > 300


def test_messages_have_one_tone():
    for where, text in MESSAGES:
        assert not re.match(r"[A-Z][a-z]", text), (where, text)  # no sentence, an end of a line
        assert not re.search(r"[^.]\.$|!$|; $", text), (where, text)
        assert "\n" not in text, (where, text)
        assert not re.search(r"please|sorry|oops|invalid|illegal|error:", text, re.IGNORECASE), (
            where
        )


def test_messages_say_what_to_do():
    faults = [
        f"{where}: {text}"
        for where, text in MESSAGES
        if not REMEDY.search(text) and not where.startswith(tuple(f"xmm_jax.{m}" for m in INNER))
    ]
    assert not faults, "\n" + "\n".join(faults)
