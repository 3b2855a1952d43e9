// Credentials: what entry points show to destinations. A secret goes in and never comes out again.

import { path, write } from '../api.js';
import { h, show } from '../dom.js';
import { MASK, credentials } from '../fleet.js';
import { area, select, text, toggle } from '../forms.js';
import { moment, t } from '../i18n.js';
import { attempt, badge, button, confirm, dialog, loading, mono, note, say, table } from '../ui.js';

/** Fields of each type: a name, and how it is asked for. */
const TYPES = {
  x509: [['cert', 'pem'], ['key', 'pem'], ['ca', 'pem', 'optional'], ['insecureSkipVerify', 'switch', 'optional']],
  'azureIoT-credentials': [['sharedAccessKeyName', 'text'], ['sharedAccessKey', 'secret']],
  'googleIoT-credentials': [['projectId', 'text'], ['region', 'text'], ['registryId', 'text'], ['deviceId', 'text'],
    ['algorithm', 'algorithm'], ['privateKey', 'pem']],
  'pubnub-credentials': [['pubKey', 'text'], ['subKey', 'text']],
  'username-password-credentials': [['username', 'text'], ['password', 'secret']],
};
const ALGORITHMS = ['RS256', 'ES256'];
const FILE_BYTES_MAX = 256 * 1024;

/** A PEM text may also be taken from a file. */
function pem(name, props) {
  const field = area({ ...props, rows: 5, name, placeholder: '-----BEGIN …' });
  const file = h('input', { type: 'file', accept: '.pem,.crt,.cer,.key,.txt', 'aria-label': t('cred.file', { field: props.label }), onchange: async () => {
    const [chosen] = file.files;
    if (!chosen) return;
    if (chosen.size > FILE_BYTES_MAX) field.refuse(t('cred.tooLarge'));
    else field.value = await chosen.text();
  } });
  field.append(file);
  return field;
}

function fieldFor([name, kind, optional], held) {
  const title = t(`cred.field.${name}`);
  const label = optional ? t('optional', { name: title }) : title;
  const isMasked = held?.[name] === MASK;
  const help = [t(`cred.help.${name}`), isMasked && t('cred.keep')].filter(Boolean).join(' ');
  const value = isMasked ? '' : held?.[name] ?? '';
  const field = {
    pem: () => pem(name, { label, help, value }),
    secret: () => text({ label, help, name, type: 'password', autocomplete: 'new-password', value }),
    text: () => text({ label, help, name, value }),
    switch: () => toggle({ label, help, name, value: held?.[name] === true }),
    algorithm: () => select({ label, help, name, value: held?.[name] ?? ALGORITHMS[0], options: ALGORITHMS.map((algorithm) => [algorithm, algorithm]) }),
  }[kind]();
  return { name, field, optional, isMasked };
}

/** What the fields say; a secret that is left empty stays what it was. */
const valuesOf = (fields) => Object.fromEntries(fields
  .map(({ name, field, isMasked }) => [name, field.value === '' && isMasked ? MASK : field.value])
  .filter(([, value]) => value !== '' && value !== false));

async function edit(held) {
  const id = text({ label: t('cred.id'), help: t('cred.id.help'), name: 'credentialsId', value: held?.credentialsId ?? '', readonly: Boolean(held) });
  const description = text({ label: t('optional', { name: t('cred.description') }), name: 'description', value: held?.description ?? '' });
  const place = h('div', {});
  let fields = [];
  const types = Object.keys(TYPES);
  if (held && !types.includes(held.type)) types.push(held.type);
  const type = select({ label: t('cred.type'), name: 'type', value: held?.type ?? 'x509', onchange: () => arrange(),
    options: types.map((name) => [name, name in TYPES ? t(`cred.type.${name}`) : name]) });
  const arrange = () => {
    const kept = held?.type === type.value ? held.credentials : {};
    const known = TYPES[type.value] ?? Object.keys(kept).map((name) => [name, 'text']);
    fields = known.map((one) => fieldFor(one, kept));
    show(place, fields.map(({ field }) => field));
  };
  arrange();
  const saved = await dialog({
    wide: true, title: held ? t('cred.replace', { id: held.credentialsId }) : t('cred.create'), content: [note(t('cred.secret')), id, type, description, place],
    save: async () => {
      const where = path('v1', 'credentials', id.value.trim());
      id.refuse(id.value.trim() === '' ? t('required') : null);
      if (id.value.trim() === '') throw Object.assign(new Error(t('required')), { lines: [`${t('cred.id')}: ${t('required')}`] });
      const body = { type: type.value, description: description.value, credentials: valuesOf(fields) };
      await write(held ? 'PUT' : 'POST', where, body);
      return true;
    },
  });
  if (saved) say(t('cred.saved'));
  return saved;
}

async function remove(held) {
  if (!(await confirm(t('cred.delete'), t('cred.deleteText', { id: held.credentialsId }), t('delete')))) return false;
  return !(await attempt(() => write('DELETE', path('v1', 'credentials', held.credentialsId)), t('cred.deleted'))).error;
}

export default function view({ signal }) {
  const then = (action) => async () => {
    if (await action()) list.reload();
  };
  const list = loading(signal, async () => {
    const { rows, more } = await credentials(signal);
    const columns = [
      { title: t('cred.id'), head: true, cell: (held) => mono(held.credentialsId) },
      { title: t('cred.type'), cell: (held) => badge(held.type in TYPES ? t(`cred.type.${held.type}`) : held.type) },
      { title: t('cred.description'), cell: (held) => held.description || '–' },
      { title: t('modified'), cell: (held) => moment(held.updateDateTime) },
      { title: t('cred.used'), cell: (held) => moment(held.lastUsedDateTime) },
      { title: t('actions'), cell: (held) => h('div', { class: 'actions' },
        button(t('cred.replaceShort'), then(() => edit(held)), { 'aria-label': t('cred.replace', { id: held.credentialsId }) }),
        button(t('delete'), then(() => remove(held)), { kind: 'danger', 'aria-label': `${t('delete')}: ${held.credentialsId}` })) },
    ];
    return [table(t('menu.credentials'), columns, rows, { empty: t('cred.empty') }), more && note(t('groups.more'))];
  });
  return [
    h('div', { class: 'title' }, h('h1', {}, t('menu.credentials')), button(t('cred.create'), then(() => edit(null)), { kind: 'primary' })),
    h('p', { class: 'lead' }, t('cred.lead')), list,
  ];
}
