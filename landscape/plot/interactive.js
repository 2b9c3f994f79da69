"use strict";
// Draws the page's data, which is all in the page, with plotly.js: nothing is fetched.

const page = JSON.parse(document.getElementById("page-data").textContent);
const plot = document.getElementById("plot");
const state = { view: page.view, field: page.field, scale: null };

const FLOOR_DROP = 0.35; // of the height of a surface, between it and its contour lines on the floor
const GAP = 0.05; // of the page's width and height, between panels
const NUM_BANDS = 14;
const LINE_COLORS = ["#004488", "#BB5566", "#DDAA33", "#000000", "#009988", "#999999"];
const LINE_DASHES = ["solid", "dash", "dashdot", "dot"];
const SYMBOLS = ["square", "diamond", "circle"]; // which both two and three dimensions have
const FONT = { family: "system-ui, sans-serif", size: 13, color: "#222" };

const isMissing = (value) => value === null || value === undefined;
const number = (value) => (isMissing(value) ? "-" : Number(value.toPrecision(4)).toString().replace("-", "\u2212"));
const field = () => page.fields[state.field];
const scale = () => field().scales[state.scale] || field().scales[0];
const suffix = (index) => (index === 0 ? "" : String(index + 1));

function height(value) {
  if (isMissing(value)) return null;
  const { kind, threshold } = scale();
  if (kind === "linear") return value;
  if (kind === "log") return Math.log10(value);
  const share = Math.abs(value) / threshold;
  return Math.sign(value) * (share <= 1 ? share : 1 + Math.log10(share));
}

function axisOfValues(more = {}) {
  const { levels, texts, note } = scale();
  const title = { text: field().name + note };
  return { title, tickvals: levels.map(height), ticktext: texts, zeroline: false, ...more };
}

function limits() {
  const { low, high } = scale();
  return [height(low), height(high)];
}

function bands() {
  const [low, high] = limits();
  return { start: low, end: high, size: (high - low) / NUM_BANDS };
}

function hoverText(panel, index) {
  const shown = page.fields.filter((each) => each.split === field().split || !each.split);
  const rows = field().panels[index].values;
  return rows.map((row, i) =>
    row.map((_, j) => {
      const place = `${panel.axes[0]}: ${number(panel.x[j])}<br>${panel.axes[1]}: ${number(panel.y[i])}`;
      const values = shown.map((each) => `${each.name}: ${number(each.panels[index].values[i][j])}`);
      return [place, ...values].join("<br>");
    })
  );
}

function surfaceTraces(panel, index) {
  const z = field().panels[index].values.map((row) => row.map(height));
  const common = { x: panel.x, y: panel.y, z, coloraxis: "coloraxis", text: hoverText(panel, index) };
  const axes = { xaxis: "x" + suffix(index), yaxis: "y" + suffix(index), hovertemplate: "%{text}<extra></extra>" };
  if (state.view === "heatmap") return [{ ...common, ...axes, type: "heatmap" }];
  if (state.view === "contour") {
    const line = { width: 0.7, color: "rgba(255,255,255,0.55)" };
    return [{ ...common, ...axes, type: "contour", contours: bands(), line, connectgaps: false }];
  }
  const contours = { z: { show: true, usecolormap: true, project: { z: true }, width: 1.5, ...bands() } };
  const lighting = { ambient: 0.7, diffuse: 0.55, specular: 0.05, roughness: 0.9 };
  const more = { scene: "scene" + suffix(index), contours, lighting, hovertemplate: "%{text}<extra></extra>" };
  return [{ ...common, ...more, type: "surface" }];
}

function markText(mark, index) {
  const loss = field().quantity === "loss" ? [["its loss", mark.loss[field().split]]] : [];
  const shown = [...loss, [`${field().name} on the plane`, mark.heights[state.field]]];
  const lines = shown.filter(([, value]) => !isMissing(value)).map(([name, value]) => `${name}: ${number(value)}`);
  const place = mark.coordinates.map((value, i) => `${page.panels[index].axes[i]}: ${number(value)}`);
  const distance = mark.distance === null ? [] : [`distance out of the plane: ${number(mark.distance)}`];
  return [`<b>${mark.label}</b>`, ...place, ...lines, ...distance].join("<br>");
}

function markTrace(marks, index, style) {
  const isRelief = state.view === "surface";
  const [low, high] = limits();
  const z = marks.map((mark) => height(mark.heights[state.field]));
  const trace = {
    x: marks.map((mark) => mark.coordinates[0]),
    y: marks.map((mark) => mark.coordinates[1]),
    text: marks.map((mark) => markText(mark, index)),
    hovertemplate: "%{text}<extra></extra>",
    legendgroup: style.name,
    ...style,
  };
  const flat = { ...trace, type: "scatter", cliponaxis: false };
  if (state.view === "curve") return { ...flat, y: z };
  if (!isRelief) return { ...flat, xaxis: "x" + suffix(index), yaxis: "y" + suffix(index) };
  const lifted = z.map((value) => (value === null ? null : value + 0.012 * (high - low)));
  return { ...trace, type: "scatter3d", z: lifted, scene: "scene" + suffix(index) };
}

