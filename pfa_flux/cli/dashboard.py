"""`pfa-flux dashboard`: for Grafana and InfluxDB 2."""

from __future__ import annotations

import enum
from typing import Annotated

import typer

from pfa_flux.cli.choices import Stored
from pfa_flux.cli.options import note, with_settings
from pfa_flux.schema import SOURCES
from pfa_flux.settings import Settings

app = typer.Typer(
    help="Dashboards for Grafana and InfluxDB 2.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


class Datasource(enum.StrEnum):
    """What Grafana's data source is asked in."""

    FLUX = "flux"
    INFLUXQL = "influxql"


From = Annotated[Stored, typer.Option(help="Read raw data, or the windows that the tasks have made.")]


@app.command()
@with_settings
def grafana(
    *,
    datasource: Annotated[
        Datasource, typer.Option(help="Query language of Grafana's data source; on InfluxDB 1.8 influxql is faster.")
    ],
    source: From = SOURCES[0],
    settings: Settings,
    quiet: bool,
) -> None:
    """Print a dashboard for Grafana 9 or newer, to import there."""
    from pfa_flux.present.dashboards.grafana import dashboard
    from pfa_flux.present.dashboards.panels import Data

    typer.echo(dashboard(Data.of(settings, str(source)), datasource.value))
    if not quiet:
        note("In Grafana choose Dashboards, New, Import, and paste it.")


@app.command()
@with_settings
def influxdb(
    *,
    install: Annotated[
        bool, typer.Option("--install", help="Install it on the server, or bring it up to date there.")
    ] = False,
    source: From = SOURCES[0],
    settings: Settings,
    quiet: bool,
) -> None:
    """Print a dashboard for InfluxDB 2 as a template, or install it."""
    from pfa_flux.present.dashboards import influxdb as host
    from pfa_flux.present.dashboards.panels import NAME, Data

    data = Data.of(settings, str(source))
    if not install:
        typer.echo(host.template_text(data))
        if not quiet:
            note("pfa-flux dashboard influxdb --install installs it; so does influx apply --file FILE.json.")
        return
    from pfa_flux import connect

    with connect(settings) as analytics:
        done = host.install(analytics.engine, data)
    typer.echo(done.url)
    if not quiet:
        note(f"{done.action}: the dashboard, in the stack {NAME}")
