// SIMs: found by name, number or group, a page at a time; several may be put into a group at once.

import { page, path } from '../api.js';
import { h, show } from '../dom.js';
import { groupChoices, simImsi, simName } from '../fleet.js';
import { select, text } from '../forms.js';
import { t } from '../i18n.js';
import { attempt, badge, button, dialog, mono, pages, say, table } from '../ui.js';
import { editSim, setGroup } from './sim-edit.js';

const ROWS = 50;
const SEARCHES = ['name', 'imsi', 'sim_id', 'group'];
const ANYTHING = 'any';

/** Whether a SIM has an address now, and which. */
export function online(sim) {
  const { online: is, ueIpAddress } = sim.sessionStatus ?? {};
  return is ? h('span', {}, badge(t('sim.online'), 'good'), ' ', mono(ueIpAddress)) : badge(t('sim.offline'));
}

/** SIMs as a table. `chosen`, where there is one, is the set of ids that are ticked. */
export function simTable(rows, { names = new Map(), chosen, choose } = {}) {
  const columns = [
    chosen && { title: t('choose'), cell: (sim) => h('input', { type: 'checkbox', 'aria-label': t('sim.choose', { id: simName(sim) || simImsi(sim) || sim.simId }),
      checked: chosen.has(sim.simId), onchange: (event) => choose(sim.simId, event.target.checked) }) },
    { title: t('sim'), head: true, cell: (sim) => h('a', { href: `#${path('sims', sim.simId)}` }, simName(sim) || simImsi(sim) || sim.simId) },
    { title: t('imsi'), cell: (sim) => mono(simImsi(sim)) },
    { title: t('simId'), cell: (sim) => mono(sim.simId) },
    { title: t('group'), cell: (sim) => (sim.groupId
      ? h('a', { href: `#${path('groups', sim.groupId)}` }, names.get(sim.groupId) ?? sim.groupId) : '–') },
    { title: t('session'), cell: online },
    { title: t('status'), cell: (sim) => (sim.status === 'active' || !sim.status ? t('sim.active') : badge(t(`sim.${sim.status}`), 'warn')) },
  ].filter(Boolean);
  return table(t('menu.sims'), columns, rows, { empty: t('sims.empty'), key: (sim) => sim.simId });
}

/** Asks for a group and puts SIMs into it, or out of any. */
export async function assign(ids, signal, current = '') {
  const { choices } = await groupChoices(signal);
  const group = select({ label: t('group'), name: 'group', options: choices, value: current });
  return dialog({
    title: t('sims.assign', { count: ids.length }), content: group, saveText: t('assign'),
    save: async () => {
      for (const id of ids) await setGroup(id, group.value);
      return true;
    },
  });
}

export default function view({ signal, query }) {
  const by = select({ label: t('sims.by'), name: 'by', value: query.by, options: [ANYTHING, ...SEARCHES].map((name) => [name, t(`sims.by.${name}`)]) });
  const search = text({ label: t('search'), type: 'search', name: 'search', value: query.q ?? '', help: t('sims.searchHelp') });
  const status = select({ label: t('session'), name: 'session', value: query.session,
    options: [['', t('sims.all')], ['ONLINE', t('sim.online')], ['OFFLINE', t('sim.offline')]] });
  const chosen = new Set();
  const bar = h('div', { class: 'actions', 'aria-live': 'polite' });
  const drawBar = () => show(bar, chosen.size > 0 && [h('span', {}, t('sims.chosen', { count: chosen.size })),
    button(t('sims.assignShort'), async () => {
      if (!(await assign([...chosen], signal))) return;
      say(t('sims.assigned', { count: chosen.size }));
      chosen.clear();
      drawBar();
      list.reload();
    })]);
  const choose = (id, is) => {
    if (is) chosen.add(id);
    else chosen.delete(id);
    drawBar();
  };

  let names = new Map();
  const known = groupChoices(signal).then((found) => { names = found.names; }, () => {});
  const load = async (key) => {
    await known;
    const wanted = search.value.trim();
    // Searching takes two characters; a list without a search is another, cheaper request.
    const fields = by.value === ANYTHING ? SEARCHES : [by.value];
    const filters = {
      ...(wanted.length >= 2 && Object.fromEntries(fields.map((name) => [name, wanted]))),
      ...(wanted.length >= 2 && fields.length > 1 && { search_type: 'or' }),
      ...(status.value && { session_status: status.value }),
    };
    const where = Object.keys(filters).length > 0 ? '/v1/query/sims' : '/v1/sims';
    return page(where, { ...filters, limit: ROWS, last_evaluated_key: key }, signal);
  };
  const list = pages(signal, load, (rows) => simTable(rows, { names, chosen, choose }));
  const form = h('form', { class: 'filters', role: 'search', onsubmit: (event) => {
    event.preventDefault();
    const kept = new URLSearchParams({ by: by.value, q: search.value.trim(), session: status.value });
    history.replaceState(null, '', `#/sims?${kept}`);
    list.first();
  } }, by, search, status, button(t('search'), null, { type: 'submit' }));

  const create = async () => {
    const made = await editSim({}, signal);
    if (!made) return;
    say(t('sim.saved'));
    location.hash = `#${path('sims', made.simId)}`;
  };
  const byTag = button(t('sims.chooseAll'), () => {
    document.querySelectorAll('main tbody input[type=checkbox]').forEach((box) => {
      box.checked = true;
      chosen.add(box.closest('tr').dataset.key);
    });
    drawBar();
  });
  return [
    h('div', { class: 'title' }, h('h1', {}, t('menu.sims')), button(t('sim.create'), () => attempt(create), { kind: 'primary' })),
    h('p', { class: 'lead' }, t('sims.lead')), form, h('div', { class: 'actions' }, byTag, bar), list,
  ];
}
