"""Deployments (behaviour.md 3)."""

from dataclasses import replace
from typing import Any

import pytest

from innkeeper.core.catalog import ContainerPort, EnvVar
from innkeeper.core.errors import Invalid, NotFound, StateConflict
from innkeeper.usecases import apps, builds, deployments
from innkeeper.usecases.deployments import DeploymentFilter


async def test_each_deployment_is_the_latest_with_the_next_number(desk: Any) -> None:
    app, build = await desk.app(), await desk.succeeded_build("tag")
    with pytest.raises(NotFound, match="no deployment yet"):
        await desk.ask(deployments.get_latest_deployment, app.app_id)
    made = []
    for number in (1, 2):
        wanted = desk.deployment_of(app.app_id, build.build_id, deployment_tag=f"d{number}")
        made.append(await desk.ask(deployments.create_deployment, wanted))
        assert made[-1].number == number
        assert await desk.ask(deployments.get_latest_deployment, app.app_id) == made[-1]
    other = await desk.app("other")
    wanted = desk.deployment_of(other.app_id, build.build_id)
    assert (await desk.ask(deployments.create_deployment, wanted)).number == 1
    assert made[0].build_tag == "tag"
    assert desk.woken == []


async def test_a_deployment_says_what_was_asked(desk: Any) -> None:
    app, build = await desk.app(), await desk.succeeded_build()
    ports = (ContainerPort("default", 4000, "udp"), ContainerPort("uba", 4000, "tcp"))
    env = (EnvVar("A", "=b=c"), EnvVar("HATHORA_TOKEN", "secret"))
    wanted = desk.deployment_of(app.app_id, build.build_id, cpu=0.29, ports=ports, env=env)
    made = await desk.ask(deployments.create_deployment, wanted)
    assert made.deployment_id.startswith("dep-")
    assert (made.cpu_millis, made.memory_mb, made.gpu) == (290, 1024, 0)
    assert (made.ports, made.env) == (ports, env)
    assert await desk.ask(deployments.get_deployment, (app.app_id, made.deployment_id)) == made
    assert await desk.ask(deployments.get_deployment, (app.app_id, "1")) == made


async def test_another_apps_deployment_is_not_there(desk: Any, stranger: Any) -> None:
    app, other, build = await desk.app(), await desk.app("other"), await desk.succeeded_build()
    made = await desk.ask(
        deployments.create_deployment, desk.deployment_of(app.app_id, build.build_id)
    )
    for name in (made.deployment_id, "1", "9" * 40, "-1", "²"):
        with pytest.raises(NotFound):
            await desk.ask(deployments.get_deployment, (other.app_id, name))
    with pytest.raises(NotFound):
        await desk.ask(deployments.get_deployment, (app.app_id, "1"), caller=stranger)


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"cpu": 0.2}, "body.requestedCPU"),
        ({"cpu": 8.01}, "body.requestedCPU"),
        ({"cpu": 0.333}, "body.requestedCPU"),
        ({"memory_mb": 511}, "body.requestedMemoryMB"),
        ({"memory_mb": 8193}, "body.requestedMemoryMB"),
        ({"memory_mb": 600.5}, "body.requestedMemoryMB"),
        ({"gpu": 1}, "body.requestedGPU"),
        ({"gpu": -1}, "body.requestedGPU"),
        ({"ports": (ContainerPort("default", 1, "tls"),)}, "body.transportType"),
        ({"env": (EnvVar("HATHORA_APP_ID", ""),)}, r"body.env\[0\].name"),
        ({"deployment_tag": "x" * 1001}, "body.deploymentTag"),
    ],
)
async def test_bounds_are_kept(desk: Any, changes: dict[str, Any], field: str) -> None:
    app, build = await desk.app(), await desk.succeeded_build()
    wanted = desk.deployment_of(app.app_id, build.build_id, **changes)
    with pytest.raises(Invalid, match=f"Validation failed: {field} "):
        await desk.ask(deployments.create_deployment, wanted)


