// Dialogs that make or change a SIM, and that lend it an address.

import { path, write } from '../api.js';
import { groupChoices, simImsi, writeTags } from '../fleet.js';
import { select, tagEditor, text } from '../forms.js';
import { t } from '../i18n.js';
import { dialog, note } from '../ui.js';

const words = (typed) => typed.split(/[\s,]+/).filter(Boolean);

/** Makes a SIM, or changes the one that is given. Resolves to it. Who a SIM is and where it may come from is written as a
 * whole, and only where it was changed: what the network has lent it is nothing to be written down. Where the engine does
 * not show a SIM whole, that part is not offered: what is not seen would be lost. */
export async function editSim(sim, signal) {
  const { choices } = await groupChoices(signal);
  const isNew = !sim.simId;
  const isWhole = isNew || 'network' in sim;
  const simId = text({ label: t('simId'), help: t('sim.id.help'), name: 'simId', inputmode: 'numeric', value: sim.simId ?? '', readonly: !isNew });
  const imsi = text({ label: t('imsi'), help: t('sim.imsi.help'), name: 'imsi', inputmode: 'numeric', value: simImsi(sim) });
  const imei = text({ label: t('optional', { name: 'IMEI' }), name: 'imei', inputmode: 'numeric', value: sim.imei ?? sim.sessionStatus?.imei ?? '' });
  const group = select({ label: t('group'), name: 'groupId', options: choices, value: sim.groupId ?? '' });
  const network = text({ label: t('optional', { name: t('network') }), help: t('network.help'), name: 'network', value: sim.network ?? '' });
  const addresses = text({ label: t('optional', { name: t('sim.addresses') }), help: t('sim.addresses.help'), name: 'ips', value: ownAddresses(sim).join(' ') });
  const tags = tagEditor(sim.tags ?? { name: '' });
  const identity = () => {
    const ips = words(addresses.value);
    const held = { simId: simId.value.trim(), imsi: imsi.value.trim() };
    if (imei.value.trim() !== '') held.imei = imei.value.trim();
    if (network.value.trim() !== '') held.network = network.value.trim();
    if (ips.length === 1) [held.ip] = ips;
    else if (ips.length > 1) held.ips = ips;
    return held;
  };
  const before = JSON.stringify(identity());
  const replace = () => write('PUT', '/ringbeam/v1/sims', {
    ...identity(), tags: tags.value,
    ...(group.value !== '' && { groupId: group.value }),
    ...(sim.status && sim.status !== 'active' && { status: sim.status }),
  });
  const change = async () => {
    if (group.value !== (sim.groupId ?? '')) await setGroup(sim.simId, group.value);
    await writeTags('sims', sim.simId, sim.tags, tags.value);
    return sim;
  };
  return dialog({
    wide: true, title: isNew ? t('sim.create') : t('sim.edit'),
    // What is changed most often comes first.
    content: isNew ? [simId, imsi, imei, group, network, addresses, tags]
      : [tags, group, isWhole && [note(t('sim.edit.whole')), simId, imsi, imei, network, addresses]],
    save: () => (isNew || JSON.stringify(identity()) !== before ? replace() : change()),
  });
}

/** Addresses that are a SIM's own. One that a session has lent it is not. */
function ownAddresses(sim) {
  if (sim.ips) return sim.ips;
  const { ueIpAddress, lastUpdatedAt } = sim.sessionStatus ?? {};
  return [sim.ip ?? (lastUpdatedAt ? null : ueIpAddress)].filter(Boolean);
}

/** Puts a SIM into a group, or out of any; one that is in none already is out. */
export async function setGroup(id, groupId) {
  if (groupId !== '') return write('POST', path('v1', 'sims', id, 'set_group'), { groupId });
  return write('POST', path('v1', 'sims', id, 'unset_group')).catch((error) => {
    if (error.status !== 404) throw error;
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
