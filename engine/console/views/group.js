// One group: its entry point, its SIMs, its tags.

import { page, path, read, write } from '../api.js';
import { h } from '../dom.js';
import { ENTRY_POINT, NAMESPACE, entryPoint, groupName, writeTags } from '../fleet.js';
import { tagEditor } from '../forms.js';
import { moment, t } from '../i18n.js';
import { attempt, button, confirm, dialog, facts, loading, mono, pages, say, section, tabs } from '../ui.js';
import entryForm from './entry.js';
import { state } from './groups.js';
import { simTable } from './sims.js';

/** Changes name and tags; the rest of the page, which may hold something unsaved, stays. */
async function rename(group, show) {
  const tags = tagEditor({ name: '', ...group.tags });
  const saved = await dialog({
    title: t('group.edit'), content: tags,
    save: async () => {
      await writeTags('groups', group.groupId, group.tags, tags.value);
      return true;
    },
  });
  if (!saved) return;
  group.tags = tags.value;
  show();
  say(t('group.saved'));
}

async function remove(group) {
  if (!(await confirm(t('group.delete'), t('group.deleteText', { name: groupName(group) }), t('delete')))) return;
  const { error } = await attempt(() => write('DELETE', path('v1', 'groups', group.groupId)), t('group.deleted'));
  if (!error) location.hash = '#/groups';
}

async function removeEntry(group, refresh) {
  if (!(await confirm(t('entry.delete'), t('entry.deleteText'), t('delete')))) return;
  const where = path('v1', 'groups', group.groupId, 'configuration', NAMESPACE, ENTRY_POINT);
  const { error } = await attempt(() => write('DELETE', where), t('entry.deleted'));
  if (!error) refresh();
}

function overview(group) {
  const { name: _, ...others } = group.tags ?? {};
  return section(t('group.facts'), facts([
    [t('group.id'), mono(group.groupId)],
    [t('created'), moment(group.createdTime)],
    [t('modified'), moment(group.lastModifiedTime)],
    ...Object.entries(others),
  ]));
}

export default function view({ id, tab = 'entry', signal, refresh, guard }) {
  const title = h('h1', {}, id);
  const place = loading(signal, async () => {
    const group = await read(path('v1', 'groups', id), {}, signal);
    const named = () => {
      title.textContent = groupName(group);
      document.title = `${groupName(group)} · ringbeam`;
    };
    named();
    const here = `#${path('groups', id)}`;
    const bodies = {
      entry: () => entryForm({ group, signal, refresh, guard, remove: entryPoint(group) && (() => removeEntry(group, refresh)) }),
      sims: () => pages(signal, (key) => page('/v1/query/sims', { group_id: id, limit: 50, last_evaluated_key: key }, signal),
        (rows) => simTable(rows, { names: new Map([[id, groupName(group)]]) })),
      facts: () => overview(group),
    };
    const shown = tab in bodies ? tab : 'entry';
    return [
      h('div', { class: 'actions' }, state(group), button(t('group.edit'), () => rename(group, named)),
        button(t('group.delete'), () => remove(group), { kind: 'danger' })),
      tabs(t('group.parts'), [['entry', t('entry'), here], ['sims', t('menu.sims'), `${here}/sims`], ['facts', t('group.facts'), `${here}/facts`]], shown),
      bodies[shown](),
    ];
  });
  return [h('p', { class: 'crumbs' }, h('a', { href: '#/groups' }, t('menu.groups'))), title, place];
}
