// What saving an entry point would change (B-CFG-2): every key before and after, warnings, and what a CONNECT
// of one SIM would lead to. Saving is possible only for what was shown.

import { path, write } from '../api.js';
import { debounce, h, show } from '../dom.js';
import { isSame, shortened } from '../entry-model.js';
import { ENTRY_POINT, NAMESPACE, findSims, simChoices, simImsi } from '../fleet.js';
import { text } from '../forms.js';
import { t } from '../i18n.js';
import { button, confirm, describe, mono, note, problems, say, table } from '../ui.js';

const PAUSE_MS = 350;

const isOn = (object) => object?.enabled === true || object?.enabled === 'true';

/** Answers an element with `update(edited)`, `save()`, `sim()`, `isEdited()` and `say(text)`. */
export default function view({ group, signal, current, refuse, refresh, before, chosen }) {
  const outcome = h('div', { class: 'outcome', 'aria-live': 'polite' });
  const complaint = h('div', { role: 'alert' });
  const save = button(t('entry.save'), () => element.save(), { kind: 'primary', disabled: true });
  const subject = text({ label: t('preview.sim'), help: t('preview.simHelp'), name: 'imsi', inputmode: 'numeric', placeholder: t('imsi'), choices: [] });
  let sims = [];
  let shown = null;
  let edited = false;
  let asking = new AbortController();

  const explain = (answer) => answer.explain && [h('h3', {}, t('preview.explain')), h('pre', { class: 'explain', lang: 'en', tabindex: 0 }, answer.explain)];
  const draw = (answer) => [
    answer.changes.length === 0
      ? note(t('preview.same'))
      : table(t('preview'), [
        { title: t('preview.key'), head: true, cell: (change) => mono(change.key) },
        { title: t('preview.before'), cell: (change) => h('del', { class: 'before' }, String(change.before)) },
        { title: t('preview.after'), cell: (change) => h('ins', { class: 'after' }, String(change.after), change.before === change.after && ` ${t('preview.another')}`) },
      ], answer.changes, { key: (change) => change.key }),
    (answer.warnings ?? []).length > 0 && [h('h3', {}, t('preview.warnings')), h('div', { class: 'note warn' }, problems(answer.warnings))],
    explain(answer),
  ];

  const ask = debounce(PAUSE_MS, async () => {
    asking.abort();
    asking = new AbortController();
    const { object, problems: found } = current();
    const typed = subject.value.trim();
    const imsi = element.sim() || /^\d{14,15}$/.test(typed) ? `?imsi=${encodeURIComponent(typed)}` : '';
    try {
      if (found) throw Object.assign(new Error(), { status: 400, lines: found });
      const answer = await write('POST', `${path('ringbeam', 'v1', 'groups', group.groupId, 'preview')}${imsi}`, object, asking.signal);
      shown = { object, changes: answer.changes };
      refuse([]);
      show(outcome, draw(answer));
      outcome.dataset.changes = answer.changes.length;
      save.disabled = Boolean(before) && isSame(object, before);
    } catch (error) {
      if (error.name === 'AbortError' || error.status === 401) return;
      const lines = error.status === 400 ? error.lines.map(shortened) : [describe(error)];
      refuse(lines);
      show(outcome, h('div', { class: 'note failed' }, h('p', {}, t('preview.refused')), problems(lines)));
      delete outcome.dataset.changes;
    }
    element.setAttribute('aria-busy', 'false');
  });
  signal.addEventListener('abort', () => {
    ask.cancel();
    asking.abort();
  });

  const look = debounce(PAUSE_MS, () => findSims(subject.value, { group_id: group.groupId }, signal).then((found) => {
    sims = found;
    subject.offer(simChoices(found));
    if (subject.value.trim() !== '') chosen();
  }, () => {}));
  subject.control.addEventListener('input', () => {
    if (subject.value.trim() === '') chosen();
    look();
  });
  look();

  const element = h('aside', { class: 'card preview', 'aria-label': t('preview') },
    h('h2', {}, t('preview')), h('p', { class: 'help' }, t('preview.lead')), subject, outcome, complaint,
    h('p', { class: 'help' }, t('preview.applies')), h('div', { class: 'actions' }, save));
  element.update = (isEdit) => {
    edited ||= isEdit;
    shown = null;
    save.disabled = true;
    element.setAttribute('aria-busy', 'true');
    show(complaint);
    ask();
  };
  element.isEdited = () => edited;
  element.say = (words) => show(complaint, note(words, 'warn'));
  element.sim = () => {
    const found = sims.find((sim) => simImsi(sim) === subject.value.trim());
    return found && { imsi: simImsi(found), simId: found.simId, imei: found.sessionStatus?.imei ?? '' };
  };
  element.save = async () => {
    if (!shown || save.disabled) return;
    const { object } = shown;
    if (isOn(before) && !isOn(object) && !(await confirm(t('entry.disable'), t('entry.disableText'), t('entry.save')))) return;
    save.disabled = true;
    try {
      await write('PUT', path('v1', 'groups', group.groupId, 'configuration', NAMESPACE), [{ key: ENTRY_POINT, value: object }]);
      edited = false;
      say(t('entry.saved'));
      refresh();
    } catch (error) {
      save.disabled = false;
      if (error.status === 401) return;
      const lines = error.status === 400 ? error.lines.map(shortened) : [describe(error)];
      refuse(lines);
      show(complaint, h('div', { class: 'note failed' }, problems(lines)));
    }
  };
  return element;
}
