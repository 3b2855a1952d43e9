// Connections that are open now, each with a way to close it.

import { path, write } from '../api.js';
import { h } from '../dom.js';
import { ago, number, t } from '../i18n.js';
import { attempt, badge, button, confirm, mono, table } from '../ui.js';

export function connectionTable(rows, changed, { withSim = false } = {}) {
  const close = async (connection) => {
    if (!(await confirm(t('conn.close'), t('conn.close.sure', { peer: connection.peer ?? connection.id }), t('conn.close')))) return;
    const { error } = await attempt(() => write('DELETE', path('ringbeam', 'v1', 'connections', String(connection.id))), t('conn.closed'));
    if (!error) changed();
  };
  return table(t('sim.part.connections'), [
    { title: t('conn.peer'), head: true, cell: (one) => mono(one.peer) },
    withSim && { title: t('imsi'), cell: (one) => (one.simId ? h('a', { class: 'mono', href: `#${path('sims', one.simId)}` }, one.imsi) : mono(one.imsi)) },
    { title: t('conn.upstream'), cell: (one) => h('span', { title: one.upstream }, mono(one.destination ?? one.upstream), ' ', one.tls && badge('TLS', 'good')) },
    { title: t('version'), cell: (one) => one.platform },
    { title: 'MQTT', cell: (one) => one.mqttVersion },
    { title: t('conn.state'), cell: (one) => (one.established ? badge(t('conn.established'), 'good') : badge(t('conn.opening'), 'warn')) },
    { title: t('conn.opened'), cell: (one) => ago(one.openedTime) },
    { title: t('stats.in'), numeric: true, cell: (one) => number(one.inMqtt ?? 0) },
    { title: t('stats.out'), numeric: true, cell: (one) => number(one.outMqtts ?? one.outMqtt ?? 0) },
    { title: t('actions'), cell: (one) => button(t('conn.close'), () => close(one), { kind: 'danger', 'aria-label': `${t('conn.close')}: ${one.peer ?? one.id}` }) },
  ].filter(Boolean), rows, { empty: t('conn.empty') });
}
