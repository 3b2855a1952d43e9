// Requests: the HTTP interface as functions. It keeps the token for this tab, and tells once when it has expired.

const KEY = 'ringbeam.session';
/** Pages that a list reads on its own before it asks the reader. */
const PAGES_MAX = 20;
/** Bytes of one event; the engine's are far smaller. */
const EVENT_BYTES_MAX = 1 << 20;

/** A refusal: what the engine said and the status it said it with. 0 is a network that did not answer. */
export class Refusal extends Error {
  constructor(status, code, message, retryAfter) {
    super(message);
    Object.assign(this, { status, code, retryAfter });
  }

  /** One problem a line. */
  get lines() {
    return this.message.split('\n').filter((line) => line.trim() !== '');
  }
}

let expired = () => {};
/** Who is told when the engine no longer knows the token. */
export function onExpired(listener) {
  expired = listener;
}

export function session() {
  try {
    return JSON.parse(sessionStorage.getItem(KEY));
  } catch {
    return null;
  }
}

function headers(more) {
  const held = session();
  return held ? { 'X-Soracom-API-Key': held.apiKey, 'X-Soracom-Token': held.token, ...more } : { ...more };
}

async function send(method, path, { body, signal, accept } = {}) {
  const options = { method, signal, cache: 'no-store', headers: headers(accept ? { accept } : {}) };
  if (body !== undefined) {
    options.headers['content-type'] = 'application/json';
    options.body = JSON.stringify(body);
  }
  let response;
  try {
    response = await fetch(path, options);
  } catch (error) {
    if (error.name === 'AbortError') throw error;
    throw new Refusal(0, 'offline', '');
  }
  if (response.ok) return response;
  const said = await response.json().catch(() => ({}));
  if (response.status === 401 && session() && !path.startsWith('/v1/auth')) {
    sessionStorage.removeItem(KEY);
    expired();
  }
  const message = said.message ?? `${response.status} ${response.statusText}`;
  throw new Refusal(response.status, said.code ?? '', message, Number(response.headers.get('retry-after')) || null);
}

async function json(method, path, options) {
  const response = await send(method, path, options);
  const text = await response.text();
  return text === '' ? null : JSON.parse(text);
}

/** A path with its query; what is empty is left out. */
export function url(path, query = {}) {
  const held = Object.entries(query).filter(([, value]) => value !== undefined && value !== null && value !== '');
  return held.length === 0 ? path : `${path}?${new URLSearchParams(held)}`;
}

/** Segments of a path, each encoded. */
export const path = (...segments) => `/${segments.map(encodeURIComponent).join('/')}`;

export const read = (where, query, signal) => json('GET', url(where, query), { signal });
export const write = (method, where, body, signal) => json(method, where, { body, signal });

/** One page of a list: `{rows, next}`, where `next` is the key of the page after it, or null. */
export async function page(where, query, signal) {
  const response = await send('GET', url(where, query), { signal });
  return { rows: (await response.json()) ?? [], next: response.headers.get('x-soracom-next-key') };
}

/** A whole list, as far as `PAGES_MAX` pages reach: `{rows, more}`. */
export async function all(where, query, signal) {
  const rows = [];
  let next = null;
  for (let count = 0; count < PAGES_MAX; count += 1) {
    const one = await page(where, { limit: 100, ...query, last_evaluated_key: next }, signal);
    rows.push(...one.rows);
    next = one.next;
    if (!next) break;
  }
  return { rows, more: Boolean(next) };
}

/** A file as it is. Its address may name another host than the one that this page came from: only its path is used. */
export async function file(address) {
  const { pathname, search } = new URL(address, location.href);
  return (await send('GET', pathname + search)).blob();
}

export async function signIn(credentials) {
  const answer = await json('POST', '/v1/auth', { body: credentials });
  const who = credentials.email ?? credentials.authKeyId;
  sessionStorage.setItem(KEY, JSON.stringify({ ...answer, who }));
}

export async function signOut() {
  await json('POST', '/v1/auth/logout').catch(() => {});
  sessionStorage.removeItem(KEY);
}

/** Server-sent events until the engine ends them or `signal` does. EventSource cannot send the headers that this needs. */
export async function events(where, query, signal, listener) {
  const response = await send('GET', url(where, query), { signal, accept: 'text/event-stream' });
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = '';
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    rest += value.replaceAll('\r', '');
    const blocks = rest.split('\n\n');
    rest = blocks.pop();
    if (rest.length > EVENT_BYTES_MAX) throw new Refusal(0, 'event', 'an event without an end');
    for (const block of blocks) deliver(block, listener);
  }
}

function deliver(block, listener) {
  let name = 'message';
  const data = [];
  for (const line of block.split('\n')) {
    const [field, ...more] = line.split(':');
    const text = more.join(':').replace(/^ /, '');
    if (field === 'event') name = text;
    else if (field === 'data') data.push(text);
  }
  if (data.length > 0) listener(name, JSON.parse(data.join('\n')));
}
