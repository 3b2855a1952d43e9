// Parts that every view is made of: messages, dialogs, tables, states, pages of a list.

import { h, newId, show } from './dom.js';
import { number, t } from './i18n.js';

const MESSAGE_MS = 5000;
const said = h('div', { class: 'messages', role: 'status', 'aria-live': 'polite' });
const alarmed = h('div', { class: 'messages alarms', role: 'alert' });
/** Where messages appear; one for each urgency, there from the start so that screen readers watch it. */
export const messages = h('div', { class: 'message-corner' }, said, alarmed);

/** Says something once. */
export function say(text, kind = 'done') {
  const close = h('button', { type: 'button', class: 'plain', 'aria-label': t('close') }, '×');
  const message = h('div', { class: `message ${kind}` }, h('p', {}, text), close);
  close.addEventListener('click', () => message.remove());
  const corner = kind === 'failed' ? alarmed : said;
  while (corner.childElementCount >= 2) corner.firstElementChild.remove();
  corner.append(message);
  if (kind !== 'failed') setTimeout(() => message.remove(), MESSAGE_MS);
}

/** What a failure is called. */
export function describe(error) {
  if (error.status === 0) return t('error.offline');
  if (error.status === 429) return t('error.often', { seconds: error.retryAfter ?? 60 });
  return error.message || t('error.unknown');
}

/** Runs an action of the reader's, and says how it ended. */
export async function attempt(action, done) {
  try {
    const result = await action();
    if (done) say(done);
    return { result };
  } catch (error) {
    if (error.name === 'AbortError') return { error };
    if (error.status !== 401) say(describe(error), 'failed');
    return { error };
  }
}

/** A button. `kind`: primary, danger, plain, or none. */
export function button(text, onclick, { kind = '', type = 'button', ...more } = {}) {
  return h('button', { type, class: kind, onclick, ...more }, text);
}

/** The engine's own words, which are English whatever the page speaks. */
export const problems = (lines) =>
  h('ul', { class: 'problems', lang: 'en' }, lines.map((line) => h('li', {}, line)));

export const badge = (text, kind = '') => h('span', { class: `badge ${kind}` }, text);
export const mono = (text) => h('span', { class: 'mono' }, text ?? '–');
export const note = (text, kind = '') => h('p', { class: `note ${kind}` }, text);

/** A dialog with a form. `save` returns once all is well; what it throws is shown inside. `content` is called with
 * the function that closes. Resolves to what `save` returned, or undefined. */
export function dialog({ title, content, save, saveText, kind = 'primary', wide = false }) {
  return new Promise((resolve) => {
    const heading = newId('dialog');
    const refusal = h('div', { role: 'alert' });
    let outcome;
    const box = h('dialog', { class: wide ? 'wide' : '', 'aria-labelledby': heading });
    const close = () => box.close();
    const submit = save && button(saveText ?? t('save'), null, { kind, type: 'submit' });
    const form = h('form', { novalidate: true, onsubmit: async (event) => {
      event.preventDefault();
      if (!save) return close();
      submit.disabled = true;
      try {
        outcome = await save();
        close();
      } catch (error) {
        show(refusal, h('div', { class: 'note failed' }, problems(error.lines ?? [describe(error)])));
        refusal.scrollIntoView({ block: 'nearest' });
        if (error.status === 401) close();
      } finally {
        submit.disabled = false;
      }
    } },
    h('h2', { id: heading }, title), content, refusal,
    h('div', { class: 'actions' }, submit, button(save ? t('cancel') : t('close'), close, { autofocus: kind === 'danger' })));
    box.append(form);
    box.addEventListener('close', () => {
      box.remove();
      resolve(outcome);
    });
    document.body.append(box);
    box.showModal();
  });
}

/** Asks before something that cannot be undone. */
export async function confirm(title, text, yes) {
  return (await dialog({ title, content: h('p', {}, text), save: async () => true, saveText: yes, kind: 'danger' })) === true;
}

