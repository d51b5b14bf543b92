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
    help="Make dashboards for Grafana and InfluxDB 2.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


class Datasource(enum.StrEnum):
    """Query language of Grafana's data source."""

    FLUX = "flux"
    INFLUXQL = "influxql"


From = Annotated[Stored, typer.Option(help="Read raw data, or the windows that the tasks computed.")]


@app.command()
@with_settings
def grafana(
    *,
    datasource: Annotated[
        Datasource, typer.Option(help="Query language of Grafana's data source. On InfluxDB 1.8, influxql is faster.")
    ],
    source: From = SOURCES[0],
    settings: Settings,
    quiet: bool,
) -> None:
    """Print a dashboard to import into Grafana 9 or newer."""
    from pfa_flux.present.dashboards.grafana import dashboard
    from pfa_flux.present.dashboards.panels import Data

    typer.echo(dashboard(Data.of(settings, str(source)), datasource.value))
    if not quiet:
        note("In Grafana, choose Dashboards, New, Import, and paste the output.")


@app.command()
@with_settings
def influxdb(
    *,
    install: Annotated[
        bool, typer.Option("--install", help="Install the dashboard on the server, or update it.")
    ] = False,
    source: From = SOURCES[0],
    settings: Settings,
    quiet: bool,
) -> None:
    """Print a dashboard for InfluxDB 2 as a template, or install it on the server."""
    from pfa_flux.present.dashboards import influxdb as host
    from pfa_flux.present.dashboards.panels import NAME, Data

    data = Data.of(settings, str(source))
    if not install:
        typer.echo(host.template_text(data))
        if not quiet:
            note("To install it: pfa-flux dashboard influxdb --install, or influx apply --file FILE.json.")
        return
    from pfa_flux import connect

    with connect(settings) as analytics:
        done = host.install(analytics.engine, data)
    typer.echo(done.url)
    if not quiet:
        note(f"dashboard {done.action}, in the stack {NAME}")
