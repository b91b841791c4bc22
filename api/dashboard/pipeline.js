// The stages in the order of the data, the lists between them, and the ledger.

import { h, number, patch, setText, table } from './dom.js';
import { count, counted, duration, rate } from './format.js';

const STORES = { sqlite: 'a file (SQLite)', influx: 'InfluxDB' };
const SOURCES = { mqtt: 'MQTT', 'redis-pubsub': 'Redis Pub/Sub', kafka: 'Kafka', http: 'HTTP' };
const LISTS = { raw: 'Raw list', normalized: 'Normalized list' };
/** What each line of the ledger means. */
const MEANINGS = [
  'What came in was taken or waits in the raw list.',
  'What the transformer took became samples or dead letters.',
  'Each reading is in a row, waits in an open row, or was left out with a reason.',
  'Rows that were made were taken or wait in the normalized list.',
  'Rows that the sink took are stored or are dead letters.',
  'Dead letters are in their list, or were removed from it.',
];

/** A rate, once it has been measured for long enough. */
function perSecond(given) {
  return given === undefined ? '…' : `${rate(given)}/s`;
}

/** Enough of a token to tell it from others. */
function short(token) {
  return token.length > 10 ? `${token.slice(0, 9)}…` : token;
}

export function open(context) {
  const { live } = context;
  const flow = h('ol', { class: 'flow' });
  const omitted = h('div');
  const ledger = h('div');
  const counters = h('div');
  const verdict = h('p');
  const details = h('details', {}, h('summary', {}, 'All counters'), counters);
  const { source, store, shape } = context.pipeline;
  const node = h(
    'section',
    {},
    h('div', { class: 'head' }, h('h1', {}, 'Pipeline ', context.pipeline.name)),
    h('h2', {}, 'Flow'),
    flow,
    h('h2', {}, 'Omitted readings'),
    omitted,
    h('h2', {}, 'Ledger'),
    verdict,
    ledger,
    details,
  );

  function card(kind, title, state, facts, problems = []) {
    return h(
      'li',
      { class: `step ${kind} ${state.level}` },
      h('h3', {}, title),
      state.text && h('p', { class: 'step-state' }, state.text),
      h('dl', {}, facts.filter(Boolean).map(([name, text, title]) => h('div', {}, h('dt', {}, name), h('dd', { title }, text)))),
      problems.map((text) => h('p', { class: 'step-problem' }, text)),
    );
  }

  function stage(one) {
    const down = one.dependencies.filter((it) => it.state === 'down');
    const waiting = one.dependencies.filter((it) => it.state === 'waiting');
    const lease = one.dependencies.find((it) => it.name === 'lease');
    let state = { level: 'well', text: 'up' };
    if (waiting.length > 0) state = { level: 'warning', text: `● waits for ${waiting.map((it) => it.name).join(', ')}` };
    if (lease?.state === 'standby') state = { level: 'well', text: 'standby: another replica holds the lease' };
    if (down.length > 0) state = { level: 'alarm', text: `▲ ${down.map((it) => it.name).join(', ')} down` };
    if (one.dependencies.length === 0) state = { level: 'well', text: '' };
    const failures = one.dependencies.reduce((sum, it) => sum + it.failures, 0);
    return card('stage', one.name, state, [
      ['in', perSecond(one.taken_per_second)],
      ['out', perSecond(one.given_per_second)],
      one.dead_per_second > 0 && ['dead letters', `${one.dead_per_second.toFixed(1)}/s`],
      ['retries', count(failures), 'Failed attempts since the start of the process; each was made again'],
      one.commits !== undefined && ['commits', count(one.commits)],
      one.lease && ['lease', short(one.lease), `The last commit was made under the lease ${one.lease}`],
    ], down.map((it) => `${it.name}: ${it.last_error ?? 'down'} (for ${duration(it.for_seconds * 1000)})`));
  }

  function list(one) {
    const share = one.length / one.limit;
    const isKnown = live.figures.stages[0].taken_per_second !== undefined;
    const unknown = isKnown ? 'nothing is taken' : '…';
    const lag = one.lag_seconds === undefined ? unknown : duration(one.lag_seconds * 1000);
    const isSlow = isKnown && one.length > 0 && (one.lag_seconds === undefined || one.lag_seconds > 10);
    let state = { level: 'well', text: '' };
    if (isSlow) state = { level: 'warning', text: '● it grows or stands still' };
    if (share >= 0.5) state = { level: 'alarm', text: `▲ ${Math.round(share * 100)} % full` };
    const item = card('list', LISTS[one.name], state, [
      ['length', count(one.length)],
      ['limit', count(one.limit)],
      ['lag', lag, 'How long its elements last at the present rate'],
    ]);
    item.append(h('meter', { min: '0', max: '1', low: '0.3', high: '0.5', optimum: '0', value: String(share), 'aria-label': `${LISTS[one.name]}: part that is filled` }));
    return item;
  }

  function drawFlow(figures) {
    const [ingester, transformer, sink] = figures.stages;
    const of = (name) => figures.lists.find((it) => it.name === name);
    const stored = figures.counters.rows_stored;
    patch(
      flow,
      card('end', 'Source', { level: 'well', text: '' }, [['kind', SOURCES[source] ?? source]]),
      stage(ingester),
      list(of('raw')),
      stage(transformer),
      list(of('normalized')),
      stage(sink),
      card('end', 'Store', { level: 'well', text: '' }, [
        ['kind', STORES[store] ?? store],
        ['rows', count(stored)],
        ['shape', shape],
      ]),
    );
  }

  function drawOmitted({ omitted: of, counters: all }) {
    const items = [];
    if (of.superseded > 0) {
      items.push([`${counted(of.superseded, 'reading')} superseded`, 'A device sends faster than ALIGN, so that several readings fall into one row and the first one stays. Lower ALIGN to its interval.']);
    }
    if (of.dead_readings > 0) {
      items.push([`${counted(of.dead_readings, 'message')} could not be used`, h('span', {}, 'They are dead letters, with the reason. ', h('a', { href: '#/dead-letters' }, 'Look at them'), ', mend the device or the pipeline file, and replay them.')]);
    }
    if (of.refused_rows > 0) {
      items.push([`${counted(of.refused_rows, 'row')} refused by the store`, h('span', {}, 'They are dead letters of the sink. ', h('a', { href: '#/dead-letters' }, 'Their detail'), ' says what the store doesn’t accept; replay them when that is mended.')]);
    }
    if (all.trimmed > 0) {
      items.push([`${counted(all.trimmed, 'dead letter')} removed`, 'The list reached its limit or a device its quota. Raise DEAD_LETTER_LIMIT, or replay or discard dead letters earlier.']);
    }
    if (all.late > 0) {
      items.push([`${counted(all.late, 'late reading')} stored`, 'They came after their row was made, and are stored in rows of their own. Raise FLUSH_INTERVAL if that happens often.']);
    }
    if (items.length === 0) patch(omitted, h('p', {}, 'None: each reading that was accepted is stored or on its way.'));
    else patch(omitted, h('dl', { class: 'remedies' }, items.map(([what, remedy]) => h('div', {}, h('dt', {}, what), h('dd', {}, remedy)))));
  }

  function drawLedger(figures) {
    setText(verdict, figures.balanced
      ? 'Balanced: both sides of each line are equal, so nothing was lost and nothing was doubled.'
      : '▲ Not balanced: readings or rows have vanished, or another program changed the lists.');
    verdict.className = figures.balanced ? '' : 'problem';
    const rows = figures.ledger.map((line, place) => {
      const isEqual = line.left === line.right;
      const [left, right] = line.text.split(' = ');
      return h(
        'tr',
        { class: isEqual ? '' : 'alarm' },
        h('td', {}, MEANINGS[place] ?? '', h('code', { class: 'equation' }, `${left} = ${right}`)),
        h('td', { class: 'number' }, count(line.left)),
        h('td', {}, isEqual ? '=' : '▲ ≠'),
        h('td', { class: 'number' }, count(line.right)),
      );
    });
    patch(ledger, table('The lines of the ledger', ['Line', number('Left'), 'Equal', number('Right')], rows, { class: 'ledger' }));
    const all = Object.entries(figures.counters).map(([name, given]) => h(
      'tr', {}, h('td', {}, h('code', {}, name)), h('td', { class: 'number' }, count(given)),
    ));
    if (details.open) patch(counters, table('The counters', ['Counter', number('Number')], all));
  }

  let drawn = 0;
  function draw() {
    const { figures } = live;
    if (figures === null) {
      patch(flow, h('li', { class: 'muted' }, 'Loading…'));
      return;
    }
    // Twice a second is more than anyone reads.
    if (Date.now() - drawn < 900) return;
    drawn = Date.now();
    drawFlow(figures);
    drawOmitted(figures);
    drawLedger(figures);
  }
  details.addEventListener('toggle', () => {
    drawn = 0;
    draw();
  });
  draw();
  return { node, title: 'Pipeline', update: (kind) => kind === 'figures' && draw() };
}
