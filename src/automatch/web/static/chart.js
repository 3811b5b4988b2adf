// Draws each chart from the table that stands below it, and again when that was refreshed.
const drawn = new Map();

// The legend of the chart is a table too.
function read(figure) {
  const rows = [...figure.querySelectorAll(".chart-table tbody tr")];
  const number = (text) => (text === "" || text === undefined ? null : Number(text));
  const x = rows.map((row) => number(row.querySelector("th").dataset.x));
  const names = [...figure.querySelectorAll(".chart-table thead th")].slice(1).map((cell) => cell.textContent);
  const series = names.map((_, at) => rows.map((row) => number(row.querySelectorAll("td")[at].dataset.y)));
  return { x, names, series };
}

// The lowest series is drawn last, so that each area hides what it adds to.
function stack(series) {
  const sums = [];
  series.forEach((values, at) => {
    sums.push(values.map((value, row) => (value ?? 0) + (at ? sums[at - 1][row] : 0)));
  });
  return sums;
}

function draw(figure, keep) {
  const { x, names, series } = read(figure);
  const plot = figure.querySelector(".chart-plot");
  const before = drawn.get(figure);
  const stacked = figure.dataset.kind === "area";
  const order = [...names.keys()];
  if (stacked) order.reverse();
  const shown = stacked ? stack(series) : series;
  const data = [x, ...order.map((at) => shown[at])];
  // What somebody points at stays, unless the chart has other series now.
  if (keep && before && x.length > 1 && before.names.join() === names.join()) {
    before.series = series;
    before.chart.setData(data);
    return;
  }
  before?.chart.destroy();
  drawn.delete(figure);
  plot.replaceChildren();
  figure.classList.toggle("is-drawn", x.length > 1);
  if (x.length < 2) return;
  const self = { names, series };
  const style = getComputedStyle(document.documentElement);
  const colour = (name) => style.getPropertyValue(name).trim();
  const kind = figure.dataset.kind;
  const isTime = x[0] > 1e8;
  const axis = { stroke: colour("--soft"), grid: { stroke: colour("--line"), width: 1 }, ticks: { show: false }, font: "12px system-ui" };
  const mark = figure.dataset.mark === undefined ? null : Number(figure.dataset.mark);
  const options = {
    width: plot.clientWidth,
    height: 216,
    cursor: { y: false, drag: { x: false, y: false } },
    scales: { x: { time: isTime }, y: { range: (_, low, high) => [Math.min(0, low ?? 0), (high || 1) * 1.1] } },
    tzDate: (seconds) => uPlot.tzDate(new Date(seconds * 1e3), "Etc/UTC"),
    axes: [axis, { ...axis, size: 56 }],
    legend: { live: true },
    series: [
      isTime ? {} : { label: "At", value: (_, value) => value ?? "–" },
      ...order.map((at) => ({
        label: names[at],
        stroke: colour(`--chart-${(at % 8) + 1}`),
        width: 2,
        points: { show: false },
        fill: kind === "line" ? undefined : colour(`--chart-${(at % 8) + 1}`) + (stacked ? "" : "55"),
        paths: kind === "bars" ? uPlot.paths.bars({ size: [0.9] }) : undefined,
        value: (_, __, ___, row) => (row === null ? "–" : `${self.series[at][row] ?? "–"} ${figure.dataset.unit}`),
      })),
    ],
    hooks: {
      draw: [
        (chart) => {
          if (mark === null) return;
          const left = chart.valToPos(mark, "x", true);
          chart.ctx.fillStyle = colour("--ink");
          chart.ctx.fillRect(left - 1, chart.bbox.top, 2, chart.bbox.height);
        },
      ],
    },
  };
  self.chart = new uPlot(options, data, plot);
  drawn.set(figure, self);
}

function drawAll(keep) {
  if (!window.uPlot) return;
  for (const figure of drawn.keys()) if (!figure.isConnected) drawn.delete(figure);
  document.querySelectorAll(".chart").forEach((figure) => draw(figure, keep));
}

drawAll(false);
document.addEventListener("htmx:afterSwap", () => drawAll(true));
addEventListener("resize", () => drawAll(false));
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => drawAll(false));
