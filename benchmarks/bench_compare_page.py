"""How long *Compare* takes to open, to the last chart drawn, against ``mlflow ui``.

10 runs x 20 metrics x 2,000 steps are written once, as trainings would be, to one SQLite
database that both read: ``assay dashboard``, and ``mlflow ui`` on the chart page of the
experiment. Both draw the same 12 metrics of all 10 runs (12 is Assay's most): MLflow draws only
what is in view, so the window is as high as its first section, which holds those 12; the other
8 metrics are known to both pages and drawn by neither (Assay offers them in its picker). That
exactly 12 charts were drawn is checked after each opening. MLflow samples the lines to fewer
points than Assay; how many were drawn is printed.

The clock is the page's own, from the start of its navigation until 12 charts hold 10 lines each.
The two take turns. After one opening of each, the first since their servers started, there are
``--rounds`` more, each in a new browser profile (empty cache). MLflow's background job processes
are off: they would only take time from both.

    python benchmarks/bench_compare_page.py [--rounds 3] [--shots FOLDER]
"""

import argparse
import math
import os
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

RUNS, STEPS, EPOCHS = 10, 2000, 20
DRAWN = tuple(f"train/metric-{i:02d}" for i in range(12))
METRICS = (*DRAWN, *(f"val/metric-{i:02d}" for i in range(8)))
KEYS = tuple(f"bench-{i}" for i in range(RUNS))
WIDTH, HEIGHT = 1600, 1800  # MLflow 3.17: four rows of three charts, and no fifth
HOST = "127.0.0.1"
QUIET = {"MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true",
         "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}  # fmt: skip
CHROMIUM = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    f"--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE {HOST}",
]  # fmt: skip
CHARTS = """lines => [...document.querySelectorAll('.js-plotly-plot')].map(plot => ({
    lines: [...plot.querySelectorAll('.scatterlayer path.js-line')]
        .filter(line => line.getAttribute('d')).length,
    points: Math.max(0, ...(plot.calcdata || []).map(line => line.length)),
})).filter(chart => chart.lines >= lines)"""
LAST = f"([charts, lines]) => ({CHARTS})(lines).length >= charts && performance.now()"
COLD, FRESH = "first since the servers started", "new browser profile"


class Opening(NamedTuple):
    """Seconds to the last chart, and how many points each line was drawn from at most."""

    seconds: float
    points: int


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--shots", type=Path, help="a folder for pictures of both pages")
    parser.add_argument("--chromium", type=Path, default=Path("/usr/bin/chromium"))
    options = parser.parse_args()
    if not options.chromium.exists():
        print(f"{options.chromium} is not there, so nothing is measured; name it with --chromium")
        return
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that the servers end, too
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        home, experiment = write_runs(Path(folder) / "mlruns")
        pages = start_servers(stack, Path(folder), home, experiment)
        playwright = stack.enter_context(sync_playwright())
        browser = playwright.chromium.launch(executable_path=options.chromium, args=CHROMIUM)
        stack.callback(browser.close)
        report(measure(browser, pages, options.rounds))
        if options.shots:
            take_pictures(browser, pages, options.shots)


def write_runs(root: Path) -> tuple[Path, str]:
    """The home's root and the id of the experiment in which the runs are."""
    from backend.tracking.client import connect
    from backend.tracking.home import Home
    from backend.tracking.replay import replay

    home = Home(root)
    home.prepare()
    print(f"writing {RUNS} runs x {len(METRICS)} metrics x {STEPS:,} steps", flush=True)
    for seed, key in enumerate(KEYS):
        write_work_dir(home.work_dir(key), seed)
        replay(home, home.work_dir(key))
    return root, connect(home).get_experiment_by_name("assay").experiment_id


