// Groups, SIMs and credentials as the views need them.

import { all, page, path, write } from './api.js';
import { t } from './i18n.js';

/** The namespace and key under which a group holds its entry point. */
export const NAMESPACE = 'SoracomBeam';
export const ENTRY_POINT = 'mqtt://beam.soracom.io:1883';
/** What the engine shows in the place of a secret; sent back, it keeps what is stored. */
export const MASK = '********';

export const entryPoint = (group) => group.configuration?.[NAMESPACE]?.[ENTRY_POINT];
export const groupName = (group) => group.tags?.name || group.groupId;
export const simName = (sim) => sim.tags?.name ?? '';

/** The IMSI that a SIM is known by. */
export function simImsi(sim) {
  const profile = sim.profiles?.[sim.activeProfileId] ?? Object.values(sim.profiles ?? {})[0];
  return profile?.primaryImsi ?? Object.keys(profile?.subscribers ?? {})[0] ?? sim.imsi ?? sim.sessionStatus?.imsi ?? '';
}

export const groups = (signal) => all('/v1/groups', {}, signal);

/** Groups by id, and as choices of a list. */
export async function groupChoices(signal) {
  const { rows } = await groups(signal);
  const named = rows.map((group) => [group.groupId, groupName(group)]);
  named.sort(([, a], [, b]) => a.localeCompare(b));
  return { names: new Map(named), choices: [['', t('group.none')], ...named] };
}

export const credentials = (signal) => all('/v1/credentials', {}, signal);

/** SIMs whose name or IMSI has `text` in it, a few. Searching takes two characters. */
export async function findSims(text, query, signal) {
  const wanted = text.trim();
  if (wanted.length < 2) return (await page('/v1/query/sims', { limit: 20, ...query }, signal)).rows;
  const field = /^\d+$/.test(wanted) ? 'imsi' : 'name';
  return (await page('/v1/query/sims', { limit: 20, ...query, [field]: wanted }, signal)).rows;
}

/** SIMs as choices of a field that holds an IMSI. */
export const simChoices = (sims) => sims.map((sim) => [simImsi(sim), simName(sim) || sim.simId]);

/** Makes the tags of a group or SIM what `after` says. */
export async function writeTags(kind, id, before, after) {
  const changed = Object.entries(after).filter(([name, value]) => before?.[name] !== value);
  if (changed.length > 0) {
    await write('PUT', path('v1', kind, id, 'tags'), changed.map(([tagName, tagValue]) => ({ tagName, tagValue })));
  }
  for (const name of Object.keys(before ?? {})) {
    if (!(name in after)) await write('DELETE', path('v1', kind, id, 'tags', name));
  }
}
