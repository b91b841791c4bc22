// One series: charts of its fields over a live or a chosen range.

import { csv, get, of } from './api.js';
import { createChart, isColour } from './chart.js';
import { fill, h, number, setAttribute, setText, table } from './dom.js';
import { age, areWhole, duration, fullTime, nameOf, tagsOf, utc, value } from './format.js';

const RANGES = [
  ['5 min', 5 * 60e3], ['15 min', 15 * 60e3], ['1 h', 3600e3], ['6 h', 6 * 3600e3], ['24 h', 24 * 3600e3], ['7 d', 7 * 24 * 3600e3],
];
/** Points of a line that are drawn as they are; more are put into buckets. */
const MOST_POINTS = 1500;
/** About how many buckets a line has. */
const BUCKETS = 400;
const STEPS = [
  '250ms', '500ms', '1s', '2s', '5s', '10s', '15s', '30s', '1m', '2m', '5m', '10m', '15m', '30m', '1h', '2h', '3h', '6h', '12h', '1d',
];
/** Rows may still change for this long: late readings. */
const SETTLES = 70e3;
const MOST_TABLE_ROWS = 200;
/** Statistics of a window that share a scale with the values. */
const ALIKE = ['mean', 'avg', 'median', 'min', 'max', 'first', 'last'];
const STATISTICS = [...ALIKE, 'count', 'sum', 'stddev'];

let lastSpan = RANGES[0][1];

