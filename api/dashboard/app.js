// Chooses the view, and says on all of them whether anything needs attention.

import * as alertsView from './alerts.js';
import { get, hasReport, of } from './api.js';
import * as deadLettersView from './dead_letters.js';
import { fill, h, setAttribute, setText } from './dom.js';
import * as fleetView from './fleet.js';
import { count, counted, duration, nameOf, rate, seriesAddress, time } from './format.js';
import { Live } from './live.js';
import * as pipelineView from './pipeline.js';
import * as seriesView from './series.js';

const VIEWS = [
  { path: '', title: 'Fleet', view: fleetView },
  { path: 'pipeline', title: 'Pipeline', view: pipelineView },
  { path: 'dead-letters', title: 'Dead letters', view: deadLettersView },
  { path: 'alerts', title: 'Alerts', view: alertsView },
];
/** A list that holds more than this share of its limit needs attention. */
const FILLED = 0.5;
/** Elements that wait longer than this, in seconds, need attention. */
const LAG = 10;
/** And if that has been so for this long, in ms. */
const LASTING = 5000;
const ALERTS_EVERY = 3000;
/** How often the server is asked whether there is a report. */
const REPORTS_EVERY = 60000;
/** How often a server without alerts, or of a pipeline without any, is asked again. */
const NO_ALERTS_EVERY = 60000;
/** Changes are read to screen readers at most this often. */
const ANNOUNCE_EVERY = 5000;

const part = (id) => document.getElementById(id);
const main = part('main');

/** What views read and use. */
const context = {
  pipelines: [],
  pipeline: null,
  live: null,
  /** Null if none are configured. */
  alerts: null,
  alertsProblem: null,
  stale: new Set(),
  /** Series with an alert that fires, with the names of these alerts. */
  firing: new Map(),
  announce,
  refreshAlerts: () => readAlerts(),
};

let shown = null;
let nextAlerts = null;

// --- Routes

