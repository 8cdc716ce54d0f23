"""``innkeeper warm-pool``: processes kept ready beyond those with rooms."""

import click

from innkeeper.cli.api import Api, Json, api_options, app_option, segment


@click.command("warm-pool")
@click.argument("region", required=False)
@click.argument("processes", required=False, type=click.IntRange(min=0))
@app_option
@api_options
def warm_pool(api: Api, region: str | None, processes: int | None, app: str | None) -> None:
    """Show an app's warm pools, or keep PROCESSES ready in REGION beyond those with rooms (0: none)."""
    if (region is None) != (processes is None):
        raise click.UsageError("give both REGION and PROCESSES, or neither to see what there is")
    path = f"/innkeeper/v1/apps/{segment(api.app_id(app))}/warm-pools"
    answer: Json = api.call("GET", path)
    if region is not None:
        pools = [pool for pool in answer["warmPools"] if pool["region"] != region]
        pools.append({"region": region, "processes": processes})
        answer = api.call("PUT", path, {"warmPools": pools})
    for pool in answer["warmPools"]:
        click.echo(f"{pool['region']}: {pool['processes']}")
    if not answer["warmPools"]:
        click.echo("no warm pools", err=True)