async def test_additional_ports_are_bounded_unique_and_not_tls(desk: Any) -> None:
    app, build = await desk.app(), await desk.succeeded_build()
    default = ContainerPort("default", 4000, "udp")
    for more, field in (
        ([("a", 1, "tcp"), ("b", 2, "tcp"), ("c", 3, "tcp")], "additionalContainerPorts must"),
        ([("a", 1, "tcp"), ("a", 2, "tcp")], r"additionalContainerPorts\[1\].name"),
        ([("default", 1, "tcp")], r"additionalContainerPorts\[0\].name"),
        ([("a", 4000, "udp")], r"additionalContainerPorts\[0\].port"),
        ([("a", 1, "tcp"), ("b", 2, "tls")], r"additionalContainerPorts\[1\].transportType"),
    ):
        ports = (default, *(ContainerPort(*port) for port in more))
        wanted = desk.deployment_of(app.app_id, build.build_id, ports=ports)
        with pytest.raises(Invalid, match=rf"body\.{field}"):
            await desk.ask(deployments.create_deployment, wanted)


async def test_tls_is_stored_where_the_unenforced_is_accepted(desk: Any) -> None:
    desk.accept_unenforced()
    app, build = await desk.app(), await desk.succeeded_build()
    ports = (ContainerPort("default", 4000, "tls"),)
    wanted = desk.deployment_of(app.app_id, build.build_id, ports=ports)
    made = await desk.ask(deployments.create_deployment, wanted)
    assert made.default_port.transport_type == "tls"


async def test_only_a_build_that_succeeded_can_be_deployed(desk: Any, stranger: Any) -> None:
    app = await desk.app()
    created = await desk.ask(builds.create_build, builds.NewBuild(1))
    wanted = desk.deployment_of(app.app_id, created.build_id)
    with pytest.raises(StateConflict, match="it is created"):
        await desk.ask(deployments.create_deployment, wanted)
    build = await desk.succeeded_build()
    wanted = desk.deployment_of(app.app_id, build.build_id)
    with pytest.raises(NotFound, match="App"):
        await desk.ask(deployments.create_deployment, wanted, caller=stranger)
    with pytest.raises(NotFound, match="Fleet"):
        await desk.ask(deployments.create_deployment, replace(wanted, fleet_id="fleet-1"))
    await desk.ask(builds.delete_build, build.build_id)
    with pytest.raises(NotFound, match="it was deleted"):
        await desk.ask(deployments.create_deployment, wanted)
    with pytest.raises(NotFound, match="Build"):
        await desk.ask(deployments.create_deployment, replace(wanted, build_id="bld-none"))


async def test_the_list_is_newest_first_and_filtered_by_exact_tags(desk: Any) -> None:
    app = await desk.app()
    one, two = await desk.succeeded_build("b1"), await desk.succeeded_build("b2")
    for build, tag in ((one, "x"), (two, "x"), (two, None)):
        wanted = desk.deployment_of(app.app_id, build.build_id, deployment_tag=tag)
        await desk.ask(deployments.create_deployment, wanted)
    for wanted, numbers in (
        (DeploymentFilter(app.app_id), [3, 2, 1]),
        (DeploymentFilter(app.app_id, deployment_tag="x"), [2, 1]),
        (DeploymentFilter(app.app_id, build_tag="b2"), [3, 2]),
        (DeploymentFilter(app.app_id, "x", "b2"), [2]),
        (DeploymentFilter(app.app_id, "X"), []),
    ):
        listed, following = await desk.ask(deployments.list_deployments, wanted)
        assert [d.number for d in listed] == numbers
        assert following is None


async def test_a_long_list_comes_in_pages(desk: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deployments, "LIST_MAX", 4)
    monkeypatch.setattr(deployments, "PAGE_SIZE", 2)
    app, build = await desk.app(), await desk.succeeded_build()
    for _ in range(5):
        wanted = desk.deployment_of(app.app_id, build.build_id)
        await desk.ask(deployments.create_deployment, wanted)
    seen, token, pages = [], None, 0
    while pages == 0 or token is not None:
        page, token = await desk.ask(
            deployments.list_deployments, DeploymentFilter(app.app_id, page_token=token)
        )
        seen += [d.number for d in page]
        pages += 1
    assert (seen, pages) == ([5, 4, 3, 2, 1], 3)
    for junk in ("", "7", "below-", "below-x", "below--1"):
        with pytest.raises(Invalid, match=r"query\.nextPageToken"):
            await desk.ask(
                deployments.list_deployments, DeploymentFilter(app.app_id, page_token=junk)
            )


async def test_a_deleted_apps_deployments_are_gone(desk: Any) -> None:
    app, build = await desk.app(), await desk.succeeded_build()
    await desk.ask(deployments.create_deployment, desk.deployment_of(app.app_id, build.build_id))
    await desk.ask(apps.delete_app, app.app_id)
    with pytest.raises(NotFound):
        await desk.ask(deployments.get_latest_deployment, app.app_id)
