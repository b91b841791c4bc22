// One chart: lines over time, with gaps where nothing was measured.

import { h, setAttribute } from './dom.js';
import { time, value } from './format.js';

const HEIGHT = 190;
/** Lines of one chart differ in their dashes, too. */
const DASHES = [[], [6, 4], [2, 3], [10, 4, 2, 4], [1, 4], [12, 3]];
const PALETTE = ['--line-1', '--line-2', '--line-3', '--line-4', '--line-5', '--line-6'];
/** Contrast that a line has to have against the page. */
const CONTRAST = 3;

/** Charts of this key share their cursor. */
const sync = 'series';

/** A chart of some lines. `onZoom` gets the range that was dragged over, in ms. */
export function createChart({ title, unit, lines, tint, announce, onZoom }) {
  const host = h('div', { class: 'plot', tabindex: '0', role: 'group', 'aria-label': `Chart of ${title}` });
  let plot = null;
  let data = null;
  let range = [0, 1];
  let place = null;

  const resizer = new ResizeObserver(() => {
    if (plot !== null) plot.setSize({ width: host.clientWidth, height: HEIGHT });
    else build();
  });
  resizer.observe(host);

  function build() {
    if (data === null || host.clientWidth === 0) return;
    plot?.destroy();
    plot = new uPlot(options(), data, host);
    plot.setScale('x', { min: range[0] / 1000, max: range[1] / 1000 });
  }

  function options() {
    const [text, grid] = ['--muted', '--grid'].map((name) => colour(host, name));
    const axis = { stroke: text, grid: { stroke: grid, width: 1 }, ticks: { stroke: grid, width: 1 }, font: '12px system-ui, sans-serif' };
    const series = lines.map((line, number) => style(host, line, number, tint));
    const bands = lines.some((line) => line.role === 'high')
      ? [{
        series: [lines.findIndex((line) => line.role === 'high') + 1, lines.findIndex((line) => line.role === 'low') + 1],
        fill: faint(series[0].tone),
      }]
      : [];
    return {
      width: host.clientWidth,
      height: HEIGHT,
      padding: [10, 26, 0, 0],
      cursor: { sync: { key: sync, setSeries: false }, drag: { x: true, y: false, setScale: false }, points: { size: 6 } },
      legend: { live: true },
      scales: { x: { time: true }, y: { range: (_, low, high) => padded(low, high) } },
      axes: [
        { ...axis, size: 32, space: room, values: (_, splits, __, ___, step) => splits.map((at) => tick(at, step)) },
        { ...axis, size: 62, values: (_, splits) => splits.map((number) => short(number)) },
      ],
      series: [{ label: 'Time', value: (_, at) => (at === null || at === undefined ? '–' : time(at * 1000)) }, ...series],
      bands,
      hooks: {
        setSelect: [(made) => {
          const { left, width } = made.select;
          if (width < 5) return;
          const [from, to] = [left, left + width].map((at) => made.posToVal(at, 'x') * 1000);
          made.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false);
          onZoom(from, to);
        }],
      },
    };
  }

  // The cursor moves by the arrow keys, too, and what it points at is read out.
  host.addEventListener('keydown', (event) => {
    const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (by === undefined || plot === null || data[0].length === 0) return;
    event.preventDefault();
    const last = data[0].length - 1;
    let next = place === null ? last : place + by;
    while (next > 0 && next < last && lines.every((_, number) => typeof data[number + 1][next] !== 'number')) next += by;
    place = Math.max(0, Math.min(last, next));
    plot.setCursor({ left: plot.valToPos(data[0][place], 'x'), top: HEIGHT / 3 });
    const said = lines.flatMap((line, number) => {
      const found = data[number + 1][place];
      return typeof found === 'number' ? [`${line.label} ${value(found)}`] : [];
    });
    announce(`${time(data[0][place] * 1000)}: ${said.join(', ') || 'no value'}${unit ? ` ${unit}` : ''}`);
  });

  const restyle = () => build();
  document.addEventListener('themechange', restyle);

  return {
    host,
    /** Draws lines of points (`[ms, number]`, ordered) over the range in ms. */
    draw(points, gaps, from, to) {
      data = aligned(points, gaps);
      range = [from, to];
      place = null;
      setAttribute(host, 'aria-label', `Chart of ${title}, ${summary(lines, points, unit)}. Arrow keys read its values.`);
      if (plot === null) {
        build();
        return;
      }
      plot.batch(() => {
        plot.setData(data, false);
        plot.setScale('x', { min: from / 1000, max: to / 1000 });
      });
    },
    /** Moves on in time without new values. */
    move(from, to) {
      range = [from, to];
      plot?.setScale('x', { min: from / 1000, max: to / 1000 });
    },
    close() {
      resizer.disconnect();
      document.removeEventListener('themechange', restyle);
      plot?.destroy();
    },
  };
}

