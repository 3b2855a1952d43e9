// The form of an entry point, beside it what saving would change.

import { h, show } from '../dom.js';
import { KINDS, parseDestination, problemKey, rewritten, toForm, toObject } from '../entry-model.js';
import { credentials, entryPoint } from '../fleet.js';
import { area, radios, select, text, toggle } from '../forms.js';
import { t } from '../i18n.js';
import { button, note, table } from '../ui.js';
import preview from './preview.js';

/** Which field shows a problem with a key. */
const FIELD_OF_KEY = {
  name: 'name', enabled: 'enabled', destination: 'host', username: 'username', password: 'password',
  useClientCredentials: 'useClientCredentials', useClientCert: 'useClientCert', clientCerts: 'certificate',
  usePubnub: 'credential', pubnubCredential: 'credential', useGoogleIoT: 'credential', googleIoTCredential: 'credential',
  useAzureIoT: 'credential', azureIoTCredential: 'credential', addSubscriberHeader: 'addSubscriberHeader',
  replaceTopic: 'replaceTopic', rewriteWill: 'rewriteWill', renewUpstream: 'renewUpstream', whenUnavailable: 'whenUnavailable',
  messagesPerSecond: 'messagesPerSecond', bytesPerSecond: 'bytesPerSecond',
};
/** The SIM of the example where none was chosen. */
const EXAMPLE = { imsi: '440101234567890', simId: '8981100000000000001', imei: '353456789012348' };
const TOPIC = 'sensors/{{imsi}}/temp';

const onOff = (label, name, value) => toggle({ label: t(label), help: t(`${label}.help`), name, value });

function fieldsOf(form) {
  return {
    name: text({ label: t('entry.name'), help: t('entry.name.help'), name: 'name', value: form.name }),
    enabled: onOff('entry.enabled', 'enabled', form.enabled),
    protocol: select({ label: t('entry.protocol'), name: 'protocol', value: form.destination.protocol,
      options: [['mqtts', t('entry.mqtts')], ['mqtt', t('entry.mqtt')]] }),
    host: text({ label: t('entry.host'), help: t('entry.host.help'), name: 'host', value: form.destination.host, inputmode: 'url', placeholder: 'broker.example' }),
    port: text({ label: t('entry.port'), name: 'port', value: form.destination.port, inputmode: 'numeric', pattern: '[0-9]*' }),
    useClientCredentials: onOff('entry.pass', 'useClientCredentials', form.useClientCredentials),
    username: text({ label: t('entry.username'), help: t('entry.username.help'), name: 'username', value: form.username }),
    password: text({ label: t('entry.password'), help: t(form.hasPassword ? 'entry.password.kept' : 'entry.password.help'), name: 'password', type: 'password',
      autocomplete: 'new-password', value: form.password, placeholder: form.hasPassword ? '••••••••' : '' }),
    dropPassword: form.hasPassword && toggle({ label: t('entry.password.drop'), name: 'dropPassword', value: false }),
    useClientCert: onOff('entry.cert', 'useClientCert', form.useClientCert),
    certificate: text({ label: t('entry.certId'), help: t('entry.credential.help'), name: 'certificate', value: form.certificate, choices: [] }),
    credential: text({ label: t('entry.credential'), help: t('entry.credential.help'), name: 'credential', value: form.credential, choices: [] }),
    addSubscriberHeader: onOff('entry.append', 'addSubscriberHeader', form.addSubscriberHeader),
    replaceTopic: onOff('entry.replace', 'replaceTopic', form.replaceTopic),
    rewriteWill: onOff('entry.will', 'rewriteWill', form.rewriteWill),
    renewUpstream: onOff('entry.renew', 'renewUpstream', form.renewUpstream),
    whenUnavailable: select({ label: t('entry.unavailable'), help: t('entry.unavailable.help'), name: 'whenUnavailable', value: form.whenUnavailable,
      options: [['close', t('entry.unavailable.close')], ['connack', t('entry.unavailable.connack')]] }),
    messagesPerSecond: text({ label: t('entry.messages'), help: t('entry.messages.help'), name: 'messagesPerSecond', inputmode: 'numeric',
      value: form.messagesPerSecond }),
    bytesPerSecond: text({ label: t('entry.bytes'), help: t('entry.bytes.help'), name: 'bytesPerSecond', value: form.bytesPerSecond, inputmode: 'numeric' }),
    kind: radios({ legend: t('entry.kind'), name: 'kind', value: form.kind, kind: 'cards',
      options: Object.keys(KINDS).map((kind) => [kind, t(`entry.kind.${kind}`), t(`entry.kind.${kind}.help`)]) }),
    version: radios({ legend: t('entry.version'), name: 'version', value: form.version, kind: 'cards',
      options: ['201912', '201509'].map((version) => [version, version, t(`entry.version.${version}`)]) }),
  };
}

function versions() {
  const rows = ['mqtt', 'qos', 'will', 'tls', 'billed'];
  return h('details', {}, h('summary', {}, t('entry.differences')),
    table(t('entry.differences'), [
      { title: '', head: true, cell: (row) => t(`differs.${row}`) },
      { title: '201912', cell: (row) => t(`differs.${row}.201912`) },
      { title: '201509', cell: (row) => t(`differs.${row}.201509`) },
    ], rows));
}

const part = (legend, ...children) => h('fieldset', { class: 'part' }, h('legend', {}, legend), children);

