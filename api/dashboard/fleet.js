// A tile for each series. Grey is well: colour is only for what needs attention.

import { drawTrend, fill, h, setAttribute, setText, trend } from './dom.js';
import { age, areWhole, counted, duration, seriesAddress, utc, value } from './format.js';

/** Fields of a tile; the others are on the series' own view. */
const MOST_FIELDS = 8;

export function open(context) {
  const { live } = context;
  const tiles = new Map();
  const visible = new Set();
  let order = '';

  const filter = h('input', { type: 'search', id: 'filter', placeholder: 'Name', autocomplete: 'off', oninput: arrange });
  const onlyBad = h('input', { type: 'checkbox', id: 'only-bad', onchange: arrange });
  const sort = h(
    'select',
    { id: 'sort', onchange: arrange },
    h('option', { value: 'attention' }, 'Attention first'),
    h('option', { value: 'name' }, 'Name'),
    h('option', { value: 'age' }, 'Oldest first'),
  );
  const shownCount = h('p', { class: 'muted', id: 'shown-count' });
  const list = h('ul', { class: 'tiles', id: 'tiles' });
  const empty = h('div', { class: 'empty', hidden: true });
  const node = h(
    'section',
    { class: 'fleet' },
    h('div', { class: 'head' }, h('h1', {}, 'Fleet'), shownCount),
    h(
      'div',
      { class: 'controls', role: 'group', 'aria-label': 'Which series are shown' },
      h('label', { for: 'filter' }, 'Filter ', filter),
      h('label', { for: 'sort' }, 'Sort ', sort),
      h('label', { for: 'only-bad' }, onlyBad, ' Only what needs attention'),
    ),
    empty,
    list,
  );

  const observer = new IntersectionObserver((entries) => {
    for (const { target, isIntersecting } of entries) {
      const { key } = target.dataset;
      if (!isIntersecting) {
        visible.delete(key);
        continue;
      }
      visible.add(key);
      const tile = tiles.get(key);
      if (tile === undefined) continue;
      draw(tile);
      live.want(key, true);
    }
  }, { rootMargin: '200px' });

  function make(key) {
    const one = live.series.get(key);
    const state = h('span', { class: 'state' });
    const when = h('time', { class: 'age' });
    const fields = h('dl', { class: 'fields' });
    const more = h('p', { class: 'muted', hidden: true });
    const item = h(
      'li',
      { class: 'tile', 'data-key': key },
      h('h2', {}, h('a', { href: seriesAddress(key), title: tagText(one) }, one.name)),
      h('p', { class: 'tile-state' }, state, when),
      fields,
      more,
    );
    const tile = { key, item, state, when, fields, more, rows: new Map() };
    size(tile, one);
    tiles.set(key, tile);
    observer.observe(item);
    return tile;
  }

  /** A tile takes its room before it is drawn, so that nothing jumps. */
  function size(tile, one) {
    const height = 84 + 26 * Math.min(MOST_FIELDS, one.values.length);
    tile.item.style.containIntrinsicSize = `auto 16rem auto ${height}px`;
  }

  function draw(tile) {
    const one = live.series.get(tile.key);
    if (one === undefined) return;
    drawState(tile, one);
    const now = live.now();
    const span = Math.max(30000, 60 * (one.freshness.period ?? 1000));
    const gap = 2.5 * (one.freshness.period ?? 1000);
    const seen = new Set();
    for (const reading of one.values.slice(0, MOST_FIELDS)) {
      seen.add(reading.field);
      let row = tile.rows.get(reading.field);
      if (row === undefined) {
        row = {
          value: h('span', { class: 'value' }),
          note: h('span', { class: 'note' }),
          line: trend([], 0, 0, 1),
        };
        row.node = h('div', {}, h('dt', {}, reading.field), h('dd', {}, row.line, row.note, row.value));
        tile.rows.set(reading.field, row);
        tile.fields.append(row.node);
      }
      const unit = reading.unit ? ` ${reading.unit}` : '';
      setText(row.value, `${value(reading.value, areWhole(one.trends.get(reading.field)))}${unit}`);
      setAttribute(row.value, 'title', `${String(reading.value)}${unit}, ${utc(reading.ms)}`);
      const isOlder = reading.ms < one.newest;
      setText(row.note, isOlder ? `${age(now - reading.ms)}` : '');
      setAttribute(row.note, 'title', isOlder ? 'The newest row has no value of this field' : null);
      row.node.classList.toggle('older', isOlder);
      drawTrend(row.line, one.trends.get(reading.field) ?? [], gap, now - span, now);
    }
    for (const [field, row] of tile.rows) {
      if (seen.has(field)) continue;
      row.node.remove();
      tile.rows.delete(field);
    }
    const rest = one.values.length - MOST_FIELDS;
    tile.more.hidden = rest <= 0;
    setText(tile.more, rest > 0 ? `and ${counted(rest, 'other field')}` : '');
  }

  function drawState(tile, one) {
    const firing = context.firing.get(tile.key);
    const isStale = context.stale.has(tile.key);
    const missing = one.values.filter((reading) => reading.ms < one.newest).length;
    let [level, text] = ['well', ''];
    if (missing > 0) [level, text] = ['partial', `partial: ${missing} of ${one.values.length} older`];
    if (isStale) [level, text] = ['stale', live.isConnected ? '● stale' : '● not live'];
    if (firing) [level, text] = ['alarm', `▲ ${firing.join(', ')}${isStale ? ' · stale' : ''}`];
    setAttribute(tile.item, 'class', `tile ${level}`);
    setText(tile.state, text);
    const limit = duration(one.freshness.limit);
    setText(tile.when, age(live.now() - one.newest));
    setAttribute(tile.when, 'datetime', new Date(one.newest).toISOString());
    setAttribute(tile.when, 'title', `${utc(one.newest)}; it counts as stale after ${limit}`);
  }

  function rank(one) {
    if (context.firing.has(one.key)) return 0;
    return context.stale.has(one.key) ? 1 : 2;
  }

  /** Shows the tiles that are wanted in their order. Those that stay aren't touched. */
  function arrange() {
    const text = filter.value.trim().toLowerCase();
    const shown = [...live.series.values()].filter((one) => {
      const isNamed = text === '' || one.name.toLowerCase().includes(text) || one.key.toLowerCase().includes(text);
      return isNamed && (!onlyBad.checked || rank(one) < 2);
    });
    const byName = (a, b) => a.name.localeCompare(b.name, undefined, { numeric: true });
    const by = {
      attention: (a, b) => rank(a) - rank(b) || byName(a, b),
      name: byName,
      // By whole periods, so that tiles don't change places all the time.
      age: (a, b) => Math.round((a.newest - b.newest) / 10000) || byName(a, b),
    };
    shown.sort(by[sort.value]);
    const all = live.series.size;
    setText(shownCount, shown.length === all ? counted(all, 'series', 'series') : `${shown.length} of ${counted(all, 'series', 'series')}`);
    const now = shown.map((one) => one.key).join('\n');
    drawEmpty(shown.length, all);
    if (now === order) return;
    order = now;
    const keys = new Set(shown.map((one) => one.key));
    for (const [key, tile] of tiles) {
      if (keys.has(key)) continue;
      observer.unobserve(tile.item);
      tile.item.remove();
      tiles.delete(key);
      visible.delete(key);
    }
    shown.forEach((one, place) => {
      const tile = tiles.get(one.key) ?? make(one.key);
      if (list.children[place] !== tile.item) list.insertBefore(tile.item, list.children[place] ?? null);
    });
  }

  function drawEmpty(shown, all) {
    empty.hidden = shown > 0;
    if (shown > 0) return;
    const problem = live.problems.get('rows');
    if (problem !== undefined) {
      fill(empty, h('p', {}, 'The rows can’t be shown here.'), h('p', { class: 'muted' }, problem.detail));
    } else if (all > 0) {
      fill(empty, h('p', {}, onlyBad.checked ? 'No such series needs attention.' : 'No series has this name.'));
    } else if (live.figures !== null) {
      fill(
        empty,
        h('p', {}, 'No row is stored yet.'),
        h('p', { class: 'muted' }, 'Publish a reading, for instance:'),
        h('pre', { tabindex: '0' }, "mosquitto_pub -q 1 -t rigs/MINE/measurements/pressure -m '{\"value\": 2.5}'"),
      );
    } else {
      fill(empty, h('p', { class: 'muted' }, 'Loading…'));
    }
  }

  function update(kind, { keys, all }) {
    if (kind === 'rows') {
      const isNew = all || keys.some((key) => !tiles.has(key));
      if (isNew) arrange();
      for (const key of keys) if (visible.has(key) && tiles.has(key)) draw(tiles.get(key));
    } else if (kind === 'connection' || kind === 'problem' || kind === 'alerts') {
      tick();
    } else if (kind === 'figures' && live.series.size === 0) {
      arrange();
    }
  }

  function tick() {
    arrange();
    for (const key of visible) if (tiles.has(key)) draw(tiles.get(key));
  }

  arrange();
  return {
    node,
    title: 'Fleet',
    update,
    tick,
    close() {
      observer.disconnect();
    },
  };
}

function tagText(one) {
  if (one.tags === null) return one.key;
  return Object.entries(one.tags).map(([name, of]) => `${name}: ${of}`).join(', ');
}