/** A table. `columns`: `{title, cell(row), numeric, head}`; a column with `head` names its row. */
export function table(caption, columns, rows, { empty = t('empty'), key } = {}) {
  if (rows.length === 0) return h('p', { class: 'empty' }, empty);
  // Where there is little room rows are drawn as cards, which takes a table's roles away in some browsers: they are said again.
  const cell = (column, row) => h(column.head ? 'th' : 'td', {
    scope: column.head ? 'row' : null, role: column.head ? 'rowheader' : 'cell', class: column.numeric ? 'numeric' : null, 'data-title': column.title,
  }, column.cell(row));
  const place = h('div', { class: 'scroll' },
    h('table', { role: 'table' },
      h('caption', { class: 'unseen' }, caption),
      h('thead', { role: 'rowgroup' }, h('tr', { role: 'row' }, columns.map((column) =>
        h(column.title ? 'th' : 'td', { scope: column.title ? 'col' : null, role: column.title ? 'columnheader' : 'cell', class: column.numeric ? 'numeric' : null }, column.title)))),
      h('tbody', { role: 'rowgroup' }, rows.map((row) => h('tr', { role: 'row', 'data-key': key?.(row) }, columns.map((column) => cell(column, row)))))));
  reachable(place, caption);
  return place;
}

/** What is wider than its place can be scrolled by keyboard; what is not is no stop on the way. */
function reachable(place, label) {
  new ResizeObserver(() => {
    const isWide = place.scrollWidth > place.clientWidth + 1;
    const attributes = isWide ? { tabindex: 0, role: 'region', 'aria-label': label } : {};
    for (const name of ['tabindex', 'role', 'aria-label']) {
      if (name in attributes) place.setAttribute(name, attributes[name]);
      else place.removeAttribute(name);
    }
  }).observe(place);
}

/** Names and their values. */
export const facts = (pairs) => h('dl', { class: 'facts' },
  pairs.filter(Boolean).map(([name, value]) => h('div', {}, h('dt', {}, name), h('dd', {}, value ?? '–'))));

/** A part of a page with its heading. */
export function section(title, ...children) {
  const id = newId('section');
  return h('section', { class: 'card', 'aria-labelledby': id }, h('h2', { id }, title), children);
}

/** A part that reads what it shows: `load(signal)` resolves to its children. Answers an element with `reload`. */
export function loading(signal, load) {
  const place = h('div', { class: 'loading', 'aria-busy': 'true' }, h('p', { class: 'empty' }, t('loading')));
  place.reload = async () => {
    place.setAttribute('aria-busy', 'true');
    try {
      show(place, await load(signal));
    } catch (error) {
      if (error.name === 'AbortError' || error.status === 401) return;
      show(place, h('p', { class: 'note failed', role: 'alert' }, describe(error)), button(t('again'), place.reload));
    }
    place.setAttribute('aria-busy', 'false');
  };
  place.reload();
  return place;
}

/** Pages of a list, forward and back. `load(key)` resolves to `{rows, next}`, `draw(rows)` to an element. */
export function pages(signal, load, draw) {
  const before = [];
  let key = null;
  const place = loading(signal, async () => {
    const { rows, next } = await load(key, signal);
    const turn = (change) => () => {
      change();
      place.reload();
    };
    const back = button(t('page.back'), turn(() => { key = before.pop() ?? null; }), { disabled: before.length === 0 });
    const on = button(t('page.on'), turn(() => { before.push(key); key = next; }), { disabled: !next });
    return [draw(rows), (next || before.length > 0) && h('nav', { class: 'pages', 'aria-label': t('page') },
      back, h('span', {}, t('page.number', { number: before.length + 1 })), on)];
  });
  place.first = () => {
    before.length = 0;
    key = null;
    place.reload();
  };
  return place;
}

/** Tabs as links: each has an address of its own. */
export const tabs = (label, entries, chosen) => h('nav', { class: 'tabs', 'aria-label': label },
  entries.map(([name, text, href]) => h('a', { href, 'aria-current': name === chosen ? 'page' : null }, text)));

/** How full something is. What fills up warns near its end; a mere comparison, with `calm`, does not. */
export function meter(label, value, max, calm = false) {
  const share = max > 0 ? Math.min(1, value / max) : 0;
  return h('div', { class: 'meter', role: 'meter', 'aria-label': label, 'aria-valuemin': 0, 'aria-valuemax': max, 'aria-valuenow': value,
    'aria-valuetext': `${number(value)} / ${number(max)}` },
  h('div', { class: share > 0.9 && !calm ? 'full' : '', style: { width: `${(share * 100).toFixed(1)}%` } }));
}
