// Dialogs that make or change a SIM, and that lend it an address.

import { path, write } from '../api.js';
import { groupChoices, simImsi } from '../fleet.js';
import { select, tagEditor, text } from '../forms.js';
import { t } from '../i18n.js';
import { dialog, note } from '../ui.js';

const words = (typed) => typed.split(/[\s,]+/).filter(Boolean);

/** Makes a SIM, or replaces the one that is given. Resolves to it. */
export async function editSim(sim, signal) {
  const { choices } = await groupChoices(signal);
  const held = sim.sessionStatus ?? {};
  const simId = text({ label: t('simId'), help: t('sim.id.help'), name: 'simId', inputmode: 'numeric', value: sim.simId ?? '', readonly: Boolean(sim.simId) });
  const imsi = text({ label: t('imsi'), help: t('sim.imsi.help'), name: 'imsi', inputmode: 'numeric', value: simImsi(sim) });
  const imei = text({ label: t('optional', { name: 'IMEI' }), name: 'imei', inputmode: 'numeric', value: held.imei ?? sim.imei ?? '' });
  const group = select({ label: t('group'), name: 'groupId', options: choices, value: sim.groupId ?? '' });
  const network = text({ label: t('optional', { name: t('network') }), help: t('network.help'), name: 'network', value: sim.network ?? held.network ?? '' });
  const addresses = text({ label: t('optional', { name: t('sim.addresses') }), help: t('sim.addresses.help'), name: 'ips',
    value: (sim.ips ?? [sim.ip ?? held.ueIpAddress]).filter(Boolean).join(' ') });
  const tags = tagEditor(sim.tags ?? { name: '' });
  return dialog({
    wide: true, title: sim.simId ? t('sim.edit') : t('sim.create'), content: [simId, imsi, imei, group, network, addresses, tags],
    save: () => {
      const ips = words(addresses.value);
      const body = { simId: simId.value.trim(), imsi: imsi.value.trim(), tags: tags.value };
      if (imei.value.trim() !== '') body.imei = imei.value.trim();
      if (group.value !== '') body.groupId = group.value;
      if (network.value.trim() !== '') body.network = network.value.trim();
      if (ips.length === 1) [body.ip] = ips;
      else if (ips.length > 1) body.ips = ips;
      return write('PUT', '/ringbeam/v1/sims', body);
    },
  });
}

/** Lends a SIM an address. Resolves to the SIM. */
export function bindSession(sim) {
  const held = sim.sessionStatus ?? {};
  const network = text({ label: t('network'), help: t('network.help'), name: 'network', value: sim.network ?? held.network ?? 'default' });
  const ip = text({ label: t('sim.address'), name: 'ip', value: '' });
  const imei = text({ label: t('optional', { name: 'IMEI' }), name: 'imei', inputmode: 'numeric', value: held.imei ?? '' });
  return dialog({
    title: t('sim.bind'), content: [note(t('sim.bind.help')), network, ip, imei], saveText: t('sim.bind'),
    save: () => {
      const body = { network: network.value.trim(), ip: ip.value.trim(), imsi: simImsi(sim) };
      if (imei.value.trim() !== '') body.imei = imei.value.trim();
      return write('PUT', path('ringbeam', 'v1', 'sims', sim.simId, 'session'), body);
    },
  });
}
