// Entry point: between the configuration object, whose keys are the vendor's, and what the form asks.

import { ENTRY_POINT, MASK, NAMESPACE } from './fleet.js';

/** Kinds of destination, each with its switch, the key that names its credential, and that credential's type. */
export const KINDS = {
  standard: {},
  pubnub: { flag: 'usePubnub', reference: 'pubnubCredential', type: 'pubnub-credentials' },
  google: { flag: 'useGoogleIoT', reference: 'googleIoTCredential', type: 'googleIoT-credentials' },
  azure: { flag: 'useAzureIoT', reference: 'azureIoTCredential', type: 'azureIoT-credentials' },
};

/** Keys that the form writes. Everything else in an object stays as it is (B-CFG-1). */
const KNOWN = new Set([
  'name', 'enabled', 'destination', 'username', 'password', 'useClientCredentials', 'useClientCert', 'clientCerts',
  'usePubnub', 'usePubnum', 'usePubNub', 'pubnubCredential', 'useGoogleIoT', 'googleIoTCredential', 'useAzureIoT',
  'azureIoTCredential', 'addSubscriberHeader', 'replaceTopic', 'version', 'rewriteWill', 'renewUpstream', 'ringbeamLimits',
  'whenUnavailable',
]);

const isOn = (value) => value === true || value === 'true';

/** `{protocol, host, port, path}` of a destination; what is no address of a broker stays whole in `host`. */
export function parseDestination(destination) {
  const found = /^(mqtts?):\/\/(\[[^\]]*\]|[^/:?#\s]*)(?::(\d+))?([/?#].*)?$/i.exec(destination ?? '');
  if (!found) return { protocol: 'mqtts', host: destination ?? '', port: '', path: '' };
  const [, protocol, host, port = '', path = ''] = found;
  return { protocol: protocol.toLowerCase(), host, port, path };
}

export function joinDestination({ protocol, host, port, path = '' }) {
  if (host.trim() === '') return '';
  // What was pasted whole is not taken apart: the engine says what is wrong with it.
  if (host.includes('://')) return host.trim();
  return `${protocol}://${host.trim()}${port === '' ? '' : `:${port}`}${path}`;
}

export function toForm(object) {
  const held = object ?? { enabled: true };
  const kind = Object.keys(KINDS).find((name) => isOn(held[KINDS[name].flag]))
    ?? (isOn(held.usePubnum) || isOn(held.usePubNub) ? 'pubnub' : 'standard');
  return {
    name: held.name ?? '',
    enabled: isOn(held.enabled),
    kind,
    destination: parseDestination(held.destination),
    username: held.username ?? '',
    hasPassword: held.password === MASK,
    password: held.password === MASK ? '' : held.password ?? '',
    useClientCredentials: isOn(held.useClientCredentials),
    useClientCert: isOn(held.useClientCert),
    certificate: held.clientCerts?.default?.$credentialsId ?? '',
    credential: held[KINDS[kind].reference]?.$credentialsId ?? '',
    addSubscriberHeader: isOn(held.addSubscriberHeader),
    replaceTopic: isOn(held.replaceTopic),
    version: held.version ?? '201912',
    rewriteWill: isOn(held.rewriteWill),
    renewUpstream: isOn(held.renewUpstream),
    whenUnavailable: held.whenUnavailable ?? 'close',
    messagesPerSecond: held.ringbeamLimits?.messagesPerSecond ?? '',
    bytesPerSecond: held.ringbeamLimits?.bytesPerSecond ?? '',
  };
}

const count = (text) => (/^\d+$/.test(String(text)) ? Number(text) : text);

/** What holds where a key is left out. */
const DEFAULTS = {
  name: '', enabled: false, useClientCredentials: false, useClientCert: false, addSubscriberHeader: false, replaceTopic: false,
  version: '201912', rewriteWill: false, renewUpstream: false, whenUnavailable: 'close',
};
/** Ours are written only where they say something: objects stay readable to tools that know the vendor's keys alone. */
const OURS = ['rewriteWill', 'renewUpstream', 'whenUnavailable'];

/** The object that a form means. It is whole: what is left out returns to its default (B-CFG-2). A default is
 * written where it was written before, so that opening and saving changes nothing. */
export function toObject(form, before) {
  const object = Object.fromEntries(Object.entries(before ?? {}).filter(([key]) => !KNOWN.has(key)));
  const set = (key) => {
    const isWritten = before ? key in before : !OURS.includes(key);
    if (isWritten || form[key] !== DEFAULTS[key]) object[key] = form[key];
  };
  set('name');
  set('enabled');
  const destination = joinDestination(form.destination);
  if (destination !== '') object.destination = destination;
  const { flag, reference } = KINDS[form.kind];
  if (flag) {
    object[flag] = true;
    if (form.credential !== '') object[reference] = { $credentialsId: form.credential };
  } else {
    set('useClientCredentials');
    if (!form.useClientCredentials) {
      if (form.username !== '') object.username = form.username;
      if (form.password !== '') object.password = form.password;
      else if (form.hasPassword) object.password = MASK;
    }
    set('useClientCert');
    if (form.useClientCert && form.certificate !== '') object.clientCerts = { default: { $credentialsId: form.certificate } };
  }
  for (const key of ['addSubscriberHeader', 'replaceTopic', 'version', ...OURS]) set(key);
  const limits = {};
  for (const key of ['messagesPerSecond', 'bytesPerSecond']) if (form[key] !== '') limits[key] = count(form[key]);
  if (Object.keys(limits).length > 0) object.ringbeamLimits = limits;
  return object;
}

/** Whether two objects say the same, in whatever order. */
export function isSame(one, other) {
  if (one === null || other === null || typeof one !== 'object' || typeof other !== 'object') return one === other;
  const keys = Object.keys(one);
  return keys.length === Object.keys(other).length && keys.every((key) => key in other && isSame(one[key], other[key]));
}

/** A problem's line without the way to the entry point, which goes without saying beside its form. */
export const shortened = (line) => line.replace(`configuration.${NAMESPACE}["${ENTRY_POINT}"].`, '');

/** The key that a problem is about, of those that are given: the path stands before what was found. */
export function problemKey(line, keys) {
  const [place] = line.split(': found');
  return keys.find((key) => new RegExp(`(^|[^\\w])${key.replace('$', '\\$')}([^\\w]|$)`).test(place));
}

/** What becomes of a topic (B-TOP-1, B-TOP-2), to show it. */
export function rewritten(topic, { addSubscriberHeader, replaceTopic }, { imsi, simId, imei }) {
  const replaced = replaceTopic
    ? topic.replaceAll('{{imsi}}', imsi).replaceAll('{{simId}}', simId).replaceAll('{{imei}}', imei || 'unknown-imei')
    : topic;
  return addSubscriberHeader ? `${replaced}/${imsi}` : replaced;
}
