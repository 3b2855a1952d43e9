// Node: this process, what it was told, and who did what to it.

import { page, read, write } from '../api.js';
import { download, h } from '../dom.js';
import { ago, moment, number, t } from '../i18n.js';
import { attempt, badge, button, confirm, dialog, facts, loading, meter, mono, note, pages, say, section, table } from '../ui.js';

const FLEET_BYTES_MAX = 64 * 1024 * 1024;

function about(node) {
  return section(t('node.about'), facts([
    [t('node.version'), mono(node.version)], [t('node.started'), `${moment(node.startedTime)} (${ago(node.startedTime)})`],
    [t('node.operator'), mono(node.operatorId)], [t('node.registry'), node.registry?.kind],
    [t('node.state'), node.draining ? badge(t('node.draining'), 'warn') : badge(t('node.serving'), 'good')],
  ]));
}

function capacity(node) {
  const shards = node.shards ?? [];
  return section(t('node.capacity'),
    h('p', {}, t('node.sessions', { now: node.sessions ?? 0, max: node.sessionsMax ?? 0 })),
    meter(t('node.capacity'), node.sessions ?? 0, node.sessionsMax ?? 0),
    table(t('node.shards'), [
      { title: t('node.shard'), head: true, cell: (shard) => number(shard.index) },
      { title: t('live.sessionsShort'), numeric: true, cell: (shard) => number(shard.sessions ?? 0) },
      { title: t('live.connections'), numeric: true, cell: (shard) => number(shard.connections ?? 0) },
    ], shards));
}

async function reload(refresh) {
  const { result } = await attempt(() => write('POST', '/ringbeam/v1/reload'));
  if (result === undefined) return;
  refresh();
  say(t('node.reloaded', { count: result?.groups ?? 0 }));
}

async function drain(refresh) {
  if (!(await confirm(t('node.drain'), t('node.drain.sure'), t('node.drain')))) return;
  const { error } = await attempt(() => write('POST', '/ringbeam/v1/drain'), t('node.drained'));
  if (!error) refresh();
}

async function save() {
  const fleet = await read('/ringbeam/v1/fleet');
  download('fleet.json', `${JSON.stringify(fleet, null, 2)}\n`, 'application/json');
}

async function replace(refresh) {
  const file = h('input', { type: 'file', accept: '.json,application/json', 'aria-label': t('node.fleet.file') });
  const result = await dialog({
    title: t('node.fleet.replace'), content: [note(t('node.fleet.sure'), 'warn'), file], saveText: t('node.fleet.replace'), kind: 'danger',
    save: async () => {
      const [chosen] = file.files;
      if (!chosen) throw Object.assign(new Error(), { lines: [t('node.fleet.file')] });
      if (chosen.size > FLEET_BYTES_MAX) throw Object.assign(new Error(), { lines: [t('cred.tooLarge')] });
      return write('PUT', '/ringbeam/v1/fleet', JSON.parse(await chosen.text()));
    },
  });
  if (!result) return;
  refresh();
  say(t('node.fleet.done', { groups: result.groups ?? 0, sims: result.sims ?? 0, ranges: result.simRanges ?? 0 }));
}

/** A configuration as names and values: what is nested has its path. */
function flat(value, path = '') {
  if (value === null || typeof value !== 'object') return [[path, value]];
  const entries = Array.isArray(value) ? value.map((one, index) => [`${path}[${index}]`, one])
    : Object.entries(value).map(([key, one]) => [path ? `${path}.${key}` : key, one]);
  return entries.length === 0 ? [[path, Array.isArray(value) ? '[]' : '{}']] : entries.flatMap(([name, one]) => flat(one, name));
}

const configuration = (signal) => loading(signal, async () => {
  const rows = flat(await read('/ringbeam/v1/config', {}, signal));
  return table(t('node.config'), [
    { title: t('preview.key'), head: true, cell: ([name]) => mono(name) },
    { title: t('tags.value'), cell: ([, value]) => mono(String(value)) },
  ], rows);
});

/** Whatever a detail is; often there is none. */
const text = (detail) => (detail === undefined || detail === null ? '–' : typeof detail === 'string' ? detail : JSON.stringify(detail));

const audit = (signal) => pages(signal,
  (key) => page('/ringbeam/v1/audit', { limit: 50, last_evaluated_key: key }, signal),
  (rows) => table(t('node.audit'), [
    { title: t('time'), head: true, cell: (entry) => moment(entry.time) },
    { title: t('node.who'), cell: (entry) => entry.user ?? '–' },
    { title: t('node.action'), cell: (entry) => mono(entry.action) },
    { title: t('node.resource'), cell: (entry) => mono(entry.resource) },
    rows.some((entry) => entry.detail) && { title: t('node.detail'), cell: (entry) => h('span', { class: 'said' }, text(entry.detail)) },
  ].filter(Boolean), rows));

export default function view({ signal, refresh }) {
  return [
    h('div', { class: 'title' }, h('h1', {}, t('menu.node')), h('div', { class: 'actions' },
      button(t('node.reload'), () => reload(refresh)), button(t('node.drain'), () => drain(refresh), { kind: 'danger' }))),
    loading(signal, async () => {
      const node = await read('/ringbeam/v1/node', {}, signal);
      return h('div', { class: 'halves' }, about(node), capacity(node));
    }),
    section(t('node.fleet'), h('p', { class: 'help' }, t('node.fleet.help')), h('div', { class: 'actions' },
      button(t('node.fleet.save'), () => attempt(save)), button(t('node.fleet.replace'), () => replace(refresh)))),
    section(t('node.audit'), audit(signal)),
    h('details', { class: 'card' }, h('summary', {}, t('node.config')), h('p', { class: 'help' }, t('node.config.help')), configuration(signal)),
    h('p', { class: 'help' }, t('node.links'), ' ', ['/metrics', '/openapi.json', '/healthz', '/readyz'].map((link) => [h('a', { href: link }, link), ' '])),
  ];
}