function markTraces(panel, index, named) {
  const outline = { width: 1.5, color: "black" };
  const size = state.view === "surface" ? 5 : 10;
  const traces = [];
  const add = (marks, style) => {
    traces.push(markTrace(marks, index, { ...style, showlegend: !named.has(style.name) }));
    named.add(style.name);
  };
  const snapshots = panel.marks.filter((mark) => mark.kind === "snapshot");
  if (snapshots.length) {
    const color = snapshots.map((_, i) => i);
    const marker = { size: 0.7 * size, color, colorscale: "Reds", line: outline };
    add(snapshots, { mode: "lines+markers", name: "trajectory", line: { color: "black", width: 2 }, marker });
  }
  panel.marks
    .filter((mark) => mark.kind !== "snapshot")
    .forEach((mark, i) => {
      const own = { checkpoint: [SYMBOLS[i % SYMBOLS.length], "white"], ascent: ["x", "#BB5566"], center: ["cross", "white"] };
      const [symbol, color] = own[mark.kind] || own.checkpoint;
      add([mark], { mode: "markers", name: mark.label, marker: { symbol, color, size, line: outline } });
    });
  return traces;
}

function dotTrace(panel, index) {
  if (!panel.dots || state.view === "surface") return [];
  const [x, y] = panel.dots;
  const marker = { size: 2.5, color: "rgba(0,0,0,0.55)" };
  const axes = { xaxis: "x" + suffix(index), yaxis: "y" + suffix(index) };
  return [{ type: "scatter", mode: "markers", x, y, marker, hoverinfo: "skip", showlegend: false, ...axes }];
}

function domains() {
  const count = page.panels.length;
  const columns = count === 4 ? 2 : Math.min(count, 3);
  const rows = Math.ceil(count / columns);
  const width = (1 - GAP * (columns - 1)) / columns;
  const tall = (1 - 2 * GAP * (rows - 1)) / rows;
  return page.panels.map((_, index) => {
    const left = (index % columns) * (width + GAP);
    const top = 1 - Math.floor(index / columns) * (tall + 2 * GAP);
    return { x: [left, left + width], y: [Math.max(0, top - tall), top] };
  });
}

function camera(domain) {
  const distance = 1.05 + 0.8 * (1 - (domain.x[1] - domain.x[0])); // a narrow panel is seen from farther away
  return { eye: { x: distance, y: -1.25 * distance, z: 0.8 * distance }, center: { x: 0, y: 0, z: -0.12 } };
}

function range(coordinates) {
  const edge = state.view === "heatmap" ? 0.5 : 0; // of a spacing: a cell reaches half of it beyond its point
  const ends = page.panels.map((panel) => {
    const at = panel[coordinates];
    return [at[0] - edge * (at[1] - at[0]), at[at.length - 1] + edge * (at[at.length - 1] - at[at.length - 2])];
  });
  return [Math.min(...ends.map((each) => each[0])), Math.max(...ends.map((each) => each[1]))];
}

function planeLayout() {
  const [low, high] = limits();
  const { colors, low: lowest, high: highest } = scale();
  const colorbar = axisOfValues({ thickness: 14, outlinewidth: 0 });
  delete colorbar.zeroline;
  colorbar.title.side = "right";
  const layout = {
    coloraxis: { colorscale: colors, cmin: height(lowest), cmax: height(highest), colorbar },
    annotations: [],
  };
  domains().forEach((domain, index) => {
    const panel = page.panels[index];
    const text = field().panels[index].title;
    const middle = (domain.x[0] + domain.x[1]) / 2;
    layout.annotations.push({ text, x: middle, y: domain.y[1], xref: "paper", yref: "paper", yanchor: "bottom", showarrow: false });
    const [first, second] = panel.axes.map((label) => ({ title: { text: label }, zeroline: false }));
    if (state.view === "surface") {
      const zaxis = axisOfValues({ range: [low - FLOOR_DROP * (high - low), high] });
      const scene = { domain, xaxis: first, yaxis: second, zaxis, aspectmode: "manual", aspectratio: { x: 1, y: 1, z: 0.75 } };
      layout["scene" + suffix(index)] = { ...scene, camera: camera(domain), uirevision: "camera" };
      return;
    }
    const look = { constrain: "domain", showgrid: false, ticks: "outside" };
    const matches = index === 0 ? [{}, {}] : [{ matches: "x" }, { matches: "y" }];
    const anchor = page.isEqual && index === 0 ? { scaleanchor: "x" } : {};
    const [xaxis, yaxis] = ["xaxis" + suffix(index), "yaxis" + suffix(index)];
    layout[xaxis] = { ...first, ...look, ...matches[0], range: range("x"), domain: domain.x, anchor: "y" + suffix(index) };
    layout[yaxis] = { ...second, ...look, ...matches[1], ...anchor, range: range("y"), domain: domain.y, anchor: "x" + suffix(index) };
  });
  return layout;
}