def write_work_dir(folder: Path, seed: int) -> None:
    """What a training would leave, with noisy decays for metrics."""
    import numpy as np
    import yaml

    from backend.core.events import Envelope, MetricsLogged, RunFinished, RunStarted
    from backend.core.sinks import JsonlSink
    from backend.core.workdir import RunFile, WorkDir, write_atomic, write_json

    folder.mkdir(parents=True)
    work, start = WorkDir(folder), time.time()
    config = {"kind": "yolo", "experiment": "assay", "optimizer": {"lr0": (seed + 1) / 1000}}
    write_atomic(work.config, yaml.safe_dump(config))
    run = RunFile(key=folder.name, name=folder.name, trainer="yolo", trainer_entry="bench:None",
                  config_class="bench:None", created=start)  # fmt: skip
    write_json(work.run, run.model_dump(mode="json"))
    noise = np.random.default_rng(seed).normal(0, 0.05, (STEPS, len(METRICS)))
    values = [
        {key: math.exp(-step / 600) + float(noise[step, i]) for i, key in enumerate(METRICS)}
        for step in range(STEPS)
    ]
    events = [
        RunStarted(trainer="yolo", epochs=EPOCHS, headline=METRICS[-1], metrics=(), data=(),
                   environment={}),
        *(MetricsLogged(step=step, epoch=1 + step * EPOCHS // STEPS, metrics=now)
          for step, now in enumerate(values)),
        RunFinished(status="finished"),
    ]  # fmt: skip
    sink = JsonlSink(work.events)
    for seq, event in enumerate(events):
        sink.receive(Envelope(seq=seq, time=start + seq / 10, event=event))
    sink.close()


def start_servers(stack: ExitStack, folder: Path, home: Path, experiment: str) -> dict[str, str]:
    """The address of each one's page; the servers end with the stack."""
    python = [sys.executable, "-m"]
    assay = [*python, "backend.cli", "--home", str(home), "dashboard"]
    mlflow = [*python, "mlflow", "ui", "--backend-store-uri", f"sqlite:///{home / 'mlflow.db'}"]
    ours = stack.enter_context(served(assay, folder / "assay"))
    theirs = stack.enter_context(served(mlflow, folder / "mlflow"))
    return {
        "Assay": f"{ours}/compare?values=last&runs={','.join(KEYS)}&metrics={','.join(DRAWN)}",
        "mlflow ui": f"{theirs}/#/experiments/{experiment}/runs?compareRunsMode=CHART",
    }


@contextmanager
def served(command: list[str], folder: Path) -> Iterator[str]:
    """A server in a process group of its own, on a free port; all of the group ends."""
    folder.mkdir()
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port = probe.getsockname()[1]
    log = folder / "output.log"
    with log.open("w") as output:
        process = subprocess.Popen(
            [*command, "--host", HOST, "--port", str(port)], cwd=folder,
            env={**os.environ, **QUIET}, stdout=output, stderr=output, start_new_session=True,
        )  # fmt: skip
    try:
        wait_for(f"http://{HOST}:{port}", process, log)
        yield f"http://{HOST}:{port}"
    finally:
        with suppress(ProcessLookupError, subprocess.TimeoutExpired):
            os.killpg(process.pid, signal.SIGTERM)
            process.wait(10)
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def wait_for(address: str, process: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + 120
    while process.poll() is None and time.monotonic() < end:
        with suppress(OSError):
            urllib.request.urlopen(address, timeout=10).close()
            return
        time.sleep(0.2)
    sys.exit(f"{address} did not start:\n{log.read_text()[-2000:]}")


def measure(
    browser: Browser, pages: dict[str, str], rounds: int
) -> dict[str, dict[str, list[Opening]]]:
    """Openings by occasion and by page. Who begins changes from round to round."""
    found: dict[str, dict[str, list[Opening]]] = {
        occasion: {name: [] for name in pages} for occasion in (COLD, FRESH)
    }
    for name, address in pages.items():
        with profile(browser) as context:
            found[COLD][name].append(timed(context, address)[0])
    for turn in range(rounds):
        for name in list(pages)[:: -1 if turn % 2 else 1]:
            with profile(browser) as context:
                found[FRESH][name].append(timed(context, pages[name])[0])
    return found


@contextmanager
def profile(browser: Browser) -> Iterator[BrowserContext]:
    """A browser that was never anywhere."""
    context = browser.new_context(viewport={"width": WIDTH, "height": HEIGHT})
    context.set_default_timeout(120_000)
    yield context
    context.close()


def timed(context: BrowserContext, address: str) -> tuple[Opening, Page]:
    """Open a page. Ends the benchmark if it shows another number of charts."""
    page = context.new_page()
    page.goto(address, wait_until="commit")
    last = page.wait_for_function(LAST, arg=[len(DRAWN), RUNS], polling=50)
    seconds = last.json_value() / 1000
    page.wait_for_timeout(1000)  # a chart too many would come late
    charts = page.evaluate(CHARTS, RUNS)
    if len(charts) != len(DRAWN):
        sys.exit(f"{address}: {len(charts)} charts with lines instead of {len(DRAWN)}")
    return Opening(seconds, max(chart["points"] for chart in charts)), page


def report(found: dict[str, dict[str, list[Opening]]]) -> None:
    names = list(found[FRESH])
    print(f"opening {len(DRAWN)} charts of {RUNS} runs, all lines drawn (medians)")
    print(f"{'':37}" + "".join(f"{name:>12}" for name in names) + f"{'ratio':>9}")
    for occasion, openings in found.items():
        ours, theirs = (
            statistics.median(opening.seconds for opening in openings[name]) for name in names
        )
        label = f"{occasion} ({len(openings[names[0]])} x)"
        print(f"{label:37}{ours:10.2f} s{theirs:10.2f} s{ours / theirs:9.3f}")
    points = "".join(f"{found[COLD][name][0].points:12d}" for name in names)
    print(f"{f'points per line, of {STEPS:,} logged':37}{points}")


def take_pictures(browser: Browser, pages: dict[str, str], folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, address in pages.items():
        with profile(browser) as context:
            page = timed(context, address)[1]
            page.screenshot(path=folder / f"{name.replace(' ', '-').lower()}.png", full_page=True)


if __name__ == "__main__":
    main()
