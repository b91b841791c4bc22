// The live stream of one pipeline, and what it has said so far.

import { get } from './api.js';
import { nameOf, tagsOf } from './format.js';
import { Freshness } from './freshness.js';

/** Figures come twice a second: without any for this long, the connection is gone. In ms. */
const SILENCE = 5000;
/** A page that nobody sees gives its connection back after this time: a browser has six for each server. */
const HIDDEN = 20000;
const FIRST_RETRY = 500;
const LAST_RETRY = 5000;
/** Points of a small trend. */
const TREND = 60;
/** Trends that are read at once: a browser has six connections for each server. */
const READERS = 3;

/**
 * Dispatches `rows` (with `keys` and `all`), `figures`, `problem` and `connection`.
 */
export class Live extends EventTarget {
  /** Series by key. */
  series = new Map();
  figures = null;
  /** Problem documents by what they are of: `rows`, `figures`. */
  problems = new Map();
  isConnected = false;
  /** When the connection was lost, by this machine's clock. */
  lostAt = null;
  #source = null;
  #retry = FIRST_RETRY;
  #timer = null;
  #lastEvent = 0;
  #offset = 0;
  #ended = false;
  #stops = new AbortController();

  constructor(pipeline) {
    super();
    this.pipeline = pipeline;
    const signal = this.#stops.signal;
    document.addEventListener('visibilitychange', () => this.#seen(), { signal });
    window.addEventListener('online', () => this.#again(0), { signal });
    this.#watch = setInterval(() => this.#check(), 1000);
    this.#open();
  }

  #watch;

  /** Now, by the server's clock. */
  now() {
    return Date.now() + this.#offset;
  }

  close() {
    this.#ended = true;
    this.#stops.abort();
    clearInterval(this.#watch);
    clearTimeout(this.#timer);
    this.#source?.close();
  }

  #open() {
    this.#source?.close();
    const source = new EventSource(`/api/v1/pipelines/${encodeURIComponent(this.pipeline)}/stream`);
    this.#source = source;
    this.#lastEvent = Date.now();
    const on = (name, take) => source.addEventListener(name, (event) => {
      if (source !== this.#source) return;
      this.#heard();
      take(JSON.parse(event.data));
    });
    on('rows', (data) => this.#rows(data));
    on('figures', (data) => {
      this.#offset = Date.parse(data.time) - Date.now();
      this.figures = data;
      this.dispatchEvent(new Event('figures'));
    });
    on('problem', (data) => {
      this.problems.set(data.of, data);
      this.dispatchEvent(new Event('problem'));
    });
    on('recovered', (data) => {
      this.problems.delete(data.of);
      this.dispatchEvent(new Event('problem'));
    });
    source.addEventListener('error', () => {
      if (source === this.#source) this.#lost();
    });
  }

  #heard() {
    this.#lastEvent = Date.now();
    this.#retry = FIRST_RETRY;
    if (this.isConnected) return;
    const isAgain = this.lostAt !== null;
    this.isConnected = true;
    this.lostAt = null;
    // They are told again if they last.
    this.problems.clear();
    this.dispatchEvent(new CustomEvent('connection', { detail: { isAgain } }));
  }

  #lost() {
    this.#source?.close();
    this.#source = null;
    const was = this.isConnected;
    this.isConnected = false;
    this.lostAt ??= Date.now();
    if (was || this.figures === null) this.dispatchEvent(new CustomEvent('connection', { detail: { isAgain: false } }));
    this.#again(this.#retry);
    this.#retry = Math.min(this.#retry * 1.6, LAST_RETRY);
  }

  #again(wait) {
    clearTimeout(this.#timer);
    if (this.#ended || this.#source !== null) return;
    this.#timer = setTimeout(async () => {
      try {
        // A stream doesn't say why it can't be opened; this does, for instance that a token is needed.
        await get('/pipelines');
      } catch {
        this.#again(this.#retry);
        return;
      }
      if (!this.#ended && this.#source === null) this.#open();
    }, wait);
  }

  #check() {
    if (this.#source !== null && !document.hidden && Date.now() - this.#lastEvent > SILENCE) this.#lost();
  }

  /** Pauses while nobody sees the page, and resumes at once. */
  #seen() {
    clearTimeout(this.#hidden);
    if (!document.hidden) {
      if (this.#source === null) this.#again(0);
      else this.#lastEvent = Date.now();
      return;
    }
    this.#hidden = setTimeout(() => {
      this.#source?.close();
      this.#source = null;
      this.isConnected = false;
      this.lostAt ??= Date.now();
      clearTimeout(this.#timer);
    }, HIDDEN);
  }

  #hidden = null;

  #rows({ time, all, series }) {
    const now = Date.parse(time);
    this.#offset = now - Date.now();
    if (all) {
      const keys = new Set(series.map((one) => one.key));
      for (const key of this.series.keys()) if (!keys.has(key)) this.series.delete(key);
    }
    for (const one of series) this.#one(one, now, all);
    this.dispatchEvent(new CustomEvent('rows', { detail: { keys: series.map((one) => one.key), all } }));
  }

  #one({ key, values }, now, all) {
    let known = this.series.get(key);
    if (known === undefined) {
      known = {
        key,
        name: nameOf(key),
        tags: tagsOf(key),
        newest: -Infinity,
        values: [],
        freshness: new Freshness(),
        trends: new Map(),
        isAsked: false,
        isLearned: false,
      };
      this.series.set(key, known);
    }
    known.values = values.map((one) => ({ ...one, ms: Date.parse(one.time) }));
    const newest = known.values.reduce((most, one) => Math.max(most, one.ms), -Infinity);
    if (newest > known.newest) {
      // The first values may be of any age.
      if (all) known.freshness.learn(newest);
      else known.freshness.arrived(newest, now);
    }
    known.newest = newest;
    for (const { field, value, ms } of known.values) addPoint(known.trends, field, value, ms);
  }

  /** Reads rows of a series for its trend and its period, a few series at a time; `first` before the others. */
  want(key, first = false) {
    const known = this.series.get(key);
    if (known === undefined || known.isAsked) return;
    known.isAsked = true;
    if (first) this.#wanted.unshift(key);
    else this.#wanted.push(key);
    this.#readTrends();
  }

  #wanted = [];
  #reading = 0;

  #readTrends() {
    while (this.#reading < READERS && this.#wanted.length > 0 && !this.#ended) {
      const key = this.#wanted.shift();
      this.#reading += 1;
      this.readTrend(key).catch(() => {
        // Its newest values are shown all the same.
      }).finally(() => {
        this.#reading -= 1;
        const known = this.series.get(key);
        if (known !== undefined) known.isLearned = true;
        this.dispatchEvent(new CustomEvent('rows', { detail: { keys: [key], all: false } }));
        this.#readTrends();
      });
    }
  }

  /** Reads rows of a series for its trend, and learns its period. */
  async readTrend(key) {
    const path = `/pipelines/${encodeURIComponent(this.pipeline)}/rows?order=newest&limit=${TREND}&from=0&series=${encodeURIComponent(key)}`;
    const page = await get(path, this.#stops.signal);
    const known = this.series.get(key);
    if (known === undefined) return;
    for (const row of page.rows.reverse()) {
      const ms = Date.parse(row.time);
      known.freshness.learn(ms);
      for (const [field, value] of Object.entries(row.values)) addPoint(known.trends, field, value, ms);
    }
  }

  /** Whether a series is behind its usual period. */
  isStale(one) {
    if (this.now() - one.newest <= one.freshness.limit) return false;
    // Its period may be longer than the time since this page was opened: its past says.
    if (one.freshness.period === null && !one.isLearned) {
      this.want(one.key);
      return false;
    }
    return true;
  }
}

function addPoint(trends, field, value, ms) {
  const number = typeof value === 'boolean' ? Number(value) : value;
  if (typeof number !== 'number') return;
  let points = trends.get(field);
  if (points === undefined) {
    points = [];
    trends.set(field, points);
  }
  const last = points.at(-1);
  if (last === undefined || ms > last[0]) {
    points.push([ms, number]);
  } else {
    const place = points.findIndex(([time]) => time >= ms);
    if (points[place][0] === ms) points[place][1] = number;
    else points.splice(place, 0, [ms, number]);
  }
  if (points.length > TREND) points.shift();
}