function curveTraces() {
  const shown = page.fields.filter((each) => each.quantity === field().quantity);
  return shown.flatMap((each, dash) =>
    page.panels.flatMap((panel, index) => {
      const color = LINE_COLORS[index % LINE_COLORS.length];
      const { values, band } = each.panels[index];
      const name = [page.panels.length > 1 || shown.length === 1 ? panel.name : "", shown.length > 1 ? each.split : ""];
      const label = name.filter(Boolean).join(", ") || each.name;
      const text = values.map((value, i) => `${label}<br>${panel.axes[0]}: ${number(panel.x[i])}<br>${each.name}: ${number(value)}`);
      const line = { color, dash: LINE_DASHES[dash % LINE_DASHES.length], width: 2 };
      const curve = { type: "scatter", mode: values.length < 60 ? "lines+markers" : "lines", x: panel.x, y: values.map(height) };
      const more = { line, marker: { size: 4, color }, name: label, text, hovertemplate: "%{text}<extra></extra>" };
      if (!band) return [{ ...curve, ...more }];
      const edge = { type: "scatter", mode: "lines", x: panel.x, line: { width: 0 }, hoverinfo: "skip", showlegend: false };
      const fill = { fill: "tonexty", fillcolor: color + "33" };
      return [{ ...edge, y: band[0].map(height) }, { ...edge, ...fill, y: band[1].map(height) }, { ...curve, ...more }];
    })
  );
}

function curveLayout() {
  const { quantityName, name } = field();
  const several = page.fields.filter((each) => each.quantity === field().quantity).length > 1;
  const yaxis = axisOfValues();
  yaxis.title.text = (several ? quantityName : name) + scale().note;
  const labels = [...new Set(page.panels.map((panel) => panel.axes[0]))];
  return { xaxis: { title: { text: labels.join(" / ") }, zeroline: true, zerolinecolor: "#bbb" }, yaxis };
}

function draw() {
  const isLine = state.view === "curve";
  const named = new Set();
  const marks = page.panels.flatMap((panel, index) => markTraces(panel, index, named));
  const planes = () => page.panels.flatMap((panel, index) => [...surfaceTraces(panel, index), ...dotTrace(panel, index)]);
  const layout = {
    font: FONT,
    margin: { l: isLine || state.view !== "surface" ? 70 : 10, r: 20, t: 40, b: 60 },
    legend: { orientation: "h", x: 0, y: -0.04, yanchor: "top" },
    plot_bgcolor: isLine ? "white" : "#d4d4d4",
    hoverlabel: { align: "left" },
    uirevision: state.view,
    ...(isLine ? curveLayout() : planeLayout()),
  };
  if (state.view !== "surface") layout.legend.y = -0.12;
  const config = { responsive: true, displaylogo: false, toImageButtonOptions: { format: "png", scale: 3 } };
  Plotly.react(plot, [...(isLine ? curveTraces() : planes()), ...marks], layout, config);
  showControls();
}

function segment(id, choices, chosen, choose) {
  const group = document.getElementById(id);
  group.replaceChildren();
  if (choices.length < 2) return;
  choices.forEach(([value, label]) => {
    const button = document.createElement("button");
    button.innerHTML = label; // escaped where it was written;
    button.setAttribute("aria-pressed", String(value === chosen));
    button.addEventListener("click", () => {
      choose(value);
      draw();
    });
    group.append(button);
  });
}

function showControls() {
  const views = [["surface", "3D"], ["contour", "contours"], ["heatmap", "heat map"]];
  segment("views", state.view === "curve" ? [] : views, state.view, (value) => (state.view = value));
  const first = (each, i, all) => all.findIndex((other) => other.quantity === each.quantity) === i;
  const isOffered = (each, i, all) => state.view !== "curve" || first(each, i, all);
  const fields = page.fields.map((each, i, all) => [i, state.view === "curve" ? each.quantityName : each.name, isOffered(each, i, all)]);
  segment("fields", fields.filter(([, , offered]) => offered), offeredField(), (value) => {
    state.field = value;
    state.scale = null;
  });
  const scales = field().scales.map(({ kind }, i) => [i, { linear: "linear", log: "log", symlog: "symmetric log" }[kind]]);
  segment("scales", scales, state.scale || 0, (value) => (state.scale = value));
}

function offeredField() {
  if (state.view !== "curve") return state.field;
  return page.fields.findIndex((each) => each.quantity === field().quantity);
}

let isTurning = false;
function turnTogether(event) {
  const [name] = Object.keys(event).filter((key) => /^scene\d*\.camera/.test(key));
  if (isTurning || !name || page.panels.length < 2) return;
  const camera = plot._fullLayout[name.split(".")[0]].camera;
  const eye = event[name] && event[name].eye ? event[name] : camera;
  const update = {};
  page.panels.forEach((_, index) => {
    if ("scene" + suffix(index) !== name.split(".")[0]) update[`scene${suffix(index)}.camera`] = eye;
  });
  isTurning = true;
  Plotly.relayout(plot, update).then(() => (isTurning = false));
}

draw();
plot.on("plotly_relayout", turnTogether);
plot.on("plotly_relayouting", turnTogether);
