"""A control plane to be killed, or to run without root: ``python control_plane.py DIR SPEC.json``.

Starts the process that SPEC describes, prints ``started``, and lives on until its input ends.
"""

import asyncio
import json
import sys
from datetime import UTC, datetime
from pathlib import Path

from innkeeper.interfaces import PortSpec, ProcessSpec
from innkeeper.runtime.process import ProcessRuntime
from innkeeper.runtime.zygote_client import stop_zygote


async def main(directory: Path, given: dict[str, object]) -> None:
    ports = tuple(PortSpec(*port) for port in given.pop("ports"))  # type: ignore[attr-defined]
    spec = ProcessSpec(ports=ports, **given)  # type: ignore[arg-type]
    runtime = ProcessRuntime(
        directory,
        installation_id="test",
        api_url="http://127.0.0.1:9",
        clock=lambda: datetime.now(UTC),
    )
    await runtime.open()
    await runtime.start(spec)
    for _ in range(2000):
        if runtime.bound(spec.process_id, spec.ports):
            print("bound", flush=True)
            break
        await asyncio.sleep(0.005)
    print("started", flush=True)
    order = await asyncio.to_thread(sys.stdin.readline)
    if order == "remove\n":
        await runtime.signal(spec.process_id, kill=True)
        await runtime.remove(spec.process_id)
        assert (await runtime.observe()).processes == {}
        await runtime.close()
        stop_zygote(directory)
        print("removed", flush=True)


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), json.loads(Path(sys.argv[2]).read_text())))
