// Groups: all of them, with what their entry points do.

import { path, write } from '../api.js';
import { h, show } from '../dom.js';
import { entryPoint, groupName, groups } from '../fleet.js';
import { tagEditor, text } from '../forms.js';
import { ago, t } from '../i18n.js';
import { badge, button, dialog, loading, mono, note, say, table } from '../ui.js';

/** What an entry point is, in a word. */
export function state(group) {
  const configured = entryPoint(group);
  if (!configured) return badge(t('entry.absent'));
  return configured.enabled === true || configured.enabled === 'true' ? badge(t('entry.on'), 'good') : badge(t('entry.off'), 'warn');
}

function destination(group) {
  const configured = entryPoint(group);
  if (!configured) return '–';
  return configured.destination || (configured.usePubnub ? 'PubNub' : '–');
}

async function create() {
  const name = text({ label: t('name'), name: 'name', required: true, maxlength: 200 });
  const tags = tagEditor({});
  const made = await dialog({
    title: t('groups.create'), content: [name, tags], saveText: t('create'),
    save: () => write('POST', '/v1/groups', { tags: { ...tags.value, name: name.value.trim() } }),
  });
  if (!made) return;
  say(t('groups.created'));
  location.hash = `#${path('groups', made.groupId)}`;
}

export default function view({ signal, query }) {
  const search = text({ label: t('search'), type: 'search', name: 'search', value: query.q ?? '', placeholder: t('groups.searchHint') });
  const place = h('div', {});
  let found = { rows: [], more: false };
  const columns = [
    { title: t('name'), head: true, cell: (group) => h('a', { href: `#${path('groups', group.groupId)}` }, groupName(group)) },
    { title: t('entry'), cell: state },
    { title: t('destination'), cell: (group) => mono(destination(group)) },
    { title: t('version'), cell: (group) => (entryPoint(group) ? entryPoint(group).version ?? '201912' : '–') },
    { title: t('group.id'), cell: (group) => mono(group.groupId) },
    { title: t('modified'), cell: (group) => ago(group.lastModifiedTime) },
  ];
  const draw = () => {
    const wanted = search.value.trim().toLowerCase();
    const rows = found.rows.filter((group) =>
      [group.groupId, destination(group), ...Object.values(group.tags ?? {})].some((held) => String(held).toLowerCase().includes(wanted)));
    rows.sort((a, b) => groupName(a).localeCompare(groupName(b)));
    show(place, table(t('menu.groups'), columns, rows, { empty: wanted ? t('nothingFound') : t('groups.empty') }),
      found.more && note(t('groups.more')));
  };
  search.control.addEventListener('input', draw);
  const list = loading(signal, async () => {
    found = await groups(signal);
    draw();
    return place;
  });
  return [
    h('div', { class: 'title' }, h('h1', {}, t('menu.groups')), button(t('groups.create'), create, { kind: 'primary' })),
    h('p', { class: 'lead' }, t('groups.lead')),
    h('div', { class: 'filters' }, search), list,
  ];
}
