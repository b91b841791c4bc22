// Requests to the API.

/** What the API refused, with the detail of its problem document. */
export class Refused extends Error {
  constructor(status, detail) {
    super(detail);
    this.status = status;
  }
}

async function ask(path, options) {
  let response;
  try {
    response = await fetch(`/api/v1${path}`, options);
  } catch (error) {
    if (error.name === 'AbortError') throw error;
    throw new Refused(0, 'The server can’t be reached.');
  }
  if (response.ok) return response;
  const problem = await response.json().catch(() => ({}));
  if (response.status === 401) document.dispatchEvent(new Event('loginrequired'));
  throw new Refused(response.status, problem.detail ?? `The server answered ${response.status}.`);
}

/** Reads JSON. */
export async function get(path, signal) {
  return (await ask(path, { signal })).json();
}

/** Whether there is a report. Nobody is bothered if that can't be known. */
export async function hasReport() {
  try {
    const response = await fetch('/reports');
    return response.ok && (await response.json()).reports.length > 0;
  } catch {
    return false;
  }
}

/** Sends JSON and reads the answer. */
export async function post(path, body) {
  const response = await ask(path, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(body),
  });
  return response.json();
}

/** Reads all rows of a range as a file. */
export async function csv(path) {
  return (await ask(path, { headers: { accept: 'text/csv' } })).blob();
}

/** A path of a pipeline with its query; a list repeats its name. */
export function of(pipeline, rest, query = {}) {
  const pairs = new URLSearchParams();
  for (const [name, given] of Object.entries(query)) {
    if (given === undefined || given === null || given === '') continue;
    for (const one of [given].flat()) pairs.append(name, one);
  }
  const text = pairs.toString();
  return `/pipelines/${encodeURIComponent(pipeline)}/${rest}${text && `?${text}`}`;
}