export function open(context, key) {
  const { live } = context;
  const pipeline = context.pipeline.name;
  let view = { isLive: true, span: lastSpan, from: 0, to: 0 };
  let every = null;
  /** Fields with `points` (and `low`, `high`, `counts` in buckets), by name. */
  let fields = new Map();
  let charts = [];
  let groups = '';
  let requests = new AbortController();
  let isLoading = false;
  let loadedAt = 0;
  let extendedAt = 0;
  let isClosed = false;
  const known = () => live.series.get(key);
  const tags = tagsOf(key);
  const tint = Object.values(tags ?? {}).find(isColour) ?? null;

  const state = h('p', { class: 'series-state' });
  const message = h('p', { class: 'problem', role: 'alert', hidden: true });
  const choices = RANGES.map(([text, span]) => h('button', { type: 'button', onclick: () => last(span) }, text));
  const liveButton = h('button', { type: 'button', onclick: () => last(view.span) }, 'Live');
  const shownRange = h('p', { class: 'muted', id: 'range' });
  const download = h('button', { type: 'button', onclick: save }, 'Download CSV');
  const body = h('div', { class: 'charts' }, h('p', { class: 'muted' }, 'Loading…'));
  const node = h(
    'section',
    { class: 'series' },
    h('p', { class: 'crumbs' }, h('a', { href: '#/' }, 'Fleet'), ' › ', nameOf(key)),
    h('div', { class: 'head' }, h('h1', {}, nameOf(key)), state),
    tags && h('p', { class: 'muted' }, Object.entries(tags).map(([name, text]) => `${name}: ${text}`).join(' · ')),
    h(
      'div',
      { class: 'controls' },
      h('div', { class: 'buttons', role: 'group', 'aria-label': 'Range' }, choices, liveButton),
      h(
        'div',
        { class: 'buttons', role: 'group', 'aria-label': 'Move in time' },
        h('button', { type: 'button', onclick: () => shift(-0.5), 'aria-label': 'Earlier', title: 'Earlier' }, '←'),
        h('button', { type: 'button', onclick: () => shift(0.5), 'aria-label': 'Later', title: 'Later' }, '→'),
        h('button', { type: 'button', onclick: () => zoom(0.5), 'aria-label': 'Zoom in', title: 'Zoom in' }, '+'),
        h('button', { type: 'button', onclick: () => zoom(2), 'aria-label': 'Zoom out', title: 'Zoom out' }, '−'),
      ),
      download,
    ),
    shownRange,
    message,
    body,
  );

  // --- Ranges

  function range() {
    if (!view.isLive) return [view.from, view.to];
    const now = live.now();
    return [now - view.span, now];
  }

  function last(span) {
    lastSpan = span;
    view = { isLive: true, span, from: 0, to: 0 };
    load();
  }

  function choose(from, to) {
    const least = 2000;
    if (to - from < least) to = from + least;
    view = { isLive: false, span: view.span, from, to };
    load();
  }

  function shift(by) {
    const [from, to] = range();
    const move = (to - from) * by;
    choose(from + move, to + move);
  }

  function zoom(by) {
    const [from, to] = range();
    const [middle, half] = [(from + to) / 2, ((to - from) / 2) * by];
    choose(middle - half, middle + half);
  }

  function drawRange() {
    const [from, to] = range();
    RANGES.forEach(([, span], place) => {
      setAttribute(choices[place], 'aria-pressed', String(view.isLive && view.span === span));
    });
    setAttribute(liveButton, 'aria-pressed', String(view.isLive));
    const how = every === null ? 'each row' : `buckets of ${every}: mean, and the band from min to max`;
    const which = view.isLive ? `The last ${duration(to - from)}` : `${fullTime(from)} to ${fullTime(to)}`;
    setText(shownRange, `${which}; ${how}.`);
    setAttribute(shownRange, 'title', view.isLive ? null : `${utc(from)} to ${utc(to)}`);
  }

  // --- Data

  async function load() {
    requests.abort();
    requests = new AbortController();
    const { signal } = requests;
    isLoading = true;
    setAttribute(body, 'aria-busy', 'true');
    try {
      await firstRows(signal);
      if ((known()?.freshness.period ?? null) === null) await live.readTrend(key);
      if (signal.aborted || isClosed) return;
      const [from, to] = range();
      every = stepFor(to - from, known()?.freshness.period ?? 1000);
      drawRange();
      const read = every === null ? await readRows(from, to, signal) : await readBuckets(from, to, signal);
      if (signal.aborted || isClosed) return;
      fields = read;
      loadedAt = Date.now();
      message.hidden = true;
      draw();
    } catch (error) {
      if (error.name === 'AbortError' || isClosed) return;
      setText(message, error.status === 404 ? `${error.message}. It may have been deleted since its rows are old.` : error.message);
      message.hidden = false;
      if (charts.length === 0) fill(body);
    } finally {
      if (!signal.aborted) {
        isLoading = false;
        setAttribute(body, 'aria-busy', null);
      }
    }
  }

  /** Waits a little for the stream, which tells what is known of the series. */
  async function firstRows(signal) {
    for (let tries = 0; tries < 20 && known() === undefined && !signal.aborted; tries += 1) {
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  }

  async function readRows(from, to, signal, into = new Map()) {
    let cursor = null;
    // Rows may be a little ahead of the server's clock.
    const ahead = view.isLive ? 60e3 : 0;
    do {
      const page = await get(of(pipeline, 'rows', {
        series: key, from: Math.floor(from), to: Math.ceil(to + ahead), limit: 10000, cursor,
      }), signal);
      for (const row of page.rows) {
        const ms = Date.parse(row.time);
        for (const [name, given] of Object.entries(row.values)) put(into, name, ms, given);
      }
      cursor = page.next ?? null;
    } while (cursor !== null);
    for (const field of into.values()) field.points.sort((a, b) => a[0] - b[0]);
    return into;
  }

  function put(into, name, ms, given) {
    let field = into.get(name);
    if (field === undefined) {
      field = { points: [], places: new Map(), isText: false, isStepped: false };
      into.set(name, field);
    }
    if (typeof given === 'string') field.isText = true;
    if (typeof given === 'boolean') field.isStepped = true;
    const drawn = typeof given === 'boolean' ? Number(given) : given;
    const point = field.places.get(ms);
    if (point === undefined) {
      const made = [ms, drawn, given];
      field.places.set(ms, made);
      field.points.push(made);
    } else {
      point[1] = drawn;
      point[2] = given;
    }
  }

  async function readBuckets(from, to, signal) {
    const list = await get(of(pipeline, 'buckets', {
      series: key, from: Math.floor(from), to: Math.ceil(to), every,
    }), signal);
    const half = length(every) / 2;
    return new Map(list.fields.map(({ name, buckets }) => {
      const times = buckets.map((bucket) => Date.parse(bucket.start) + half);
      const column = (pick) => buckets.map((bucket, place) => [times[place], pick(bucket)]);
      return [name, {
        points: column((it) => it.mean),
        low: column((it) => it.min),
        high: column((it) => it.max),
        counts: buckets.map((bucket) => bucket.count),
        isText: false,
        isStepped: false,
      }];
    }));
  }

  /** Reads what was stored since, and what may have changed. */
  async function extend() {
    if (isLoading || !view.isLive || every !== null) return;
    const now = Date.now();
    if (now - extendedAt < 900) return;
    extendedAt = now;
    const { signal } = requests;
    const [from, to] = range();
    try {
      await readRows(Math.max(from, to - SETTLES), to, signal, fields);
      if (signal.aborted || isClosed || isLoading) return;
      for (const field of fields.values()) {
        while (field.points.length > 0 && field.points[0][0] < from) field.places.delete(field.points.shift()[0]);
      }
      draw();
    } catch {
      // The next change tries again; the page says when there is no connection.
    }
  }

  // --- Charts

  function draw() {
    const names = [...fields.keys()].filter((name) => fields.get(name).points.length > 0).sort();
    const wanted = group(names);
    const now = JSON.stringify([wanted, every !== null]);
    if (now !== groups) {
      groups = now;
      for (const chart of charts) chart.close();
      charts = wanted.map(make);
      const nothing = view.isLive ? 'There are no rows in this range.' : 'There are no rows in this range. “Live” goes back to the present.';
      fill(body, charts.length > 0 ? charts.map((chart) => chart.node) : h('p', { class: 'empty' }, nothing));
    }
    const [from, to] = range();
    for (const chart of charts) chart.draw(from, to);
    drawState();
    drawRange();
  }

  function make({ title, names }) {
    const isText = names.every((name) => fields.get(name).isText);
    const isSingle = names.length === 1;
    const hasBand = every !== null && isSingle;
    const unit = unitOf(names[0]);
    const lines = names.map((name, order) => ({
      name,
      label: isSingle ? title : name.slice(name.lastIndexOf('_') + 1),
      hue: tint === null ? order : 0,
      dash: order,
      isStepped: fields.get(name).isStepped && every === null,
      role: roleOf(name, names),
    }));
    if (hasBand) {
      lines.push({ name: names[0], label: 'min', hue: 0, dash: 0, role: 'low' }, { name: names[0], label: 'max', hue: 0, dash: 0, role: 'high' });
      lines[0].label = 'mean';
      lines[0].role = 'main';
    }
    const chart = isText ? null : createChart({ title, unit, lines, tint, announce: context.announce, onZoom: choose });
    const now = h('span', { class: 'chart-now' });
    const rows = h('div');
    const details = h('details', { ontoggle: () => drawTable() }, h('summary', {}, `Table of ${title}`), rows);
    const node = h(
      'section',
      { class: 'chart', 'aria-label': title },
      h('div', { class: 'chart-head' }, h('h2', {}, title, unit && h('span', { class: 'muted' }, ` ${unit}`)), now),
      chart?.host ?? h('p', { class: 'muted' }, 'These values are text: they are in the table.'),
      details,
    );

    function drawTable() {
      if (!details.open) return;
      const columns = ['Time', ...(hasBand ? ['Count', 'Mean', 'Min', 'Max'] : names).map(number)];
      const times = new Map();
      names.forEach((name, column) => {
        const field = fields.get(name);
        if (field === undefined) return;
        field.points.slice(-MOST_TABLE_ROWS).forEach((point, back, some) => {
          const at = field.points.length - some.length + back;
          const cells = times.get(point[0]) ?? [];
          if (hasBand) times.set(point[0], [field.counts[at], point[1], field.low[at][1], field.high[at][1]]);
          else {
            cells[column] = point[2] ?? point[1];
            times.set(point[0], cells);
          }
        });
      });
      const sorted = [...times].sort((a, b) => b[0] - a[0]).slice(0, MOST_TABLE_ROWS);
      const width = columns.length - 1;
      const body = sorted.map(([ms, cells]) => h(
        'tr',
        {},
        h('td', {}, h('time', { datetime: new Date(ms).toISOString(), title: utc(ms) }, fullTime(ms))),
        Array.from({ length: width }, (_, column) => h('td', { class: 'number' }, cells[column] === undefined ? '' : value(cells[column]))),
      ));
      fill(
        rows,
        h('p', { class: 'muted' }, `The newest ${body.length} of the range; the download has all.`),
        table(`Values of ${title}`, columns, body),
      );
    }

    return {
      node,
      close: () => chart?.close(),
      move: (from, to) => chart?.move(from, to),
      draw(from, to) {
        const points = lines.map((line) => {
          const field = fields.get(line.name);
          if (field === undefined) return [];
          return (hasBand && { low: field.low, high: field.high }[line.role]) || field.points;
        });
        const gaps = lines.map((line) => gapOf(line.name));
        chart?.draw(points, gaps, from, to);
        drawTable();
      },
      drawNow() {
        const readings = names.map((name) => known()?.values.find((one) => one.field === name)).filter(Boolean);
        const first = readings[0];
        if (first === undefined) {
          setText(now, '');
          return;
        }
        const main = readings.find((one) => one.field.endsWith('mean')) ?? first;
        const passed = live.now() - main.ms;
        const isStale = passed > known().freshness.limit;
        now.classList.toggle('stale', isStale);
        const points = known().trends.get(main.field);
        setText(now, `${value(main.value, areWhole(points))}${unit ? ` ${unit}` : ''}, ${age(passed)}${isStale ? ' ● stale' : ''}`);
        setAttribute(now, 'title', `${main.field}: ${String(main.value)}, ${utc(main.ms)}`);
      },
    };
  }

  function unitOf(name) {
    return known()?.values.find((one) => one.field === name)?.unit ?? '';
  }

  /** Longer pauses of a field are gaps, in ms. */
  function gapOf(name) {
    if (every !== null) return 1.5 * length(every);
    const points = fields.get(name)?.points ?? [];
    const steps = points.slice(1).map(([at], place) => at - points[place][0]).sort((a, b) => a - b);
    return 2.5 * Math.max(steps[steps.length >> 1] ?? 0, known()?.freshness.period ?? 0) || Infinity;
  }

  // --- State

  function drawState() {
    const one = known();
    if (one === undefined) {
      setText(state, '');
      return;
    }
    const firing = context.firing.get(key);
    const isStale = context.stale.has(key);
    const parts = [];
    if (firing) parts.push(`▲ ${firing.join(', ')}`);
    if (isStale) parts.push('● stale');
    parts.push(`newest row ${age(live.now() - one.newest)}`);
    setText(state, parts.join(' · '));
    setAttribute(state, 'title', utc(one.newest));
    setAttribute(state, 'class', `series-state ${firing ? 'alarm' : isStale ? 'stale' : ''}`);
    for (const chart of charts) chart.drawNow();
  }

  async function save() {
    const [from, to] = range();
    download.disabled = true;
    try {
      const file = await csv(of(pipeline, 'rows', { series: key, from: Math.floor(from), to: Math.ceil(to) }));
      const address = URL.createObjectURL(file);
      h('a', { href: address, download: `${nameOf(key).replace(/[^\w.-]+/g, '_')}.csv` }).click();
      setTimeout(() => URL.revokeObjectURL(address), 10e3);
      message.hidden = true;
    } catch (error) {
      setText(message, `The download failed: ${error.message}`);
      message.hidden = false;
    } finally {
      download.disabled = false;
    }
  }

  function update(kind, detail) {
    if (kind === 'rows' && detail.keys.includes(key)) {
      drawState();
      if (!isLoading && groups === '' && message.hidden === false) load();
      else extend();
    }
    // What was missed meanwhile.
    if (kind === 'connection' && detail.isAgain) load();
  }

  function tick() {
    drawState();
    if (!view.isLive || isLoading || !live.isConnected) return;
    const [from, to] = range();
    for (const chart of charts) chart.move(from, to);
    const wait = every === null ? 60e3 : Math.max(5e3, length(every) / 2);
    if (Date.now() - loadedAt > wait) load();
  }

  drawRange();
  load();
  return {
    node,
    title: nameOf(key),
    update,
    tick,
    close() {
      isClosed = true;
      requests.abort();
      for (const chart of charts) chart.close();
    },
  };
}

/** The length of buckets, or null if each row can be drawn. */
function stepFor(span, period) {
  if (span / period <= MOST_POINTS) return null;
  return STEPS.find((step) => length(step) >= span / BUCKETS && length(step) > period) ?? '1d';
}

function length(step) {
  const [, number, unit] = /^(\d+)(ms|s|m|h|d)$/.exec(step);
  return Number(number) * { ms: 1, s: 1e3, m: 60e3, h: 3600e3, d: 86400e3 }[unit];
}

/** Puts the statistics of a field into one chart; each other field has its own. */
export function group(names) {
  const found = new Map();
  for (const name of names) {
    const cut = name.lastIndexOf('_');
    const statistic = STATISTICS.includes(name) ? name : name.slice(cut + 1);
    const base = STATISTICS.includes(name) ? '' : name.slice(0, Math.max(cut, 0));
    const isAlike = ALIKE.includes(statistic) && (base !== '' || ALIKE.includes(name));
    const id = isAlike ? `statistics of ${base}` : `field ${name}`;
    const one = found.get(id) ?? { title: isAlike ? base || 'value' : name, names: [] };
    one.names.push(name);
    found.set(id, one);
  }
  for (const one of found.values()) {
    if (one.names.length === 1) [one.title] = one.names;
    one.names.sort((a, b) => rank(a) - rank(b));
  }
  return [...found.values()].sort((a, b) => a.title.localeCompare(b.title, undefined, { numeric: true }));
}

/** The smallest and the largest value of a window are the edges of a band. */
function roleOf(name, names) {
  const ends = (text) => names.some((one) => one === text || one.endsWith(`_${text}`));
  if (!(ends('min') && ends('max')) || names.length < 3) return undefined;
  const statistic = name.slice(name.lastIndexOf('_') + 1);
  return { min: 'low', max: 'high' }[statistic] ?? 'main';
}

function rank(name) {
  return STATISTICS.indexOf(name.slice(name.lastIndexOf('_') + 1));
}
