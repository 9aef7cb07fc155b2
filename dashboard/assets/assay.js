/* What needs no server: the URL as state, selection, keys, themes. */
(function () {
  "use strict";

  const LISTS = ["runs", "metrics"];

  function query() {
    return new URLSearchParams(window.location.search);
  }

  function list(name) {
    return (query().get(name) || "").split(",").filter(Boolean);
  }

  function encode(params) {
    const parts = [];
    params.forEach((value, key) => {
      if (value !== "") {
        parts.push(key + "=" + encodeURIComponent(value).replace(/%2C/g, ",").replace(/%2F/g, "/"));
      }
    });
    return parts.length ? "?" + parts.join("&") : "";
  }

  /* Change some keys of the query. A new path makes a step for the back button. */
  function go(changes, path, step) {
    const params = query();
    for (const [key, value] of Object.entries(changes)) {
      const text = LISTS.includes(key) && Array.isArray(value) ? value.join(",") : value;
      if (text === null || text === undefined || text === "") params.delete(key);
      else params.set(key, String(text));
    }
    const there = path && path !== window.location.pathname;
    const url = (path || window.location.pathname) + encode(params);
    if (url === window.location.pathname + window.location.search) return;
    if (there || step) window.history.pushState({}, "", url);
    else window.history.replaceState(window.history.state, "", url);
    window.dispatchEvent(new PopStateEvent("popstate"));
  }

  const nothing = () => window.dash_clientside.no_update;

  function grid(id) {
    try {
      return window.dash_ag_grid ? window.dash_ag_grid.getApi(id) : null;
    } catch (error) {
      return null;
    }
  }

  function shownGrid() {
    return grid("runs-grid") || grid("studies-grid");
  }

  function focusedKey() {
    const api = shownGrid();
    const cell = api && api.getFocusedCell();
    if (!cell) return null;
    const row = cell.rowPinned
      ? api.getPinnedTopRow(cell.rowIndex)
      : api.getDisplayedRowAtIndex(cell.rowIndex);
    return row && row.data ? row.data.key : null;
  }

  function compare() {
    if (list("runs").length && window.location.pathname !== "/compare")
      go({ comparison: null }, "/compare");
  }

  function same(a, b) {
    return a.length === b.length && a.every((item, i) => item === b[i]);
  }

  function onExperts() {
    return window.location.pathname.startsWith("/experts");
  }

  function onConvergence() {
    return window.location.pathname.startsWith("/convergence");
  }

  function keysOf(selected) {
    if (!selected) return [];
    if (Array.isArray(selected)) return selected.map((row) => row.key).filter(Boolean);
    return selected.ids || [];
  }

  /* The query without all but some keys, for each list of keys, where that is news. */
  function partsOf(known, ...lists) {
    return lists.map((keys, i) => {
      const params = query();
      [...params.keys()].forEach((key) => keys.includes(key) || params.delete(key));
      const part = encode(params);
      return part === known[i] ? nothing() : part;
    });
  }

  /* --- the frame viewer of Compare ----------------------------------------- */
  const MOST_FRAMES = 60;
  const film = { at: 0, truth: false, only: false, data: null, playing: false, timer: 0, written: "" };
  const frames = new Map();
  let writing = 0;

  /* A frame from the server, or as it was got before. */
  function frameOf(at) {
    const number = film.data.numbers[at];
    const url = film.data.url + "&number=" + number + (film.truth ? "&truth=1" : "");
    if (!frames.has(url)) {
      const got = fetch(url)
        .then((answer) => answer.json())
        .catch(() => ({ problem: "The server does not answer; start assay dashboard again." }));
      frames.set(url, got);
      got.then((frame) => frame.problem && frames.delete(url));
      if (frames.size > MOST_FRAMES) frames.delete(frames.keys().next().value);
    }
    return frames.get(url);
  }

  /* The place after (1) or before (-1) this one; of those that differ only, if so wanted. */
  function nextFrame(way, differing = film.only) {
    const last = film.data.numbers.length - 1;
    if (!differing) return Math.min(Math.max(film.at + way, 0), last);
    const places = film.data.differences;
    const found = way > 0
      ? places.find((place) => place > film.at)
      : places.filter((place) => place < film.at).pop();
    return found === undefined ? film.at : found;
  }

  /* The sequence of the address, else the one that changed most. */
  function sequenceOf(groups) {
    const names = (groups || []).flatMap((group) => group.items.map((item) => item.value));
    const wanted = query().get("sequence");
    return names.includes(wanted) ? wanted : names[0] || null;
  }

  function moveFrame(way, differing, playing) {
    if (!playing) stopFrames();
    if (!film.data) return;
    const next = nextFrame(way, differing);
    if (next === film.at) stopFrames();
    else window.dash_clientside.set_props("tracks-slider", { value: next });
  }

  function playFrames() {
    if (film.playing) return stopFrames();
    if (!film.data) return;
    film.playing = true;
    window.dash_clientside.set_props("tracks-play", { children: "Pause" });
    const over = nextFrame(1) === film.at;
    const start = film.only ? film.data.differences[0] : 0;
    if (!over) moveFrame(1, film.only, true);
    else if (start === undefined || start === film.at) stopFrames();
    else window.dash_clientside.set_props("tracks-slider", { value: start });
  }

  function stopFrames() {
    clearTimeout(film.timer);
    if (film.playing) window.dash_clientside.set_props("tracks-play", { children: "Play" });
    film.playing = false;
  }

  function waiting(begun) {
    return Math.max(0, 1000 / (film.data.fps || 25) - (performance.now() - begun));
  }

  /* The address follows once the frame rests; what is written here moves nothing. */
  function addressFrame() {
    clearTimeout(writing);
    writing = setTimeout(() => {
      const { at, data, playing } = film;
      if (!data || playing || !document.getElementById("tracks-slider")) return;
      if (!query().get("frame") && at === (data.differences[0] || 0)) return;
      film.written = String(data.numbers[at]);
      go({ sequence: data.sequence, frame: film.written });
    }, 300);
  }

  /* --- the timeline of Compare -------------------------------------------- */
  const SURROUNDINGS = 4; // an action is shown with so many of its lengths around it

  function timelineChart() {
    return document.querySelector("#actions-chart .js-plotly-plot");
  }

  /* Show this stretch of the video; its first moment in the player. */
  function seek(start, end) {
    const chart = timelineChart();
    const around = Math.max(8, SURROUNDINGS * (end - start));
    if (chart) {
      const axis = chart._fullLayout.xaxis;
      const low = Math.max(0, start - around);
      const high = Math.min(axis.maxallowed, end + around);
      window.Plotly.relayout(chart, { "xaxis.range": [low, high] });
    }
    seekFilm(start);
  }

  const player = () => document.getElementById("actions-player");
  const playable = () => player() && !player().hidden;

  function seekFilm(seconds) {
    if (playable()) player().currentTime = seconds;
    else if (player()) window.dash_clientside.set_props("actions-moment", { value: seconds });
  }

  /* A line at the moment that is shown. */
  function markMoment(at) {
    const chart = timelineChart();
    if (!chart || !window.Plotly || !chart.layout) return;
    const lanes = (chart.layout.shapes || []).filter((shape) => shape.name !== "now");
    const now = { type: "line", name: "now", yref: "paper", y0: 0, y1: 1, x0: at, x1: at,
      line: { color: "#e03131", width: 1.5 } };
    window.Plotly.relayout(chart, { shapes: [...lanes, now] });
  }

  /* These events of a video do not rise, but they can be caught on their way down. */
  for (const name of ["timeupdate", "seeked"])
    document.addEventListener(name, (event) => {
      if (event.target === player()) markMoment(event.target.currentTime);
    }, true);
  document.addEventListener("error", (event) => {
    if (!event.target || event.target !== player()) return;
    event.target.hidden = true;
    event.target.parentElement.querySelector(".actions-stills").hidden = false;
    const at = document.querySelector("#actions-moment [role=slider]");
    window.dash_clientside.set_props("actions-moment", { value: at ? Number(at.ariaValueNow) : 0 });
  }, true);
  document.addEventListener("click", (event) => {
    const button = event.target.closest && event.target.closest("[data-seek]");
    if (!button) return;
    const [start, end] = button.dataset.seek.split(",").map(Number);
    seek(start, end);
    const chart = document.getElementById("actions-chart");
    if (chart) chart.scrollIntoView({ block: "nearest" });
  });

  window.dash_clientside = window.dash_clientside || {};
  window.dash_clientside.assay = {
    boot: () => document.documentElement.getAttribute("data-mantine-color-scheme") || "light",

    scheme: () => document.documentElement.getAttribute("data-mantine-color-scheme") || "light",

    retheme: (scheme, templates, figures) =>
      figures.map((figure) =>
        figure
          ? { ...figure, layout: { ...figure.layout, template: templates[scheme] } }
          : nothing()
      ),

    live: (checked) => !checked,
    help: () => true,

    tabs(href, pages) {
      const here = window.location.pathname.replace(/\/+$/, "") || "/";
      const page = pages.find(([path]) => path === here);
      document.title = (page ? page[1] + " · " : "") + "Assay";
      return pages.flatMap(([path]) => [
        path + window.location.search,
        path === here ? "page-tab active" : "page-tab",
      ]);
    },

    /* --- runs ----------------------------------------------------------- */
    baseline(search, known) {
      const wanted = query().get("baseline") || "";
      return wanted === known ? nothing() : wanted;
    },

    select(selected, rows) {
      if (!Array.isArray(selected)) return;
      const now = keysOf(selected);
      const here = new Set((rows || []).map((row) => row.key));
      const kept = list("runs").filter((key) => now.includes(key) || !here.has(key));
      go({ runs: kept.concat(now.filter((key) => !kept.includes(key))) });
    },

    showSelection(search, selected) {
      const wanted = list("runs");
      const shown = keysOf(selected).slice().sort();
      const n = wanted.length;
      return [
        selected && same(shown, wanted.slice().sort()) ? nothing() : { ids: wanted },
        n ? "Compare " + n : "Compare",
        n === 0,
        n !== 1,
        n === 0,
        n === 0,
      ];
    },

    filterRuns(text) {
      const api = grid("runs-grid");
      if (api) api.setGridOption("quickFilterText", text || "");
      go({ q: text || null });
    },

    countRuns(shown, all) {
      const total = (all || []).length;
      const n = (shown || []).length;
      const text = n < total ? n + " of " + total + " runs match" : "";
      const none = total > 0 && n === 0;
      const hidden = { display: "none" };
      return [text, none ? {} : hidden, none ? hidden : {}];
    },

    /* --- compare -------------------------------------------------------- */
    derive(search, ...known) {
      const parts = partsOf(
        known,
        ["runs", "baseline", "comparison"],
        ["runs", "baseline", "comparison", "metrics", "x", "log", "smooth"],
        ["runs", "baseline", "comparison", "values", "params"]
      );
      return [...parts, window.location.href];
    },

    /* What was zoomed, so that the server can send more points and keep the ranges. */
    zoom(relayout, figure, known) {
      const event = relayout || {};
      const layout = figure.layout;
      const next = Object.assign({ x: null, y: null }, known);
      let news = false;
      for (const axis of ["x", "y"]) {
        const name = axis + "axis";
        const range = event[name + ".range"] || [event[name + ".range[0]"], event[name + ".range[1]"]];
        if (range.every((end) => typeof end === "number")) {
          next[axis] = [Math.min(...range), Math.max(...range)];
          news = true;
        } else if (event[name + ".autorange"] && next[axis]) {
          next[axis] = null;
          news = true;
        }
      }
      if (!news) return nothing();
      next.title = layout.xaxis.title.text;
      next.log = layout.yaxis.type === "log";
      return next.x || next.y ? next : null;
    },

    readControls(search, defaults) {
      const params = query();
      const metrics = list("metrics");
      const smooth = Number(params.get("smooth")) || 0;
      return [
        metrics.length || !defaults ? metrics : defaults.split(","),
        params.get("x") || "step",
        params.get("log") === "1",
        smooth,
        params.get("values") || "best",
        params.get("params") || "diff",
        smooth ? smooth.toFixed(2) : "off",
      ];
    },

    writeControls(metrics, x, log, smooth, values, params, defaults) {
      if (!window.location.pathname.startsWith("/compare")) return;
      const chosen = (metrics || []).join(",");
      if (!chosen && defaults) {
        window.dash_clientside.set_props("control-metrics", { value: defaults.split(",") });
      }
      const before = query().get("smooth") || "";
      const now = smooth ? String(smooth) : "";
      go(
        {
          metrics: chosen === defaults ? null : chosen,
          x: x === "step" ? null : x,
          log: log ? "1" : null,
          smooth: now,
          values: values === "best" ? null : values,
          params: params === "diff" ? null : params,
        },
        null,
        before === now
      );
    },

    /* --- frames of two trackers ------------------------------------------ */
    placeFrame(search, data) {
      if (data && data === film.data && query().get("frame") === film.written)
        return Array(3).fill(nothing());
      stopFrames();
      if (!data || !data.numbers.length) return [0, 0, true];
      const wanted = data.numbers.indexOf(Number(query().get("frame")));
      const mine = query().get("sequence") === data.sequence && wanted >= 0;
      return [data.numbers.length - 1, mine ? wanted : data.differences[0] || 0, false];
    },

    async showFrame(at, truth, only, data) {
      Object.assign(film, { at, truth, only, data });
      if (!data || data.numbers[at] === undefined) return Array(7).fill(nothing());
      addressFrame();
      const begun = performance.now();
      const got = await frameOf(at);
      if (film.at !== at || film.data !== data || film.truth !== truth)
        return Array(7).fill(nothing());
      const place = data.numbers[at] === at + 1 ? "" : ", " + (at + 1);
      const text = "frame " + data.numbers[at] + place + " of " + data.numbers.length;
      if (got.problem) {
        stopFrames();
        return Array(6).fill(nothing()).concat(got.problem);
      }
      frameOf(nextFrame(1));
      if (film.playing) film.timer = setTimeout(() => moveFrame(1, film.only, true), waiting(begun));
      const note = got.note && !data.note ? text + ": " + got.note : text;
      return [
        got.old,
        "Old, " + text + ": " + got.old_text,
        got.old_text,
        got.new,
        "New, " + text + ": " + got.new_text,
        got.new_text,
        note,
      ];
    },

    placeSequence(search, groups, known) {
      const wanted = sequenceOf(groups);
      return wanted === known ? nothing() : wanted;
    },

    pickSequence(sequence, groups) {
      if (sequence && sequence !== sequenceOf(groups)) go({ sequence, frame: null }, null, true);
    },

    frameBefore: () => moveFrame(-1, true),
    frameBack: () => moveFrame(-1, film.only),
    framePlay: () => playFrames(),
    frameOn: () => moveFrame(1, film.only),
    frameNext: () => moveFrame(1, true),

    /* --- actions of two detectors ---------------------------------------- */
    pickActions(video, tiou, label, best, score) {
      if (!video || !tiou || !window.location.pathname.startsWith("/compare")) return;
      go({ sequence: video, tiou, label, score: best ? null : score });
    },

    /* Only where the player gave up: its error comes after this was asked for first. */
    showStill(at, stills) {
      if (!stills || !player() || playable()) return Array(3).fill(nothing());
      markMoment(at);
      const text = at.toFixed(1) + " s";
      return [stills.url + at, stills.video + " at " + text, text];
    },

    clickAction(click) {
      const point = click && click.points[0];
      if (point && point.customdata) seekFilm(point.customdata[0]);
    },

    /* --- experts -------------------------------------------------------- */
    deriveExperts: (search, ...known) =>
      partsOf(
        known,
        ["runs", "run", "router", "loss", "study"],
        ["runs", "run", "router", "step", "other", "other_step"]
      ),

    /* A picked value goes into the address, unless it is what is shown without being asked for. */
    pickExperts(run, router, other, otherStep, shown) {
      if (!shown || !onExperts()) return;
      if (run && run !== shown.run) go({ run, step: null, router: null }, null, true);
      else if (router && router !== shown.router) go({ router }, null, true);
      else if (other && other !== shown.other) go({ other, other_step: null }, null, true);
      else if (otherStep && otherStep !== shown.other_step)
        go({ other_step: otherStep }, null, true);
    },

    showStep(search, steps) {
      if (!steps || !steps.length) return [0, 0, true, ""];
      const wanted = steps.findIndex((step) => step.value === query().get("step"));
      const at = wanted < 0 ? steps.length - 1 : wanted;
      return [steps.length - 1, at, steps.length < 2, steps[at].label];
    },

    pickStep(at, steps) {
      if (!steps || !steps[at] || !(onExperts() || onConvergence())) return;
      go({ step: at === steps.length - 1 ? null : steps[at].value });
    },

    pickLoss(loss) {
      if (onExperts()) go({ loss: loss === "total" ? null : loss }, null, true);
    },

    clickStep(clicks, steps) {
      const { triggered_id: id, triggered } = window.dash_clientside.callback_context;
      const click = id && id.name.startsWith("usage ") && triggered[0].value;
      const at = (steps || []).findIndex((s) => click && s.value === String(click.points[0].x));
      if (at >= 0) go({ step: steps[at].value });
    },

    /* --- convergence ---------------------------------------------------- */
    deriveConvergence: (search, ...known) =>
      partsOf(known, ["runs", "run"], ["runs", "run", "log", "smooth"], ["runs", "run", "step"]),

    /* News begin with the runs on screen. */
    pickRuns(picked, news) {
      const shown = news ? news[0] : [];
      if (!picked || !onConvergence() || same([...picked].sort(), [...shown].sort())) return;
      const run = query().get("run");
      go({ runs: picked, run: picked.includes(run) ? run : null, step: null }, null, true);
    },

    readCourse(search) {
      const smooth = Number(query().get("smooth")) || 0;
      return [query().get("log") === "1", smooth, smooth ? smooth.toFixed(2) : "off"];
    },

    writeCourse(log, smooth) {
      if (onConvergence()) go({ log: log ? "1" : null, smooth: smooth ? String(smooth) : null });
    },

    /* --- studies -------------------------------------------------------- */
    study(search, known) {
      const wanted = query().get("study") || "";
      return wanted === known ? nothing() : wanted;
    },

    pickStudy(name, names) {
      const now = query().get("study");
      if (!name || name === now || (!now && name === (names || [])[0])) return;
      go({ study: name }, null, true);
    },

    /* The first thing in the data of a point is its run. */
    openTrial() {
      const { triggered_id: id, triggered } = window.dash_clientside.callback_context;
      const click = id && /^(pareto|cost-\w+) /.test(id.name) && triggered[0].value;
      const run = click && click.points[0].customdata && click.points[0].customdata[0];
      if (run) go({ runs: [run], comparison: null }, "/compare");
    },

    showTrials(search, rows, selected) {
      const here = new Set((rows || []).map((row) => row.key).filter(Boolean));
      const wanted = list("runs").filter((key) => here.has(key));
      const n = list("runs").length;
      const shown = keysOf(selected).slice().sort();
      return [
        same(shown, wanted.slice().sort()) ? nothing() : { ids: wanted },
        n ? "Compare " + n : "Compare",
        n === 0,
      ];
    },

    compare,
    converge() {
      if (list("runs").length) go({ run: null, step: null }, "/convergence");
    },
    clear: () => go({ runs: null }),
    setBaseline: () => go({ baseline: list("runs")[0] }),
    exportRuns() {
      const api = grid("runs-grid");
      if (api) {
        api.exportDataAsCsv({
          fileName: "assay-runs.csv",
          skipPinnedTop: true,
          onlySelected: api.getSelectedRows().length > 0,
          processCellCallback: (params) => (params.value === null ? "" : params.value),
        });
      }
    },
    resetColumns() {
      const api = grid("runs-grid");
      if (api) api.resetColumnState();
    },
    clearFilter: () => window.dash_clientside.set_props("runs-filter", { value: "" }),
  };

  /* Links that change part of the address keep the rest of it as it is now. */
  document.addEventListener("click", (event) => {
    const link = event.target.closest && event.target.closest("a[data-go]");
    if (!link || event.button || event.metaKey || event.ctrlKey || event.shiftKey) return;
    event.preventDefault();
    go(JSON.parse(link.dataset.go), new URL(link.href).pathname, true);
  });

  /* --- cells of the tables ------------------------------------------------ */
  const h = (...args) => window.React.createElement(...args);

  function follow(event, changes, path) {
    if (event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
    event.preventDefault();
    go(changes, path || "/compare");
  }

  const functions = (window.dashAgGridFunctions = window.dashAgGridFunctions || {});

  functions.assayPlain = function (value) {
    if (value === null || value === undefined || value === "") return "–";
    if (typeof value === "boolean") return value ? "on" : "off";
    return typeof value === "number" ? String(Number(value.toPrecision(4))) : value;
  };

  functions.assayByFinding = function (a, b, left, right) {
    const rank = (node) => (node && node.data && node.data.finding_rank !== null ? node.data.finding_rank : -2);
    return rank(left) - rank(right);
  };

  const cells = (window.dashAgGridComponentFunctions =
    window.dashAgGridComponentFunctions || {});

  cells.Run = function (props) {
    const row = props.data;
    if (!row || !row.key) return null;
    const parts = [
      h("span", { key: "dot", className: "dot", style: { background: row.color } }),
      h(
        "a",
        {
          key: "name",
          href: "/compare?runs=" + encodeURIComponent(row.key),
          onClick: (event) => follow(event, { runs: [row.key], comparison: null }),
          title: "Open " + row.name,
        },
        row.name
      ),
    ];
    if (row.champion) {
      const label = "Champion of " + row.champion;
      parts.push(
        h("span", { key: "champion", className: "star", title: label, role: "img", "aria-label": label }, "★")
      );
    }
    if (row.experts)
      parts.push(
        h(
          "a",
          {
            key: "experts",
            className: "tag",
            href: "/experts?run=" + encodeURIComponent(row.key),
            onClick: (event) => follow(event, { run: row.key, step: null }, "/experts"),
            title: "Experts of " + row.name,
          },
          "experts"
        )
      );
    if (row.baseline && props.node.rowPinned)
      parts.push(h("span", { key: "base", className: "tag" }, "baseline"));
    return h("span", { className: "run-cell" }, parts);
  };

  cells.Status = function (props) {
    const state = props.value;
    if (!state) return null;
    return h("span", { className: "state" }, [
      h("span", { key: "mark", className: "state-mark state-" + state }),
      state,
    ]);
  };

  /* The gravest finding; a run that the rules found nothing in has a tick. */
  cells.Finding = function (props) {
    const row = props.data;
    if (!row || row.finding_rank === null || row.finding_rank === undefined) return null;
    const signs = { stop: "■", error: "▲", warning: "!", info: "i" };
    return h(
      "a",
      {
        className: row.severity ? "severity " + row.severity : "severity none",
        href: "/convergence?runs=" + encodeURIComponent(row.key),
        onClick: (event) => follow(event, { runs: [row.key], run: null, step: null }, "/convergence"),
        title: row.verdict,
      },
      row.severity ? signs[row.severity] + " " + row.finding : "✓ none"
    );
  };

  cells.Delta = function (props) {
    const row = props.data;
    if (!row || row.delta === null || row.delta === undefined) return null;
    const tone = row.good === null ? "same" : row.good ? "good" : "bad";
    const arrow = row.delta > 0 ? "▲" : row.delta < 0 ? "▼" : "";
    return h("span", { className: "delta " + tone }, [
      h("span", { key: "arrow", className: "arrow" }, arrow),
      row.delta_text,
    ]);
  };

  /* --- keys --------------------------------------------------------------- */
  document.addEventListener("keydown", (event) => {
    const typing = event.target.closest("input, textarea, select, [contenteditable=true]");
    if (typing && typing.type !== "checkbox") {
      if (event.key === "Escape") typing.blur();
      return;
    }
    if (event.metaKey || event.ctrlKey || event.altKey) return;
    const viewer = event.target.closest(".tracks-viewer");
    const steers = event.target.closest("[role=slider], button");
    if (viewer && event.key === "n") moveFrame(1, true);
    else if (viewer && event.key === "p") moveFrame(-1, true);
    else if (viewer && !steers && ["ArrowLeft", "ArrowRight", " "].includes(event.key)) {
      event.preventDefault();
      if (event.key === " ") playFrames();
      else moveFrame(event.key === "ArrowRight" ? 1 : -1, film.only);
    } else if (event.key === "/") {
      const box = document.getElementById("runs-filter");
      if (box) {
        event.preventDefault();
        box.focus();
        box.select();
      }
    } else if (event.key === "b") {
      const key = focusedKey();
      if (key) go({ baseline: key });
    } else if (event.key === "c") {
      compare();
    } else if (event.key === "?") {
      window.dash_clientside.set_props("help", { opened: true });
    }
  });
})();
