// Live: what the engine does now, a figure a second, and the last five minutes of it.

import { events, page } from '../api.js';
import { lineChart } from '../charts.js';
import { h, show } from '../dom.js';
import { number, rate, reasonName, t } from '../i18n.js';
import { button, describe, loading, meter, note, section } from '../ui.js';
import { connectionTable } from './connections.js';

const SECONDS = 300;
const RETRY_MS = [1000, 2000, 5000, 10_000];
const VERSIONS = ['201912', '201509'];

/** Messages by version and direction, under names that the chart knows. */
function messagesOf(figures) {
  return Object.fromEntries(VERSIONS.flatMap((version) => ['up', 'down'].map((direction) =>
    [`${version}.${direction}`, figures.messages?.[version]?.[direction] ?? 0])));
}

function tiles() {
  const names = ['connections', 'messages', 'errors', 'shards'];
  const values = Object.fromEntries(names.map((name) => [name, h('b', {}, '–')]));
  const element = h('dl', { class: 'tiles' }, names.map((name) => h('div', {}, h('dt', {}, t(`live.${name}`)), h('dd', { 'data-tile': name }, values[name]))));
  element.update = (figures, messages) => {
    show(values.connections, number(figures.connections ?? 0));
    show(values.messages, rate(messages));
    show(values.errors, rate(figures.errors ?? 0));
    show(values.shards, number(figures.shards?.length ?? 0));
  };
  return element;
}

function shardLoad(place, shards) {
  const most = Math.max(1, ...shards.map((shard) => shard.messages));
  show(place, h('ul', { class: 'bars' }, shards.map((shard) => h('li', {},
    h('span', {}, t('live.shard', { index: shard.index })),
    meter(t('live.shard', { index: shard.index }), Math.round(shard.messages), Math.ceil(most), true),
    h('span', { class: 'numeric' }, t('live.shardLoad', { rate: rate(shard.messages), sessions: shard.sessions ?? 0 }))))));
}

export default function view({ signal }) {
  const state = h('p', { class: 'state', 'data-state': 'waiting' }, h('span', { role: 'status' }, t('live.waiting')));
  const charts = {
    connections: lineChart({ title: t('live.sessions'), name: 'connections', seconds: SECONDS, series: VERSIONS }),
    messages: lineChart({ title: t('live.messagesTitle'), name: 'messages', seconds: SECONDS,
      series: VERSIONS.flatMap((version) => [`${version}.up`, `${version}.down`]),
      label: (key) => t(`live.${key.split('.')[1]}`, { version: key.split('.')[0] }) }),
    errors: lineChart({ title: t('live.errorsTitle'), name: 'errors', seconds: SECONDS, label: reasonName }),
    shards: lineChart({ title: t('live.shardsTitle'), name: 'shards', seconds: SECONDS, label: (key) => t('live.shard', { index: Number(key) }) }),
  };
  const counts = tiles();
  const load = h('div', {});
  let paused = false;
  let waiting = [];

  const draw = (figures) => {
    const messages = messagesOf(figures);
    const time = figures.time;
    const shards = figures.shards ?? [];
    counts.update(figures, Object.values(messages).reduce((sum, value) => sum + value, 0));
    charts.connections.add({ time, values: figures.sessions ?? {} });
    charts.messages.add({ time, values: messages });
    charts.errors.add({ time, values: figures.errorsByReason ?? {} });
    charts.shards.add({ time, values: Object.fromEntries(shards.map((shard) => [shard.index, shard.messages])) });
    shardLoad(load, shards);
  };
  const tell = (name, text) => {
    if (state.dataset.state === name) return;
    state.dataset.state = name;
    show(state.firstElementChild, text);
  };
  const receive = (name, figures) => {
    if (name !== 'figures') return;
    tell('on', t('live.on'));
    waiting = [...waiting, figures].slice(-SECONDS);
    if (paused) return;
    waiting.splice(0).forEach(draw);
  };
  const run = async () => {
    for (let tries = 0; !signal.aborted; tries += 1) {
      try {
        await events('/ringbeam/v1/live', {}, signal, (...event) => {
          tries = 0;
          receive(...event);
        });
        tell('lost', t('live.lost'));
      } catch (error) {
        if (error.name === 'AbortError' || error.status === 401) return;
        tell('lost', error.status ? describe(error) : t('live.lost'));
      }
      await new Promise((resume) => setTimeout(resume, RETRY_MS[Math.min(tries, RETRY_MS.length - 1)]));
    }
  };
  run();

  const pause = button(t('pause'), () => {
    paused = !paused;
    show(pause, t(paused ? 'resume' : 'pause'));
    pause.setAttribute('aria-pressed', String(paused));
    if (!paused) waiting.splice(0).forEach(draw);
  }, { 'aria-pressed': 'false' });

  const open = h('details', { class: 'card' }, h('summary', {}, t('live.list')));
  open.addEventListener('toggle', () => {
    if (!open.open) return;
    const list = loading(signal, async () => {
      const { rows, next } = await page('/ringbeam/v1/connections', { limit: 100 }, signal);
      return [connectionTable(rows, () => list.reload(), { withSim: true }), next && note(t('live.first')), button(t('again'), () => list.reload())];
    });
    show(open, h('summary', {}, t('live.list')), list);
  });
  return [
    h('div', { class: 'title' }, h('h1', {}, t('menu.live')), h('div', { class: 'actions' }, state, pause)),
    counts,
    h('div', { class: 'charts' }, Object.values(charts).map((chart) => h('div', { class: 'card' }, chart))),
    section(t('live.load'), load), open,
  ];
}
