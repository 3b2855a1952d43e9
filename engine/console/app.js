// The page: who is signed in decides what is shown, and the address after `#` which view.

import { onExpired, session, signOut } from './api.js';
import { h, show } from './dom.js';
import { currentLanguage, languages, setLanguage, t } from './i18n.js';
import { confirm, messages, say } from './ui.js';
import { applyTheme, currentTheme, setTheme, themes } from './theme.js';
import credentials from './views/credentials.js';
import group from './views/group.js';
import groups from './views/groups.js';
import live from './views/live.js';
import node from './views/node.js';
import signIn from './views/signin.js';
import sim from './views/sim.js';
import sims from './views/sims.js';
import tap from './views/tap.js';
import usage from './views/usage.js';

/** Views that the menu names, in its order. */
const MENU = ['live', 'groups', 'sims', 'credentials', 'usage', 'tap', 'node'];
const VIEWS = { live, groups, sims, credentials, usage, tap, node };
const DETAILS = { groups: group, sims: sim };

let running = new AbortController();
let unsaved = () => false;
let shownAddress = location.hash;

/** A part of an address; one that somebody typed may be no encoding of anything. */
function decoded(part) {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}

/** What stands after `#`: `{name, id, tab, query}`. */
function address() {
  const [path, query = ''] = location.hash.replace(/^#\/?/, '').split('?');
  const [name, id, tab] = path.split('/').map(decoded);
  return { name: name in VIEWS ? name : 'live', id, tab, query: Object.fromEntries(new URLSearchParams(query)) };
}

function picker(label, options, chosen, choose) {
  return h('label', { class: 'picker' }, h('span', { class: 'unseen' }, label),
    h('select', { onchange: (event) => choose(event.target.value, event.target) },
      Object.entries(options).map(([value, text]) => h('option', { value, selected: value === chosen }, text))));
}

/** Whether the page as it is may go: it holds nothing unsaved, or the reader says so. */
const mayLeave = async () => !unsaved() || confirm(t('unsaved'), t('unsaved.text'), t('unsaved.leave'));

/** What chooses language and colours; on the sign-in page too. */
function pickers() {
  return [
    picker(t('language'), languages, currentLanguage(), async (next, list) => {
      if (await mayLeave()) {
        setLanguage(next);
        render();
      } else {
        list.value = currentLanguage();
      }
    }),
    picker(t('theme'), Object.fromEntries(themes.map((name) => [name, t(`theme.${name}`)])), currentTheme(), setTheme),
  ];
}

function brand() {
  return h('a', { class: 'brand', href: '#/live' }, h('img', { src: '/console/icon.svg', alt: '', width: 26, height: 26 }), 'ringbeam');
}

function menu(chosen) {
  const list = h('ul', { id: 'menu' }, MENU.map((name) =>
    h('li', {}, h('a', { href: `#/${name}`, 'aria-current': name === chosen ? 'page' : null }, t(`menu.${name}`)))));
  const opener = h('button', { type: 'button', class: 'menu-opener', 'aria-controls': 'menu', 'aria-expanded': 'false', onclick: () => {
    const open = opener.getAttribute('aria-expanded') !== 'true';
    opener.setAttribute('aria-expanded', String(open));
    list.classList.toggle('open', open);
  } }, t('menu'));
  return h('nav', { class: 'menu', 'aria-label': t('menu') }, opener, list);
}

async function leave() {
  running.abort();
  await signOut();
  unsaved = () => false;
  location.hash = '';
  render();
  say(t('signedOut'));
}

function shell(chosen, content) {
  const { who } = session();
  return [
    h('a', { class: 'skip', href: '#content', onclick: (event) => {
      event.preventDefault();
      document.querySelector('main h1')?.focus();
    } }, t('skip')),
    h('header', { class: 'top' }, brand(), menu(chosen),
      h('div', { class: 'account' }, pickers(), h('span', { class: 'who' }, who),
        h('button', { type: 'button', onclick: leave }, t('signOut')))),
    h('main', { id: 'content' }, content),
    messages,
  ];
}

/** Draws everything anew. `focus`: the reader has moved, so reading goes on at the heading. */
function render(focus = false) {
  running.abort();
  running = new AbortController();
  unsaved = () => false;
  shownAddress = location.hash;
  document.body.classList.toggle('outside', !session());
  if (!session()) {
    document.title = `${t('signIn')} · ringbeam`;
    show(document.body, h('header', { class: 'top' }, brand(), h('div', { class: 'account' }, pickers())),
      h('main', { id: 'content' }, signIn(() => render(true))), messages);
    return;
  }
  const { name, id, tab, query } = address();
  const view = id === undefined || id === '' ? VIEWS[name] : DETAILS[name] ?? VIEWS[name];
  const content = view({
    id, tab, query, signal: running.signal, refresh: () => render(),
    guard: (isUnsaved) => { unsaved = isUnsaved; },
  });
  show(document.body, shell(name, content));
  const heading = document.querySelector('main h1');
  document.title = `${heading?.textContent ?? ''} · ringbeam`;
  heading?.setAttribute('tabindex', '-1');
  if (focus) {
    scrollTo(0, 0);
    heading?.focus();
  }
}

/** A question about a page does not outlive it. */
const closeDialogs = () => document.querySelectorAll('dialog').forEach((box) => box.close());

onExpired(() => {
  closeDialogs();
  render();
  say(t('expired'), 'failed');
});

addEventListener('hashchange', async () => {
  const wanted = location.hash;
  closeDialogs();
  if (unsaved()) history.replaceState(null, '', shownAddress || '#/');
  if (!(await mayLeave())) return;
  history.replaceState(null, '', wanted || '#/');
  render(true);
});
addEventListener('beforeunload', (event) => {
  if (unsaved()) event.preventDefault();
});

applyTheme();
render();