/** Joins points of several lines to the columns of a chart: `undefined` is connected over, `null` is a gap. */
export function aligned(points, gaps) {
  const withGaps = points.map((line, number) => {
    const out = [];
    for (const point of line) {
      const last = out.at(-1);
      if (last !== undefined && point[0] - last[0] > gaps[number]) out.push([last[0] + 1, null]);
      out.push(point);
    }
    return out;
  });
  const times = [...new Set(withGaps.flatMap((line) => line.map(([at]) => at)))].sort((a, b) => a - b);
  const places = new Map(times.map((at, number) => [at, number]));
  const columns = withGaps.map((line) => {
    const column = new Array(times.length);
    for (const [at, number] of line) column[places.get(at)] = number;
    return column;
  });
  return [times.map((at) => at / 1000), ...columns];
}

function summary(lines, points, unit) {
  const shown = lines.map((line, number) => ({ line, of: points[number] })).filter(({ line }) => line.role === undefined || line.role === 'main');
  const parts = shown.slice(0, 3).map(({ line, of }) => {
    if (of.length === 0) return `${line.label}: no values`;
    const numbers = of.map(([, number]) => number);
    const low = numbers.reduce((a, b) => Math.min(a, b));
    const high = numbers.reduce((a, b) => Math.max(a, b));
    return `${line.label}: last ${value(numbers.at(-1))}, from ${value(low)} to ${value(high)}${unit ? ` ${unit}` : ''}`;
  });
  return parts.join('; ');
}

function style(host, line, number, tint) {
  const tone = tint === null ? colour(host, PALETTE[line.hue % PALETTE.length]) : visible(host, tint);
  const isEdge = line.role === 'low' || line.role === 'high';
  return {
    label: line.label,
    tone,
    stroke: isEdge ? faint(tone, 0.45) : tone,
    width: isEdge ? 1 : 2,
    dash: isEdge ? [] : DASHES[line.dash % DASHES.length],
    paths: line.isStepped ? uPlot.paths.stepped({ align: 1 }) : undefined,
    points: { show: isEdge ? false : undefined, size: 5 },
    value: (_, given) => (given === null || given === undefined ? '–' : value(given)),
  };
}

function padded(low, high) {
  if (low === null || high === null) return [0, 1];
  const by = (high - low) * 0.08 || Math.abs(high) * 0.05 || 1;
  return [low - by, high + by];
}

function tick(at, step) {
  const date = new Date(at * 1000);
  const two = (number) => String(number).padStart(2, '0');
  const day = `${two(date.getMonth() + 1)}-${two(date.getDate())}`;
  if (step >= 86400) return day;
  const clock = `${two(date.getHours())}:${two(date.getMinutes())}`;
  return step >= 60 ? clock : `${clock}:${two(date.getSeconds())}`;
}

/** Room for a label in px: minutes are shorter than seconds. */
function room(_, __, from, to, width) {
  return ((to - from) / width) * 60 >= 50 ? 44 : 76;
}

function short(number) {
  const size = Math.abs(number);
  if (size >= 1e6 || (size > 0 && size < 1e-4)) return number.toExponential(1);
  return String(Number(number.toPrecision(6)));
}

// --- Colours

/** A colour of the style sheet, as the present theme has it. */
function colour(host, name) {
  const probe = h('span');
  probe.style.color = `var(${name})`;
  host.append(probe);
  const found = getComputedStyle(probe).color;
  probe.remove();
  return found;
}

/** Whether this is the name of a colour, for series that are tagged with one. */
export function isColour(text) {
  return typeof text === 'string' && /^[a-z]{3,20}$/i.test(text) && !['inherit', 'initial', 'unset', 'revert', 'transparent', 'currentcolor'].includes(text.toLowerCase()) && CSS.supports('color', text);
}

function channels(host, text) {
  const probe = h('span');
  probe.style.color = text;
  host.append(probe);
  const found = getComputedStyle(probe).color.match(/[\d.]+/g).slice(0, 3).map(Number);
  probe.remove();
  return found;
}

function luminance(rgb) {
  const [r, g, b] = rgb.map((part) => {
    const share = part / 255;
    return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
  });
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
}

/** The colour, moved towards that of the text until it can be seen on the page. */
function visible(host, text) {
  const page = luminance(channels(host, 'var(--surface)'));
  const ink = channels(host, 'var(--text)');
  const given = channels(host, text);
  for (let share = 0; share <= 1; share += 0.1) {
    const mixed = given.map((part, number) => Math.round(part * (1 - share) + ink[number] * share));
    const own = luminance(mixed);
    if ((Math.max(own, page) + 0.05) / (Math.min(own, page) + 0.05) >= CONTRAST) return `rgb(${mixed.join(', ')})`;
  }
  return `rgb(${ink.join(', ')})`;
}

function faint(tone, share = 0.18) {
  const [r, g, b] = tone.match(/[\d.]+/g).map(Number);
  return `rgba(${r}, ${g}, ${b}, ${share})`;
}


