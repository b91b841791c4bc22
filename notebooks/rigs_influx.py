"""Reads what rigs measured from InfluxDB 2: one question, and every way in which it can fail."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from influxdb_client import InfluxDBClient
from influxdb_client.client.flux_csv_parser import FluxCsvParserException, FluxQueryException
from influxdb_client.rest import ApiException
from urllib3.exceptions import HTTPError

from rigs_data import STATISTICS, Measured, Missing, Window, tidy, window_of

MEASUREMENT = "rig_measurements"


@dataclass(frozen=True)
class Influx:
    """Where InfluxDB is, and how to get in."""

    url: str
    token: str
    org: str
    bucket: str

    @classmethod
    def from_environment(cls) -> Influx:
        """Take the settings from the environment."""
        return cls(
            url=os.environ.get("INFLUX_URL") or "http://localhost:8086",
            token=_token(),
            org=os.environ.get("INFLUX_ORG") or "my-org",
            bucket=os.environ.get("INFLUX_BUCKET") or "rigs",
        )


def _token() -> str:
    token = os.environ.get("INFLUX_TOKEN", "").strip()
    path = os.environ.get("INFLUX_TOKEN_FILE", "")
    if not token and path:
        try:
            token = Path(path).read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise Missing(f"INFLUX_TOKEN_FILE can't be read: {error}.") from error
    if not token:
        raise Missing(
            "There is no token for InfluxDB: set INFLUX_TOKEN, or INFLUX_TOKEN_FILE to a file that"
            " holds it. (`docker compose up` does so by itself. Without containers see the section"
            " on one process.)"
        )
    return token


def flux(bucket: str, window: Window) -> str:
    """Write the question to InfluxDB, whose answer are the points and the summary.

    The server does the work on both: it makes a row of the sensors' values, and means of many.
    """
    # In a text, Flux would replace what is in ${}.
    quoted = bucket.replace("\\", "\\\\").replace('"', '\\"').replace("${", "\\${")
    means = (
        f'  |> aggregateWindow(every: {window.every}, fn: mean, createEmpty: false, timeSrc: "_start")\n'  # noqa: E501
        if window.every
        else ""
    )
    return f"""\
statistic = (tables=<-, name) =>
  tables
    |> keep(columns: ["rig_id", "_field", "_value"])
    |> set(key: "statistic", value: name)

readings = from(bucket: "{quoted}")
  |> range(start: -{window.last})
  |> filter(fn: (r) => r._measurement == "{MEASUREMENT}")

readings
{means}\
  |> pivot(rowKey: ["_time"], columnKey: ["_field"], valueColumn: "_value")
  |> drop(columns: ["_start", "_stop", "_measurement"])
  |> group()
  |> yield(name: "points")

union(tables: [
  readings |> count() |> toFloat() |> statistic(name: "count"),
  readings |> mean() |> statistic(name: "mean"),
  readings |> min() |> statistic(name: "min"),
  readings |> max() |> statistic(name: "max"),
])
  |> group()
  |> pivot(rowKey: ["rig_id", "_field"], columnKey: ["statistic"], valueColumn: "_value")
  |> yield(name: "summary")
"""


def read_influx(window: str) -> Measured:
    """Read a window from InfluxDB."""
    span = window_of(window)
    influx = Influx.from_environment()
    frames = _ask(influx, flux(influx.bucket, span))
    answers = {name: _result(frames, name) for name in ("points", "summary")}
    if answers["points"].empty or answers["summary"].empty:
        raise Missing(
            f"InfluxDB at {influx.url} answers, but bucket {influx.bucket} has no rows of the"
            f" {span.title}. Start what fills it, e.g. with `docker compose up`, or set WINDOW to a"
            " longer time."
        )
    points = answers["points"].drop(columns=["result", "table"]).rename(columns={"_time": "time"})
    summary = answers["summary"].rename(columns={"_field": "sensor"})
    return Measured(tidy(points), summary[["rig_id", "sensor", *STATISTICS]], span)


def _result(frames: list[pd.DataFrame], name: str) -> pd.DataFrame:
    """Pick one result from the answer; a frame without rows has no columns either."""
    parts = [frame for frame in frames if not frame.empty and frame["result"].iloc[0] == name]
    return pd.concat(parts) if parts else pd.DataFrame()


def _ask(influx: Influx, query: str) -> list[pd.DataFrame]:
    """Ask, and turn everything that can go wrong into words."""
    if not influx.url.startswith(("http://", "https://")):
        raise Missing(f"INFLUX_URL is {influx.url!r}, and has to begin with http:// or https://.")
    # A server that is there connects at once; means of a day take it a while.
    timeout = (3_000, 60_000)
    try:
        with InfluxDBClient(influx.url, influx.token, org=influx.org, timeout=timeout) as client:
            answer = client.query_api().query_data_frame(query)
    except ApiException as error:
        if error.status in (401, 403):
            why = (
                f"refuses the token ({error.status}): check INFLUX_TOKEN or INFLUX_TOKEN_FILE; it"
                f" has to be one that may read bucket {influx.bucket}."
            )
        # InfluxDB also answers 404 if the token may not read the bucket, and 400 to a query in JSON
        # (as this client's) of an unknown organisation.
        elif error.status == 404 or "organization name" in (error.message or ""):
            why = (
                f"knows no organisation {influx.org} with a bucket {influx.bucket}, or the token"
                f" may not read it ({error.status}): check INFLUX_ORG and INFLUX_BUCKET, and"
                " INFLUX_TOKEN or INFLUX_TOKEN_FILE."
            )
        else:
            why = f"can't answer: {error.status} {error.reason}. {error.message or ''}".strip()
        raise Missing(f"InfluxDB at {influx.url} {why}") from error
    except FluxQueryException as error:
        raise Missing(f"InfluxDB at {influx.url} can't answer: {error.message}") from error
    except (FluxCsvParserException, IndexError) as error:
        raise Missing(f"What is at {influx.url} isn't InfluxDB 2: check INFLUX_URL.") from error
    except HTTPError as error:
        raise Missing(
            f"No InfluxDB answers at {influx.url}. Start one, e.g. with `docker compose up`, or set"
            " INFLUX_URL. (Without containers see the section on one process.)"
        ) from error
    return answer if isinstance(answer, list) else [answer]
