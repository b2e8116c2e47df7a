// In the browser: draws one dashboard's panels from their answers, roughly where and as Grafana would.
(() => {
  const COLORS = { green: "#3d9950", orange: "#e8871e", red: "#d1303c" };
  /** Milliseconds between the values of a range. */
  const STEP = 1000;
  const LINES = ["#3274d9", "#56a64b", "#e0762f", "#a352cc", "#d44a5a", "#1f9e9e", "#8c6d1f", "#5b6770"];

  const scaled = (value, base, units) => {
    let n = 0;
    while (Math.abs(value) >= base && n < units.length - 1) {
      value /= base;
      n += 1;
    }
    return `${Number(value.toPrecision(3))}${units[n]}`;
  };
  const seconds = (s) => {
    const size = Math.abs(s);
    if (size === 0) return "0 s";
    if (size < 1e-3) return `${Number((s * 1e6).toPrecision(3))} µs`;
    if (size < 1) return `${Number((s * 1e3).toPrecision(3))} ms`;
    if (size < 120) return `${Number(s.toPrecision(3))} s`;
    if (size < 7200) return `${Number((s / 60).toPrecision(3))} min`;
    return `${Number((s / 86400).toPrecision(3))} d`;
  };
  const FORMATS = {
    s: seconds,
    ms: (v) => seconds(v / 1000),
    bytes: (v) => scaled(v, 1024, [" B", " KiB", " MiB", " GiB"]),
    Bps: (v) => scaled(v, 1000, [" B/s", " kB/s", " MB/s"]),
    percentunit: (v) => `${Number((v * 100).toPrecision(3))} %`,
  };
  const PER_SECOND = ["cps", "reqps"];
  function format(unit, value, mappings) {
    const mapped = mappings?.[0]?.options?.[String(value)];
    if (mapped) return mapped.text;
    if (FORMATS[unit]) return FORMATS[unit](value);
    return scaled(value, 1000, ["", " k", " M"]) + (PER_SECOND.includes(unit) ? " /s" : "");
  }

  function colorOf(steps, value) {
    const reached = steps.filter((step) => step.value === null || value >= step.value);
    return COLORS[reached[reached.length - 1].color];
  }

  function legend(target, metric) {
    const text = target.legendFormat.replace(/\{\{(\w+)\}\}/g, (_, label) => metric[label] ?? "");
    return text || "value";
  }

  /** Every second of the span: where a series has no value its line has to break, and stacks add up by place. */
  const grid = ([from, to]) => Array.from({ length: Math.floor((to - from) / STEP) + 1 }, (_, n) => from + n * STEP);
  const placed = (values, times) => {
    const known = new Map(values.map(([t, v]) => [Math.round(t * 1000), v]));
    return times.map((t) => [t, known.get(Math.round(t)) ?? null]);
  };

  function lines(element, panel, answers, span) {
    const { unit, thresholds, custom, min, max, mappings } = panel.fieldConfig.defaults;
    const times = grid(span);
    const all = answers.flatMap(({ target, series }) =>
      series.map(({ metric, values }) => ({ name: legend(target, metric), data: placed(values, times) })),
    );
    const highest = Math.max(...all.flatMap(({ data }) => data.map(([, v]) => v ?? 0)));
    const marks = custom.thresholdsStyle.mode === "off" || mappings ? [] : thresholds.steps.filter(({ value }) => value !== null && value > 1e-3 && value <= highest * 2);
    const stacked = custom.stacking ? { stack: "all", areaStyle: { opacity: 0.3 } } : {};
    // Values with names have no others in between.
    const ticks = mappings ? { min: 0, max: 1, interval: 1 } : { min: min ?? 0, max: max ?? undefined, splitNumber: 3 };
    if (max === 1 && !mappings) ticks.interval = 0.25;
    echarts.init(element, null, { renderer: "canvas" }).setOption({
      animation: false,
      color: LINES,
      grid: { left: 62, right: 12, top: 8, bottom: 52 },
      legend: { bottom: 0, type: "plain", itemWidth: 12, itemHeight: 3, textStyle: { fontSize: 10 }, icon: "rect" },
      xAxis: { type: "time", min: span[0], max: span[1], axisLabel: { fontSize: 10, margin: 12, hideOverlap: true, formatter: "{HH}:{mm}:{ss}" }, splitNumber: 4 },
      yAxis: { type: "value", ...ticks, axisLabel: { fontSize: 10, formatter: (v) => format(unit, v, mappings) }, splitLine: { lineStyle: { color: "#eceef0" } } },
      series: all.map((one, n) => ({
        ...one,
        ...stacked,
        type: "line",
        showSymbol: false,
        lineStyle: { width: 1.5 },
        markLine: n > 0 || marks.length === 0 ? undefined : {
          silent: true,
          symbol: "none",
          label: { show: false },
          data: marks.map(({ value, color }) => ({ yAxis: value, lineStyle: { color: COLORS[color], type: "dashed" } })),
        },
      })),
    });
  }

  /** Cumulative buckets over time become cells. */
  function heat(element, panel, [{ series }], span) {
    const rows = series
      .map(({ metric, values }) => ({ le: metric.le === "+Inf" ? Infinity : Number(metric.le), values: new Map(values.map(([t, v]) => [Math.round(t * 1000), v])) }))
      .sort((a, b) => a.le - b.le);
    const times = grid(span).map((t) => Math.round(t));
    const cells = [];
    rows.forEach(({ values }, y) => {
      times.forEach((t, x) => {
        const count = (values.get(t) ?? 0) - (y > 0 ? (rows[y - 1].values.get(t) ?? 0) : 0);
        if (count > 0) cells.push([x, y, Math.round(count)]);
      });
    });
    const used = cells.map(([, y]) => y);
    const [low, high] = [Math.max(0, Math.min(...used) - 1), Math.min(rows.length - 1, Math.max(...used) + 1)];
    const shown = rows.slice(low, high + 1);
    const clock = (t) => new Date(t).toTimeString().slice(0, 8);
    echarts.init(element).setOption({
      animation: false,
      grid: { left: 62, right: 12, top: 8, bottom: 24 },
      xAxis: { type: "category", data: times.map(clock), axisLabel: { fontSize: 10, hideOverlap: true } },
      yAxis: { type: "category", data: shown.map(({ le }) => (le === Infinity ? "more" : `≤ ${seconds(le)}`)), axisLabel: { fontSize: 10, interval: Math.ceil(shown.length / 9) - 1 } },
      visualMap: { show: false, min: 0, max: Math.max(...cells.map(([, , n]) => n)), inRange: { color: ["#cfe3ff", "#3274d9", "#6b2fa0", "#d1303c"] } },
      series: [{ type: "heatmap", data: cells.map(([x, y, n]) => [x, y - low, n]) }],
    });
  }

  function stat(element, panel, [{ series }]) {
    const { unit, thresholds } = panel.fieldConfig.defaults;
    const value = series[0].values[series[0].values.length - 1][1];
    element.className = "value";
    element.style.color = colorOf(thresholds.steps, value);
    const decimals = panel.fieldConfig.defaults.decimals;
    element.textContent = format(unit, decimals === 0 && unit === "short" ? Math.round(value) : value);
  }

  function table(element, panel, answers) {
    const names = panel.transformations.find(({ id }) => id === "organize").options.renameByName;
    const columns = answers.map(({ target, series }) => {
      const name = names[`Value #${target.refId}`];
      const properties = panel.fieldConfig.overrides.find(({ matcher }) => matcher.options === name)?.properties ?? [];
      const of = (id) => properties.find((property) => property.id === id)?.value;
      return { name, unit: of("unit") ?? "short", steps: of("thresholds")?.steps, mappings: of("mappings"), series };
    });
    const pods = [...new Set(columns.flatMap(({ series }) => series.map(({ metric }) => metric.pod)))].sort();
    const body = document.createElement("table");
    const put = (line, kind, text, color) => {
      const cell = document.createElement(kind);
      cell.textContent = text;
      if (color) cell.style.color = color;
      line.append(cell);
    };
    const head = body.insertRow();
    ["pod", ...columns.map(({ name }) => name)].forEach((name) => put(head, "th", name));
    for (const pod of pods) {
      const line = body.insertRow();
      put(line, "td", pod);
      for (const { unit, steps, mappings, series } of columns) {
        const value = series.find(({ metric }) => metric.pod === pod)?.values[0][1];
        if (value === undefined) put(line, "td", "");
        else put(line, "td", format(unit, value, mappings), steps && colorOf(steps, value));
      }
    }
    element.append(body);
  }

  window.drawBoard = (title, drawn, span) => {
    const main = document.querySelector("main");
    const heading = document.createElement("h1");
    heading.textContent = title;
    const source = document.createElement("p");
    source.textContent = "Prometheus's answers in a run of dashboards/prove, drawn with ECharts; Grafana draws them in its own way.";
    main.append(heading, source);
    for (const { panel, answers } of drawn) {
      const section = document.createElement("section");
      section.style.gridColumn = `span ${panel.gridPos.w}`;
      const name = document.createElement("h2");
      name.textContent = panel.title;
      const inside = document.createElement("div");
      section.append(name, inside);
      main.append(section);
      if (panel.type === "stat") stat(inside, panel, answers);
      else if (panel.type === "table") table(inside, panel, answers);
      else {
        inside.className = "chart";
        if (panel.type === "heatmap") heat(inside, panel, answers, span);
        else lines(inside, panel, answers, span);
      }
    }
  };
})();
