// Usage: messages as they are billed, by period; each leg counts by itself (B-BILL-1).

import { file, path, read, session, write } from '../api.js';
import { barChart } from '../charts.js';
import { download, h } from '../dom.js';
import { select, text } from '../forms.js';
import { bucket, number, t } from '../i18n.js';
import { attempt, button, loading, mono, section, table } from '../ui.js';

const DAY = 86_400;
/** How far back each period looks at first, in seconds. */
const REACH = { month: 365 * DAY, day: 30 * DAY, minutes: 6 * 3600 };
const FIRST = ['inMqtt', 'outMqtt', 'outMqtts'];
const TOP = 20;

const count = (row, kind) => row.beamStatsMap?.[kind]?.count ?? 0;
const total = (row) => Object.values(row.beamStatsMap ?? {}).reduce((sum, { count: one }) => sum + one, 0);

/** Kinds of figures that occur, the MQTT ones first. */
function kindsOf(rows) {
  const seen = new Set(rows.flatMap((row) => Object.keys(row.beamStatsMap ?? {})));
  const known = FIRST.filter((kind) => seen.has(kind));
  return [...known, ...[...seen].filter((kind) => !FIRST.includes(kind)).sort()];
}
const kindName = (kind) => (FIRST.includes(kind) ? t(`stats.${kind}`) : kind);

/** A moment as fields of date and time want it, in the reader's zone. */
function fieldTime(seconds) {
  const date = new Date(seconds * 1000);
  return new Date(date.getTime() - date.getTimezoneOffset() * 60_000).toISOString().slice(0, 16);
}

function drawTotals(rows, period) {
  const sorted = [...rows].sort((a, b) => a.unixtime - b.unixtime);
  const kinds = kindsOf(sorted);
  const columns = [
    { title: t('period'), head: true, cell: (row) => bucket(row.unixtime, period) },
    ...kinds.map((kind) => ({ title: kindName(kind), numeric: true, cell: (row) => number(count(row, kind)) })),
    { title: t('stats.total'), numeric: true, cell: (row) => number(total(row)) },
  ];
  return [
    sorted.length > 0 && barChart({ title: t('usage.chart'), name: 'usage', series: kinds, label: kindName,
      rows: sorted.map((row) => ({ title: bucket(row.unixtime, period), values: Object.fromEntries(kinds.map((kind) => [kind, count(row, kind)])) })) }),
    table(t('usage.totals'), columns, [...sorted].reverse(), { empty: t('usage.empty') }),
  ];
}

/** Figures with what chooses them. `load(query)` resolves to `{total, sims}`; `acts(query)` are more buttons. */
export function figures(signal, load, acts = () => []) {
  const period = select({ label: t('period'), name: 'period', value: 'day', options: Object.keys(REACH).map((name) => [name, t(`period.${name}`)]) });
  const from = text({ label: t('from'), name: 'from', type: 'datetime-local' });
  const to = text({ label: t('to'), name: 'to', type: 'datetime-local' });
  const reach = () => {
    const now = Math.floor(Date.now() / 1000);
    from.value = fieldTime(now - REACH[period.value]);
    to.value = fieldTime(now);
  };
  reach();
  period.control.addEventListener('change', () => {
    reach();
    list.reload();
  });
  // The minute that `to` names counts whole, as far as it is over.
  const query = () => ({
    period: period.value, from: Math.floor(Date.parse(from.value) / 1000),
    to: Math.min(Math.floor(Date.now() / 1000), Math.floor(Date.parse(to.value) / 1000) + 59),
  });
  const list = loading(signal, async () => {
    const wanted = query();
    const found = await load(wanted);
    return [
      h('div', { class: 'stack', 'data-usage': (found.total ?? []).reduce((sum, row) => sum + total(row), 0) }, drawTotals(found.total ?? [], wanted.period)),
      found.platforms && table(t('usage.platforms'), [
        { title: t('version'), head: true, cell: ([version]) => version },
        ...kindsOf(Object.values(found.platforms).map((map) => ({ beamStatsMap: map }))).map((kind) =>
          ({ title: kindName(kind), numeric: true, cell: ([, map]) => number(map[kind]?.count ?? 0) })),
        { title: t('stats.total'), numeric: true, cell: ([, map]) => number(total({ beamStatsMap: map })) },
      ], Object.entries(found.platforms).reverse()),
      found.sims && section(t('usage.top'), table(t('usage.top'), [
        { title: t('imsi'), head: true, cell: (sim) => mono(sim.imsi) },
        ...kindsOf(found.sims).map((kind) => ({ title: kindName(kind), numeric: true, cell: (sim) => number(count(sim, kind)) })),
        { title: t('stats.total'), numeric: true, cell: (sim) => number(total(sim)) },
        { title: t('actions'), cell: (sim) => h('a', { class: 'button', href: `#/sims?by=imsi&q=${encodeURIComponent(sim.imsi)}`,
          'aria-label': `${t('sim')} ${sim.imsi}` }, t('sim')) },
      ], found.sims, { empty: t('usage.empty') })),
    ];
  });
  const form = h('form', { class: 'filters', onsubmit: (event) => {
    event.preventDefault();
    list.reload();
  } }, period, from, to, h('div', { class: 'actions' }, button(t('show'), null, { type: 'submit' }), acts(query)));
  return h('div', { class: 'stack' }, form, list);
}

async function save({ period, from, to }) {
  const where = `${path('v1', 'stats', 'beam', 'operators', session().operatorId, 'export')}?export_mode=sync`;
  const { url } = await write('POST', where, { period, from, to });
  download(`ringbeam-${period}-${new Date().toISOString().slice(0, 10)}.csv`, await file(url));
}

export default function view({ signal }) {
  return [
    h('h1', {}, t('menu.usage')), h('p', { class: 'lead' }, t('usage.lead')),
    section(t('usage.totals'), figures(signal, (query) => read('/ringbeam/v1/usage', { ...query, limit: TOP }, signal),
      (query) => button(t('usage.export'), () => attempt(() => save(query()), t('usage.exported'))))),
  ];
}
