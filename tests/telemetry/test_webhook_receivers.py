"""The receivers' code in the how-to checks what we send, and nothing else: the page is run as it stands."""

import json
import re
import subprocess
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from innkeeper.core.webhooks import Message, headers_of, secret_of
from innkeeper.testing.official_sdk import find_node

PAGE = Path(__file__).resolve().parents[2] / "docs/how-to/follow-events.md"
SECRET = secret_of("abcdefghijklmnopqrstuvwxyz0123456789ABCDEFG")
BODY = '{"type": "room.destroyed", "data": {"cause": "Ende — 終"}}'.encode()


def block(language: str) -> str:
    found = re.findall(rf"```{language}\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
    assert len(found) == 1
    return str(found[0])


def cases() -> list[tuple[str, dict[str, str], bytes, bool]]:
    """(secret, headers, body, whether it is genuine)."""
    now = datetime.fromtimestamp(int(time.time()), UTC)
    good = headers_of(Message("0-42", BODY), SECRET, now)
    old = headers_of(
        Message("0-42", BODY), SECRET, datetime.fromtimestamp(now.timestamp() - 600, UTC)
    )
    both = {**good, "webhook-signature": f"v1,AAAA {good['webhook-signature']}"}
    return [
        (SECRET, good, BODY, True),
        (SECRET, both, BODY, True),
        (SECRET, good, BODY + b" ", False),
        (SECRET, {**good, "webhook-id": "0-43"}, BODY, False),
        (SECRET, old, BODY, False),
        (secret_of("another secret that is long enough"), good, BODY, False),
        (SECRET, {**good, "webhook-signature": "v1,AAAA"}, BODY, False),
    ]


@pytest.mark.parametrize("case", range(len(cases())))
def test_the_receiver_in_python(case: int) -> None:
    secret, headers, body, genuine = cases()[case]
    known: dict[str, Any] = {}
    exec(block("python"), known)
    assert known["verify"](secret, headers, body) is genuine


def test_the_receiver_in_node(tmp_path: Path) -> None:
    asked = [(secret, headers, body.decode()) for secret, headers, body, _ in cases()]
    program = (
        f"{block('js')}\nconst asked = {json.dumps(asked)};\n"
        "console.log(JSON.stringify(asked.map(([s, h, b]) => verify(s, h, Buffer.from(b)))));\n"
    )
    file = tmp_path / "receiver.mjs"
    file.write_text(program, "utf-8")
    ran = subprocess.run(
        [find_node(), str(file)], capture_output=True, text=True, timeout=60, check=True
    )
    assert json.loads(ran.stdout) == [genuine for *_, genuine in cases()]
