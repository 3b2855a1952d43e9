// Fields: each with its label, help and error, tied together for those who do not see them.

import { h, newId, show } from './dom.js';
import { t } from './i18n.js';

/** Wraps a control. Answers an element with `value` (read and write), `refuse(text)` and `control`. */
function field(control, { label, help, kind = '', after }) {
  const id = newId('field');
  const helpId = `${id}-help`;
  const errorId = `${id}-error`;
  const error = h('p', { class: 'error', id: errorId, lang: 'en' });
  control.id = id;
  control.setAttribute('aria-describedby', help ? `${helpId} ${errorId}` : errorId);
  const name = h('label', { for: id }, label);
  const explained = help && h('p', { class: 'help', id: helpId }, help);
  const rows = kind === 'switch'
    ? [h('div', { class: 'switch-row' }, control, name), explained, error]
    : [name, control, after, explained, error];
  const element = h('div', { class: `field ${kind}` }, rows);
  element.control = control;
  element.refuse = (text) => {
    show(error, text ?? '');
    if (text) control.setAttribute('aria-invalid', 'true');
    else control.removeAttribute('aria-invalid');
  };
  Object.defineProperty(element, 'value', {
    get: () => (control.type === 'checkbox' ? control.checked : control.value),
    set: (value) => {
      if (control.type === 'checkbox') control.checked = Boolean(value);
      else control.value = value ?? '';
    },
  });
  return element;
}

/** A line of text. `choices` (of `[value, text]`) are offered and not imposed. */
export function text(props) {
  const { value = '', choices, type = 'text', label: _, help: __, kind: ___, ...more } = props;
  const list = choices && h('datalist', { id: newId('choices') }, choices.map(([choice, said]) => h('option', { value: choice }, said)));
  const control = h('input', { type, autocomplete: 'off', spellcheck: 'false', autocapitalize: 'off', list: list?.id, value, ...more });
  const element = field(control, { ...props, after: list });
  element.offer = (offered) => show(list, offered.map(([choice, said]) => h('option', { value: choice }, said)));
  return element;
}

export function area(props) {
  const { value = '', rows = 6, label: _, help: __, ...more } = props;
  return field(h('textarea', { rows, spellcheck: 'false', autocomplete: 'off', autocapitalize: 'off', class: 'mono', value, ...more }), props);
}

export function toggle(props) {
  const element = field(h('input', { type: 'checkbox', role: 'switch', onchange: props.onchange, name: props.name }), { ...props, kind: 'switch' });
  element.value = props.value;
  return element;
}

/** One of several, as a list that opens. `options`: `[value, text]`. */
export function select(props) {
  const control = h('select', { onchange: props.onchange, name: props.name },
    props.options.map(([value, said]) => h('option', { value, selected: String(value) === String(props.value ?? '') }, said)));
  return field(control, props);
}

/** One of a few, all of them seen. `options`: `[value, text, help]`. */
export function radios({ legend, name, options, value, onchange, kind = '' }) {
  const group = newId(name);
  const inputs = options.map(([choice, said, help]) => {
    const id = newId('radio');
    const input = h('input', { type: 'radio', name: group, id, value: choice, onchange, 'aria-describedby': help ? `${id}-help` : null });
    input.checked = choice === value;
    return [input, h('label', { class: 'choice', for: id }, input, h('span', { class: 'choice-name' }, said),
      help && h('span', { class: 'help', id: `${id}-help` }, help))];
  });
  const element = h('fieldset', { class: `radios ${kind}` }, h('legend', {}, legend), h('div', {}, inputs.map(([, label]) => label)));
  Object.defineProperty(element, 'value', {
    get: () => inputs.find(([input]) => input.checked)?.[0].value,
    set: (next) => inputs.forEach(([input]) => { input.checked = input.value === next; }),
  });
  return element;
}

/** Names and values, as many as the reader likes. Answers an element with `value`, an object. */
export function tagEditor(tags) {
  const rows = h('div', { class: 'tag-rows' });
  const add = (name = '', value = '') => {
    const row = h('div', { class: 'tag-row' },
      h('input', { value: name, 'aria-label': t('tags.name'), placeholder: t('tags.name'), autocomplete: 'off' }),
      h('input', { value, 'aria-label': t('tags.value'), placeholder: t('tags.value'), autocomplete: 'off' }),
      h('button', { type: 'button', class: 'plain', 'aria-label': t('remove'), onclick: () => row.remove() }, '×'));
    rows.append(row);
    return row;
  };
  Object.entries(tags ?? {}).forEach(([name, value]) => add(name, value));
  const element = h('fieldset', { class: 'tags' }, h('legend', {}, t('tags')), rows,
    h('button', { type: 'button', onclick: () => add().firstElementChild.focus() }, t('tags.add')));
  Object.defineProperty(element, 'value', {
    get: () => Object.fromEntries([...rows.children]
      .map((row) => [...row.querySelectorAll('input')].map((input) => input.value))
      .filter(([name]) => name.trim() !== '').map(([name, value]) => [name.trim(), value])),
  });
  return element;
}
