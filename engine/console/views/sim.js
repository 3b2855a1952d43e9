// One SIM: who it is, what it is doing, what it did.

import { all, page, path, read, write } from '../api.js';
import { h } from '../dom.js';
import { groupChoices, simImsi, simName } from '../fleet.js';
import { ago, moment, t } from '../i18n.js';
import { attempt, badge, button, confirm, facts, loading, mono, pages, say, section, tabs, table } from '../ui.js';
import { connectionTable } from './connections.js';
import { bindSession, editSim } from './sim-edit.js';
import { assign, online } from './sims.js';
import { figures } from './usage.js';

const PARTS = ['connections', 'traffic', 'events', 'logs', 'explain'];

function about(sim, names) {
  const held = sim.sessionStatus ?? {};
  const { name: _, ...tags } = sim.tags ?? {};
  return section(t('sim.facts'), facts([
    [t('imsi'), mono(simImsi(sim))], [t('simId'), mono(sim.simId)], ['IMEI', mono(held.imei ?? sim.imei)],
    [t('group'), sim.groupId ? h('a', { href: `#${path('groups', sim.groupId)}` }, names.get(sim.groupId) ?? sim.groupId) : t('group.none')],
    [t('session'), online(sim)], [t('sim.since'), ago(held.lastUpdatedAt)],
    [t('status'), sim.status ? t(`sim.${sim.status}`) : '–'], [t('created'), moment(sim.createdTime)],
    ...Object.entries(tags),
  ]));
}

function acts(sim, signal, refresh) {
  const id = sim.simId;
  const run = (title, action, { sure } = {}) => button(title, async () => {
    if (sure && !(await confirm(title, sure, title))) return;
    const { result, error } = await attempt(action);
    if (error || result === undefined) return;
    refresh();
    say(t('sim.saved'));
  });
  const post = (name) => () => write('POST', path('v1', 'sims', id, name));
  const isActive = sim.status === undefined || sim.status === 'active';
  return h('div', { class: 'actions' },
    h('a', { class: 'button primary', href: `#/tap?imsi=${encodeURIComponent(simImsi(sim))}` }, t('sim.tap')),
    run(t('sim.group'), () => assign([id], signal, sim.groupId)),
    run(t('sim.edit'), () => editSim(sim, signal)),
    run(t('sim.bind'), () => bindSession(sim)),
    sim.sessionStatus?.lastUpdatedAt && run(t('sim.unbind'), () => write('DELETE', path('ringbeam', 'v1', 'sims', id, 'session')), { sure: t('sim.unbind.sure') }),
    sim.sessionStatus?.online && run(t('sim.reset'), post('delete_session'), { sure: t('sim.reset.sure') }),
    run(isActive ? t('sim.deactivate') : t('sim.activate'), post(isActive ? 'deactivate' : 'activate'), { sure: isActive && t('sim.deactivate.sure') }),
    button(t('sim.delete'), async () => {
      if (!(await confirm(t('sim.delete'), t('sim.delete.sure'), t('delete')))) return;
      const { error } = await attempt(() => write('DELETE', path('ringbeam', 'v1', 'sims', id)), t('sim.deleted'));
      if (!error) location.hash = '#/sims';
    }, { kind: 'danger' }));
}

const events = (sim, signal) => pages(signal,
  (key) => page(path('v1', 'sims', sim.simId, 'events', 'sessions'), { limit: 50, last_evaluated_key: key }, signal),
  (rows) => table(t('sim.part.events'), [
    { title: t('time'), head: true, cell: (event) => moment(event.time ?? Date.parse(event.createdTime)) },
    { title: t('event'), cell: (event) => badge(t(`event.${event.event}`), { Created: 'good', Deleted: 'warn' }[event.event]) },
    { title: t('sim.address'), cell: (event) => mono(event.ueIpAddress) },
    { title: 'IMEI', cell: (event) => mono(event.imei) },
    { title: t('session'), cell: (event) => mono(event.sessionId) },
  ], rows));

/** What a log line says: its message, then whatever else it holds. */
function said(body) {
  if (typeof body === 'string') return body;
  const { message, ...more } = body ?? {};
  const plain = (value) => (typeof value === 'string' ? value : JSON.stringify(value));
  return [h('b', {}, message), ' ', h('span', { class: 'help' }, Object.entries(more).map(([name, value]) => `${name}=${plain(value)} `))];
}

const logs = (sim, signal) => pages(signal,
  (key) => page('/v1/logs', { resource_type: 'Subscriber', resource_id: simImsi(sim), limit: 50, last_evaluated_key: key }, signal),
  (rows) => table(t('sim.part.logs'), [
    { title: t('time'), head: true, cell: (entry) => moment(entry.time) },
    { title: t('level'), cell: (entry) => badge(entry.logLevel, { error: 'bad', warning: 'warn' }[entry.logLevel]) },
    { title: t('service'), cell: (entry) => entry.service ?? '–' },
    { title: t('message'), cell: (entry) => h('span', { class: 'said', lang: 'en' }, said(entry.body)) },
  ], rows));

const connections = (sim, signal) => {
  const list = loading(signal, async () => {
    const { rows } = await all('/ringbeam/v1/connections', { imsi: simImsi(sim) }, signal);
    return [connectionTable(rows, () => list.reload()), h('div', { class: 'actions' }, button(t('again'), () => list.reload()))];
  });
  return list;
};

const explain = (sim, signal) => loading(signal, async () => {
  const { text } = await read('/ringbeam/v1/explain', { imsi: simImsi(sim) }, signal);
  return [h('p', { class: 'help' }, t('explain.lead')), h('pre', { class: 'explain', lang: 'en', tabindex: 0 }, text)];
});

const traffic = (sim, signal) => figures(signal, async (query) =>
  ({ total: await read(path('v1', 'stats', 'beam', 'subscribers', simImsi(sim)), query, signal) }));

const BODIES = { connections, traffic, events, logs, explain };

export default function view({ id, tab, signal, refresh }) {
  const title = h('h1', {}, id);
  const place = loading(signal, async () => {
    const [sim, { names }] = await Promise.all([read(path('v1', 'sims', id), {}, signal), groupChoices(signal)]);
    title.textContent = simName(sim) || simImsi(sim) || id;
    document.title = `${title.textContent} · ringbeam`;
    const shown = tab in BODIES ? tab : PARTS[0];
    return [
      acts(sim, signal, refresh), about(sim, names),
      tabs(t('sim.parts'), PARTS.map((part) => [part, t(`sim.part.${part}`), `#${path('sims', id, part)}`]), shown),
      h('div', { class: 'card' }, BODIES[shown](sim, signal)),
    ];
  });
  return [h('p', { class: 'crumbs' }, h('a', { href: '#/sims' }, t('menu.sims'))), title, place];
}