function route() {
  const [path, query = ''] = location.hash.replace(/^#\/?/, '').split('?');
  const [first = '', ...rest] = path.split('/');
  let key = null;
  try {
    key = rest.length > 0 ? decodeURIComponent(rest.join('/')) : null;
  } catch {
    key = rest.join('/');
  }
  return { first, key, parameters: new URLSearchParams(query) };
}

function show() {
  const { first, key, parameters } = route();
  const name = parameters.get('pipeline');
  if (name !== null && name !== context.pipeline.name && context.pipelines.some((one) => one.name === name)) {
    choose(name);
  }
  const found = VIEWS.find((one) => one.path === first);
  const view = first === 'series' && key !== null ? seriesView : (found?.view ?? fleetView);
  shown?.close?.();
  shown = view.open(context, key);
  fill(main, shown.node);
  document.title = `${shown.title} · Rigline`;
  for (const link of part('views').querySelectorAll('a')) {
    setAttribute(link, 'aria-current', link.dataset.path === first ? 'page' : null);
  }
  window.scrollTo(0, 0);
}

function drawViews() {
  fill(part('views'), VIEWS.map(({ path, title }) => h('li', {}, h(
    'a',
    { href: `#/${path}`, 'data-path': path },
    title,
    h('span', { class: 'badge', id: `badge-${path || 'fleet'}`, hidden: true }),
  ))));
}

function badge(path, number, what, isBad) {
  const node = part(`badge-${path}`);
  node.hidden = number === 0;
  setText(node, number === 0 ? '' : count(number));
  setAttribute(node, 'title', number === 0 ? null : `${count(number)} ${what}`);
  node.classList.toggle('bad', isBad);
}

// --- Pipelines

function choose(name) {
  context.pipeline = context.pipelines.find((one) => one.name === name) ?? context.pipelines[0];
  part('pipelines').value = context.pipeline.name;
  keep(context.pipeline.name);
  context.live?.close();
  context.live = new Live(context.pipeline.name);
  context.alerts = null;
  context.firing = new Map();
  context.stale = new Set();
  const { live } = context;
  for (const kind of ['rows', 'figures', 'problem', 'connection']) {
    live.addEventListener(kind, (event) => {
      if (live !== context.live) return;
      if (kind === 'connection') drawConnection(event.detail);
      if (kind !== 'rows') judge();
      shown?.update?.(kind, event.detail ?? {});
    });
  }
  readAlerts();
}

function keep(name) {
  try {
    localStorage.setItem('rigline.pipeline', name);
  } catch {
    // Without storage the choice lasts as long as the page.
  }
}

function kept() {
  try {
    return localStorage.getItem('rigline.pipeline');
  } catch {
    return null;
  }
}

// --- Connection

function drawConnection({ isAgain }) {
  const { live } = context;
  document.documentElement.classList.toggle('offline', !live.isConnected);
  if (live.isConnected) {
    part('banner').hidden = true;
    if (isAgain) announce('The connection is back. Values are live again.');
  } else {
    drawBanner();
  }
}

function drawBanner() {
  const { live } = context;
  const banner = part('banner');
  if (live === null || live.isConnected || live.lostAt === null || document.hidden) return;
  const since = Date.now() - live.lostAt;
  if (since < 1000) return;
  if (banner.hidden) {
    fill(
      banner,
      h('strong', {}, 'No connection to Rigline. '),
      h('span', {}, `What is shown is from ${time(live.lostAt)} or before. `),
      'This page connects again by itself.',
    );
    banner.hidden = false;
  }
}

function askForLogin() {
  context.live?.close();
  context.live = null;
  shown?.close?.();
  shown = null;
  part('status').hidden = true;
  part('banner').hidden = true;
  document.title = 'Log in · Rigline';
  fill(
    main,
    h('h1', {}, 'A token is needed'),
    h('p', {}, 'This server lets in only those who have its token, the value of ', h('code', {}, 'API_TOKEN'), '.'),
    h('p', {}, h('a', { class: 'button', href: '/login' }, 'Log in')),
  );
}

// --- Alerts

async function readAlerts() {
  clearTimeout(nextAlerts);
  const { live } = context;
  if (live === null) return;
  let wait = ALERTS_EVERY;
  try {
    const read = document.hidden ? context.alerts : await get(of(live.pipeline, 'alerts'));
    if (live !== context.live) return;
    context.alerts = read;
    context.alertsProblem = null;
    if (read?.rules.length === 0) wait = NO_ALERTS_EVERY;
  } catch (error) {
    if (live !== context.live) return;
    if (error.status === 404) {
      context.alerts = null;
      context.alertsProblem = null;
      wait = NO_ALERTS_EVERY;
    } else {
      context.alertsProblem = error.message;
    }
  }
  const firing = new Map();
  for (const one of context.alerts?.states ?? []) {
    if (one.state !== 'firing') continue;
    firing.set(one.series, [...(firing.get(one.series) ?? []), alertsView.labelOf(one)]);
  }
  context.firing = firing;
  judge();
  shown?.update?.('alerts', {});
  nextAlerts = setTimeout(readAlerts, wait);
}

// --- What needs attention

function troubles() {
  const { live, firing, stale } = context;
  const found = [];
  const add = (level, text, href) => found.push({ level, text, href });
  const figures = live.figures;
  for (const [key, names] of firing) {
    add('alarm', `${nameOfSeries(key)}: ${names.join(', ')}`, seriesAddress(key));
  }
  for (const { status, detail } of live.problems.values()) {
    // A store that can't be read here is no fault; the fleet says so.
    if (status !== 501) add('alarm', detail, '#/pipeline');
  }
  if (figures !== null) {
    if (!figures.balanced) add('alarm', 'The ledger isn’t balanced: readings or rows have vanished', '#/pipeline');
    for (const one of figures.stages.flatMap((stage) => stage.dependencies)) {
      if (one.state !== 'down') continue;
      const why = one.last_error ? `: ${one.last_error}` : '';
      add('alarm', `${one.stage}: ${one.name} is down for ${duration(one.for_seconds * 1000)}${why}`, '#/pipeline');
    }
    // Rates are measured for two seconds first.
    const isKnown = figures.stages[0].taken_per_second !== undefined;
    for (const list of figures.lists) {
      const share = list.length / list.limit;
      if (list.name === 'dead_letters') {
        if (share >= 0.95) add('warning', 'The list of dead letters is full: the oldest are removed', '#/dead-letters');
      } else if (share >= FILLED) {
        add('alarm', `The ${list.name} list is ${Math.round(share * 100)} % full`, '#/pipeline');
      } else if (lasts(list.name, isKnown && list.length > 0 && (list.lag_seconds === undefined || list.lag_seconds > LAG))) {
        const behind = list.lag_seconds === undefined ? 'nothing takes them' : `${duration(list.lag_seconds * 1000)} of work`;
        add('warning', `${counted(list.length, 'element')} in the ${list.name} list: ${behind}`, '#/pipeline');
      }
    }
  }
  if (stale.size > 3) {
    add('warning', `${count(stale.size)} of ${counted(live.series.size, 'series', 'series')} send nothing`, '#/');
  } else {
    for (const key of stale) {
      const one = live.series.get(key);
      add('warning', `${one.name} has sent nothing for ${duration(live.now() - one.newest)}`, seriesAddress(key));
    }
  }
  return found;
}

/** Since when something is so, by its name. */
const since = new Map();

/** Whether something has been so for a while: a busy machine pauses for a second or two. */
function lasts(name, isSo) {
  if (!isSo) {
    since.delete(name);
    return false;
  }
  if (!since.has(name)) since.set(name, Date.now());
  return Date.now() - since.get(name) >= LASTING;
}

function nameOfSeries(key) {
  return context.live.series.get(key)?.name ?? nameOf(key);
}

let before = '';

function judge() {
  const { live } = context;
  if (live === null) return;
  context.stale = new Set([...live.series.values()].filter((one) => live.isStale(one)).map((one) => one.key));
  // Without a connection nothing is known of the present.
  const found = live.isConnected ? troubles() : [];
  const { figures } = live;
  const status = part('status');
  status.hidden = figures === null && found.length === 0;
  const alarms = found.filter((one) => one.level === 'alarm').length;
  const level = !live.isConnected ? 'warning' : alarms > 0 ? 'alarm' : found.length > 0 ? 'warning' : 'calm';
  setAttribute(status, 'class', `status ${level}`);
  const taken = figures?.stages[0].taken_per_second;
  const readings = taken === undefined ? '… readings/s' : `${rate(taken)} readings/s`;
  const all = counted(live.series.size, 'series', 'series');
  let verdict = `Nothing needs attention: ${all}, ${readings}, ledger balanced.`;
  if (live.series.size === 0 && found.length === 0) verdict = `No data yet: ${readings}.`;
  if (found.length > 0) verdict = `${counted(found.length, 'thing needs', 'things need')} attention.`;
  if (!live.isConnected) verdict = 'The present state is unknown: there is no connection.';
  setText(part('verdict'), verdict);
  drawTroubles(found);
  badge('fleet', live.isConnected ? context.stale.size : 0, 'stale series', true);
  badge('alerts', (context.alerts?.states ?? []).filter((one) => one.state === 'firing').length, 'alerts fire', true);
  const dead = (figures?.dead_letters.counts ?? []).reduce((sum, one) => sum + (one.replayed || one.discarded ? 0 : one.count), 0);
  badge('dead-letters', dead, 'dead letters', false);
  // Ages count on by themselves, so only new troubles are read out.
  const now = found.map((one) => one.text.replace(/[\d.,]+/g, '')).join('|');
  if (now !== before && live.isConnected) announce(found.length === 0 ? verdict : `${verdict} ${found[0].text}`);
  before = now;
}

const MOST_TROUBLES = 6;

function drawTroubles(found) {
  const list = part('troubles');
  const texts = found.slice(0, MOST_TROUBLES);
  const more = found.length - texts.length;
  while (list.children.length > texts.length + (more > 0 ? 1 : 0)) list.lastChild.remove();
  texts.forEach(({ level, text, href }, place) => {
    let item = list.children[place];
    if (item?.firstChild?.tagName !== 'SPAN') {
      const made = h('li', {}, h('span', { class: 'mark', 'aria-hidden': 'true' }), h('a', {}, ''));
      if (item) item.replaceWith(made);
      else list.append(made);
      item = made;
    }
    setAttribute(item, 'class', level);
    setText(item.firstChild, level === 'alarm' ? '▲' : '●');
    setText(item.lastChild, text);
    setAttribute(item.lastChild, 'href', href);
  });
  if (more > 0) {
    const item = list.children[texts.length] ?? list.appendChild(h('li'));
    fill(item, `and ${counted(more, 'other')}`);
  }
}

// --- Screen readers

let announced = 0;
let waiting = null;

/** Reads a text out; of several within a few seconds only the last. */
function announce(text) {
  clearTimeout(waiting);
  const wait = Math.max(200, announced + ANNOUNCE_EVERY - Date.now());
  waiting = setTimeout(() => {
    announced = Date.now();
    setText(part('announcer'), text);
  }, wait);
}

// --- Reports

async function drawReport() {
  if (!document.hidden) part('report').hidden = !(await hasReport());
}

// --- Start

function drawTheme() {
  const { choice } = window.riglineTheme;
  setText(part('theme'), { auto: 'Theme: auto', light: 'Theme: light', dark: 'Theme: dark' }[choice]);
}

async function start() {
  drawTheme();
  drawViews();
  part('theme').addEventListener('click', () => {
    window.riglineTheme.next();
    drawTheme();
  });
  part('skip').addEventListener('click', (event) => {
    event.preventDefault();
    main.focus();
  });
  document.addEventListener('loginrequired', askForLogin);
  for (;;) {
    try {
      context.pipelines = (await get('/pipelines')).pipelines;
      break;
    } catch (error) {
      if (error.status === 401) return;
      fill(main, h('h1', {}, 'Rigline'), h('p', { class: 'problem', role: 'alert' }, `${error.message} This page tries again.`));
      await new Promise((resolve) => setTimeout(resolve, 2000));
    }
  }
  fill(part('pipelines'), context.pipelines.map(({ name }) => h('option', { value: name }, name)));
  part('chooser').hidden = context.pipelines.length < 2;
  part('pipelines').addEventListener('change', (event) => {
    choose(event.target.value);
    if (location.hash === '#/' || location.hash === '') show();
    else location.hash = route().first === 'series' ? '#/' : `#/${route().first}`;
    if (route().first !== 'series') show();
  });
  choose(route().parameters.get('pipeline') ?? kept());
  window.addEventListener('hashchange', () => {
    if (context.live !== null) {
      show();
      main.focus({ preventScroll: true });
    }
  });
  document.addEventListener('visibilitychange', () => {
    if (!document.hidden) readAlerts();
  });
  drawReport();
  setInterval(drawReport, REPORTS_EVERY);
  show();
  setInterval(() => {
    if (context.live === null) return;
    drawBanner();
    judge();
    shown?.tick?.();
  }, 1000);
}

start();
