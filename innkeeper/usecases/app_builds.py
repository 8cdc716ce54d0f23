"""Builds as one app counts them: 1, 2, 3 …, the only names that V1 and V2 have (behaviour.md 1.2, 2.2, 2.3).

They are the org's builds; an app counts those it made, and others once a deployment of it uses them.
"""

from dataclasses import dataclass

from innkeeper.core.accounts import Caller
from innkeeper.core.catalog import App, Build, NumberedBuild
from innkeeper.core.errors import NotFound, StateConflict
from innkeeper.interfaces import Context, Tx
from innkeeper.usecases import apps, builds
from innkeeper.usecases.builds import NewBuild

AppBuild = tuple[str, int]  # (app id, number)


@dataclass(frozen=True, slots=True)
class NewAppBuild:
    """What creates a build in an app."""

    app_id: str
    build: NewBuild


def create_app_build(
    tx: Tx, caller: Caller, wanted: NewAppBuild, context: Context
) -> NumberedBuild:
    """Make a build that the app counts.

    Raises :class:`NotFound` for the app, and what :func:`builds.create_build` raises.
    """
    app = apps.require_app(tx, caller.org_id, wanted.app_id)
    build = builds.create_build(tx, caller, wanted.build, context)
    return NumberedBuild(app.app_id, number_of(tx, app.app_id, build.build_key), build)


def get_app_build(tx: Tx, caller: Caller, wanted: AppBuild, context: Context) -> NumberedBuild:
    """One build of an app. Raises :class:`NotFound`, for a deleted one too."""
    app_id, number = wanted
    return require_numbered(tx, apps.require_app(tx, caller.org_id, app_id), number)


def list_app_builds(tx: Tx, caller: Caller, app_id: str, context: Context) -> list[NumberedBuild]:
    """The builds that an app counts, newest first, without the deleted ones."""
    app = apps.require_app(tx, caller.org_id, app_id)
    rows = tx.all("build_numbers.live_of_app", app_id=app.app_id)
    return [NumberedBuild(app.app_id, row["number"], builds.build_from(row)) for row in rows]


def await_archive(tx: Tx, caller: Caller, wanted: AppBuild, context: Context) -> NumberedBuild:
    """One build of an app that has not run, whose archive may be sent.

    Raises :class:`NotFound`, and :class:`StateConflict` once it has run or for a registry's image.
    """
    numbered = get_app_build(tx, caller, wanted, context)
    if numbered.build.kind != "upload":
        raise StateConflict(
            f'Build "{numbered.number}" takes no archive: it is a registry\'s image'
        )
    if numbered.build.status != "created":
        status = numbered.build.status
        raise StateConflict(f'Build "{numbered.number}" has already been run: it is {status}')
    return numbered


def require_numbered(tx: Tx, app: App, number: int) -> NumberedBuild:
    """The app's build of this number that is not deleted. Raises :class:`NotFound`."""
    row = tx.one("build_numbers.build", app_id=app.app_id, number=number)
    if row is None:
        raise NotFound("Build", str(number))
    if row["deleted_at"] is not None:
        raise NotFound("Build", str(number), "it was deleted")
    return NumberedBuild(app.app_id, number, builds.build_from(row))


def number_of(tx: Tx, app_id: str, build_key: str) -> int:
    """The number that the app counts a build under: the next one where it is new to the app."""
    row = tx.one("build_numbers.of_build", app_id=app_id, build_key=build_key)
    if row is not None:
        return int(row["number"])
    counted = tx.one("build_numbers.next", app_id=app_id)
    assert counted is not None, "the app was found before"
    number = int(counted["builds_numbered"])
    tx.run("build_numbers.insert", app_id=app_id, number=number, build_key=build_key)
    return number


def build_of(tx: Tx, caller: Caller, app: App, name: str | int) -> Build:
    """A build by its org-wide id, or by its number in the app. Raises :class:`NotFound`."""
    if isinstance(name, int):
        return require_numbered(tx, app, name).build
    return builds.require_build(tx, caller.org_id, name)
