// How values and times are written.

const CLOCK = new Intl.DateTimeFormat(undefined, { hour: '2-digit', minute: '2-digit', second: '2-digit' });
const FULL = new Intl.DateTimeFormat(undefined, {
  year: 'numeric', month: '2-digit', day: '2-digit', hour: '2-digit', minute: '2-digit', second: '2-digit',
});
const COUNT = new Intl.NumberFormat('en');

/** A measured value: with as many digits as anyone reads. `isWhole`: its field has only whole numbers. */
export function value(given, isWhole = Number.isInteger(given)) {
  if (typeof given === 'boolean') return given ? 'true' : 'false';
  if (typeof given !== 'number') return String(given);
  if (isWhole && Number.isInteger(given) && Math.abs(given) < 1e9) return String(given);
  const size = Math.abs(given);
  if (size >= 1e9 || (size < 1e-3 && size > 0)) return given.toPrecision(4);
  if (size >= 1000) return given.toFixed(1);
  return size >= 10 ? given.toFixed(2) : given.toFixed(3);
}

/** Whether all points (`[ms, number]`) are whole numbers, so that values don't change their width all the time. */
export function areWhole(points) {
  return points === undefined || points.every(([, number]) => Number.isInteger(number));
}

/** A number of things, with separators. */
export function count(given) {
  return COUNT.format(given);
}

/** A number of things with their noun. */
export function counted(number, one, several = `${one}s`) {
  return `${count(number)} ${number === 1 ? one : several}`;
}

/** A rate. */
export function rate(given) {
  if (given > 0 && given < 10) return given.toFixed(1);
  return count(Math.round(given));
}

/** How long something is ago or lasts, in ms. */
export function duration(ms) {
  const seconds = Math.max(0, ms) / 1000;
  if (seconds < 10) return `${seconds.toFixed(1)} s`;
  if (seconds < 120) return `${Math.round(seconds)} s`;
  if (seconds < 7200) return `${Math.round(seconds / 60)} min`;
  if (seconds < 172800) return `${Math.round(seconds / 3600)} h`;
  return `${Math.round(seconds / 86400)} days`;
}

/** An age; whole seconds, since it is written once a second. */
export function age(ms) {
  if (ms < 1000) return 'just now';
  if (ms < 10000) return `${Math.round(ms / 1000)} s ago`;
  return `${duration(ms)} ago`;
}

/** A time of day in the viewer's zone; with the date if it isn't of today. */
export function time(ms) {
  const date = new Date(ms);
  const today = date.toDateString() === new Date().toDateString();
  return (today ? CLOCK : FULL).format(date);
}

/** A date and a time in the viewer's zone. */
export function fullTime(ms) {
  return FULL.format(new Date(ms));
}

/** The same in UTC. */
export function utc(ms) {
  return `${new Date(ms).toISOString().replace('T', ' ').replace('.000Z', 'Z').replace('Z', '')} UTC`;
}

/** Tags of a series' key, which is a name or the tags as a JSON object. */
export function tagsOf(key) {
  if (!key.startsWith('{')) return null;
  try {
    const tags = JSON.parse(key);
    return tags && typeof tags === 'object' ? tags : null;
  } catch {
    return null;
  }
}

/** What a series is called on the page. */
export function nameOf(key) {
  const tags = tagsOf(key);
  if (tags === null) return key;
  const values = Object.values(tags).map(String);
  return values.length === 0 ? 'all' : values.join(' / ');
}

/** The address of a series' view. */
export function seriesAddress(key) {
  return `#/series/${encodeURIComponent(key)}`;
}