/** `remove` is there where there is something to remove. */
export default function view({ group, signal, refresh, guard, remove }) {
  const before = entryPoint(group);
  const initial = toForm(before);
  let path = initial.destination.path;
  let asText = false;
  const fields = fieldsOf(initial);
  const example = h('p', { class: 'example', 'aria-live': 'polite' });
  const standard = part(t('entry.login'), fields.useClientCredentials, h('div', { class: 'own-login' }, fields.username, fields.password, fields.dropPassword),
    fields.useClientCert, fields.certificate);
  const service = part(t('entry.login'), fields.credential, h('p', { class: 'help' }, h('a', { href: '#/credentials' }, t('entry.toCredentials'))));
  const source = area({ label: t('entry.json'), help: t('entry.json.help'), name: 'json', rows: 22 });

  const read = () => toObject({
    ...Object.fromEntries(Object.entries(fields).filter(([, field]) => field).map(([name, field]) => [name, field.value])),
    destination: { protocol: fields.protocol.value, host: fields.host.value, port: fields.port.value.trim(), path },
    hasPassword: initial.hasPassword && !fields.dropPassword.value,
  }, before);
  const current = () => {
    if (!asText) return { object: read() };
    try {
      return { object: JSON.parse(source.value) };
    } catch (error) {
      return { problems: [`${t('entry.noJson')} ${error.message}`] };
    }
  };

  const refuse = (lines) => {
    for (const field of Object.values(fields)) field?.refuse?.(null);
    for (const line of lines) {
      const key = problemKey(line, Object.keys(FIELD_OF_KEY).reverse());
      fields[FIELD_OF_KEY[key]]?.refuse?.(line);
    }
  };
  const panel = preview({ group, signal, current, refuse, refresh, before, chosen: () => changed(false) });

  const arrange = () => {
    const kind = fields.kind.value;
    const isStandard = kind === 'standard';
    standard.hidden = !isStandard;
    service.hidden = isStandard;
    fields.protocol.hidden = !isStandard;
    fields.host.hidden = kind === 'pubnub';
    fields.port.hidden = kind === 'pubnub';
    fields.port.control.placeholder = isStandard && fields.protocol.value === 'mqtt' ? '1883' : '8883';
    standard.querySelector('.own-login').hidden = fields.useClientCredentials.value;
    fields.certificate.hidden = !fields.useClientCert.value;
    const sim = panel.sim() ?? EXAMPLE;
    const switches = { addSubscriberHeader: fields.addSubscriberHeader.value, replaceTopic: fields.replaceTopic.value };
    show(example, t('entry.example'), ' ', h('code', {}, TOPIC), ' → ', h('code', {}, rewritten(TOPIC, switches, sim)));
  };
  const changed = (edited = true) => {
    arrange();
    panel.update(edited);
  };

  fields.host.control.addEventListener('input', () => {
    path = '';
    // An address that is pasted whole is taken apart.
    if (!fields.host.value.includes('://')) return;
    const pasted = parseDestination(fields.host.value.trim());
    if (pasted.host.includes('://')) return;
    fields.protocol.value = pasted.protocol;
    fields.host.value = pasted.host;
    fields.port.value = pasted.port;
  });
  fields.kind.addEventListener('input', () => {
    // A service's address is never plain MQTT (B-DST-1), and another service's credential fits none.
    if (fields.kind.value !== 'standard') fields.protocol.value = 'mqtts';
    fields.credential.value = fields.kind.value === initial.kind ? initial.credential : '';
    offer();
  });

  let known = [];
  const offer = () => {
    const choices = (type) => known.filter((held) => held.type === type).map((held) => [held.credentialsId, held.description ?? '']);
    fields.certificate.offer(choices('x509'));
    fields.credential.offer(choices(KINDS[fields.kind.value].type));
  };
  credentials(signal).then(({ rows }) => {
    known = rows;
    offer();
  }, () => {});

  const form = h('form', { class: 'entry-form', novalidate: true, oninput: () => changed(), onsubmit: (event) => {
    event.preventDefault();
    panel.save();
  } },
  part(t('entry.general'), fields.name, fields.enabled),
  part(t('entry.destination'), fields.kind, h('div', { class: 'row address' }, fields.protocol, fields.host, fields.port)),
  standard, service,
  part(t('entry.topics'), fields.addSubscriberHeader, fields.replaceTopic, fields.rewriteWill, example),
  part(t('entry.platform'), fields.version, versions()),
  part(t('entry.ours'), note(t('entry.ours.help')), fields.renewUpstream, fields.whenUnavailable, h('div', { class: 'row' }, fields.messagesPerSecond, fields.bytesPerSecond)));
  const textForm = h('form', { class: 'entry-form', hidden: true, oninput: () => changed(), onsubmit: (event) => event.preventDefault() }, source);

  const swap = button(t('entry.asJson'), () => {
    if (asText && current().problems) return source.control.focus();
    if (!asText) source.value = JSON.stringify(read(), null, 2);
    else if (JSON.stringify(current().object) !== JSON.stringify(read())) return panel.say(t('entry.saveFirst'));
    asText = !asText;
    form.hidden = asText;
    textForm.hidden = !asText;
    show(swap, t(asText ? 'entry.asForm' : 'entry.asJson'));
    changed(false);
  });
  guard(() => panel.isEdited());
  arrange();
  panel.update(false);
  return [
    !before && note(t('entry.none')),
    h('div', { class: 'actions' }, swap, remove && button(t('entry.delete'), remove, { kind: 'danger' })),
    h('div', { class: 'entry' }, h('div', {}, form, textForm), panel),
  ];
}
