// Whether a value is live: its age against the usual period of its series.

/** Rows whose times are remembered. */
const REMEMBERED = 30;
/** A series whose period isn't known yet may be this old, in ms. */
const UNKNOWN = 30000;
/** The usual delay from a row's time to its arrival, until it is measured: rows may wait 5 s for their last reading. */
const USUAL_DELAY = 6000;
const SLACK = 1000;

export class Freshness {
  /** Times of rows in ms, ordered. */
  #times = [];
  #delays = [];

  /** Learns the time of a row that was stored. */
  learn(time) {
    if (this.#times.includes(time)) return;
    this.#times.push(time);
    this.#times.sort((a, b) => a - b);
    if (this.#times.length > REMEMBERED) this.#times.shift();
  }

  /** A row has arrived now. */
  arrived(time, now) {
    this.learn(time);
    this.#delays.push(Math.max(0, now - time));
    if (this.#delays.length > REMEMBERED) this.#delays.shift();
  }

  /** The median time from one row to the next, in ms; null until it is known. */
  get period() {
    if (this.#times.length < 3) return null;
    return median(this.#times.slice(1).map((time, place) => time - this.#times[place]));
  }

  /** The age at which a value isn't live any more, in ms. */
  get limit() {
    const delay = this.#delays.length < 3 ? USUAL_DELAY : median(this.#delays);
    const period = this.period;
    return period === null ? UNKNOWN + delay : 2 * period + delay + SLACK;
  }
}

function median(numbers) {
  const sorted = [...numbers].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}
