"""From kill -9 to the next room: one server that is started again on SQLite, and three on one PostgreSQL.

Of the three, the one that reconciles is killed. Baseline: the restart. Before that: whether a room starts as
soon where it is asked of a server that does not reconcile, as where it is asked of the one that does.
"""

import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial

import httpx

from bench.live_game import HEADERS, REGION, Studio, spread
from bench.results import Measurement
from bench.run import Run, interleaved, median_ratio
from bench.servers import SERVERS
from innkeeper.testing.live import LiveServer, live_server
from innkeeper.testing.live_servers import LiveServers, live_servers

SETTINGS = {"INNKEEPER_PORT_REST_S": "1", "INNKEEPER_CPU_OVERCOMMIT": "50"}
PATIENCE_S = 60.0
POLL_S = 0.002
# Milliseconds from the kill: to the 201, and until players can connect.
Times = tuple[float, float]


def measure(run: Run) -> Iterator[Measurement]:
    """Kills and rooms in turn."""
    rounds = run.rounds(5)
    with ExitStack() as stack:
        folder = run.place("takeover")
        one = stack.enter_context(live_server("process", folder, SETTINGS))
        three = stack.enter_context(live_servers("process", folder / "three", SERVERS, SETTINGS))
        single = Studio(one, folder)
        several = Studio(three.all[0], folder / "three")
        yield _through_another(run, three, several)
        run.say(f"kill -9 and the next room, {rounds} times each")
        restarts, takeovers = [], []
        for _ in range(rounds):
            restarts.append(_restart(one, single.app_id))
            takeovers.append(_takeover(three, several.app_id))
    for place, what in enumerate(("accepted", "in play")):
        yield _line(what, [t[place] for t in takeovers], [r[place] for r in restarts])


def _through_another(run: Run, servers: LiveServers, studio: Studio) -> Measurement:
    """Create to active on a new process: asked of a server that must wake another, and of that one."""
    holder = servers.holder()
    if holder is None:
        raise RuntimeError("no server reconciles")
    other = next(server for server in servers.all if server is not holder)
    run.say("rooms on new processes, asked of the server that reconciles and of another")

    def ask(server: LiveServer) -> float:
        begun = time.perf_counter()
        return _next_room(lambda: server.url, studio.app_id, begun)[1]

    found = interleaved(
        run.rounds(15), [("holder", partial(ask, holder)), ("other", partial(ask, other))]
    )
    value, baseline = statistics.median(found["other"]), statistics.median(found["holder"])
    ratio = median_ratio(found["other"], found["holder"])
    name = "servers: create to active through another server"
    detail = f"baseline: through the server that reconciles; {spread(found['other'])}"
    return Measurement(name, "ms", value, baseline, None, ratio, detail)


def _restart(server: LiveServer, app_id: str) -> Times:
    """As a service's supervisor does it: at once."""
    begun = time.perf_counter()
    server.kill()
    server.start()
    return _next_room(lambda: server.url, app_id, begun)


def _takeover(servers: LiveServers, app_id: str) -> Times:
    """The client asks the servers in turn, as a load balancer would."""
    killed = servers.holder()
    if killed is None:
        raise RuntimeError("no server reconciles")
    urls = [server.url for server in servers.all]
    begun = time.perf_counter()
    killed.kill()
    turns = iter(range(10**9))
    times = _next_room(lambda: urls[next(turns) % len(urls)], app_id, begun)
    killed.start()
    return times


def _next_room(url: Callable[[], str], app_id: str, begun: float) -> Times:
    """Ask until a room is accepted, and then until it is in play."""
    made: str | None = None
    with httpx.Client(headers=HEADERS, timeout=10, trust_env=False) as http:
        accepted_ms = 0.0
        while time.perf_counter() - begun < PATIENCE_S:
            try:
                if made is None:
                    path = f"/rooms/v2/{app_id}/create"
                    answer = http.post(url() + path, json={"region": REGION})
                    if answer.status_code == 201:
                        made = answer.json()["roomId"]
                        accepted_ms = (time.perf_counter() - begun) * 1000
                else:
                    answer = http.get(f"{url()}/rooms/v2/{app_id}/connectioninfo/{made}")
                    if answer.status_code == 200 and answer.json()["status"] == "active":
                        return accepted_ms, (time.perf_counter() - begun) * 1000
            except httpx.TransportError:
                pass
            time.sleep(POLL_S)
    raise TimeoutError(f"no room within {PATIENCE_S:g} s of the kill")


def _line(what: str, values: list[float], baselines: list[float]) -> Measurement:
    value, baseline = statistics.median(values), statistics.median(baselines)
    detail = (
        f"{SERVERS} servers on PostgreSQL, from {min(values):,.0f} to {max(values):,.0f} ms; "
        f"baseline: one on SQLite, started again at once, from {min(baselines):,.0f} to "
        f"{max(baselines):,.0f} ms"
    )
    ratio = median_ratio(values, baselines)
    return Measurement(
        f"takeover: kill -9 to the next room {what}", "ms", value, baseline, None, ratio, detail
    )
