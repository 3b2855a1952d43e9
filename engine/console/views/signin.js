// Sign in: with e-mail and password, or with a key.

import { signIn } from '../api.js';
import { h, show } from '../dom.js';
import { radios, text } from '../forms.js';
import { t } from '../i18n.js';
import { button, describe } from '../ui.js';

export default function view(done) {
  const refusal = h('div', { role: 'alert', class: 'refusal' });
  const email = text({ label: t('signIn.email'), type: 'email', name: 'email', autocomplete: 'username', required: true });
  const password = text({ label: t('signIn.password'), type: 'password', name: 'password', autocomplete: 'current-password', required: true });
  const keyId = text({ label: t('signIn.keyId'), name: 'authKeyId', placeholder: 'keyId-…' });
  const key = text({ label: t('signIn.key'), type: 'password', name: 'authKey', autocomplete: 'off', placeholder: 'secret-…' });
  const byPassword = h('div', {}, email, password);
  const byKey = h('div', { hidden: true }, keyId, key);
  const way = radios({
    legend: t('signIn.with'), name: 'way', kind: 'inline', value: 'password',
    options: [['password', t('signIn.byPassword')], ['key', t('signIn.byKey')]],
    onchange: () => {
      byPassword.hidden = way.value !== 'password';
      byKey.hidden = way.value !== 'key';
    },
  });
  const submit = button(t('signIn'), null, { kind: 'primary', type: 'submit' });
  const filled = (fields) => {
    fields.forEach((field) => field.refuse(field.value === '' ? t('required') : null));
    fields.find((field) => field.value === '')?.control.focus();
    return fields.every((field) => field.value !== '');
  };
  const form = h('form', { class: 'card sign-in', novalidate: true, onsubmit: async (event) => {
    event.preventDefault();
    const isKey = way.value === 'key';
    if (!filled(isKey ? [keyId, key] : [email, password])) return;
    submit.disabled = true;
    show(refusal);
    try {
      await signIn(isKey ? { authKeyId: keyId.value, authKey: key.value } : { email: email.value, password: password.value });
      done();
    } catch (error) {
      show(refusal, h('p', { class: 'note failed' }, error.status === 401 ? t('signIn.refused') : describe(error)));
      (isKey ? key : password).control.focus();
    } finally {
      submit.disabled = false;
    }
  } },
  h('h1', { tabindex: -1 }, t('signIn')), way, byPassword, byKey, refusal, submit,
  h('p', { class: 'help' }, t('signIn.help')));
  return form;
}
