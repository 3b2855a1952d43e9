// Tap: packets of one SIM as they pass, the device's leg beside the upstream's.

import { events } from '../api.js';
import { debounce, h, show } from '../dom.js';
import { findSims, simChoices } from '../fleet.js';
import { select, text } from '../forms.js';
import { bytes, clock, reasonName, t } from '../i18n.js';
import { badge, button, describe, note } from '../ui.js';

/** Packets that stay on the page; the oldest go first. */
const SHOWN_MAX = 1000;
const SECONDS = [60, 300, 900];
const PACKETS = 1000;

/** The engine's words about a packet begin with its topic, which stands above them. */
const withoutTopic = (text, topic) => (topic !== undefined && text.startsWith(`${topic}, `) ? text.slice(topic.length + 2) : text);

function packetRow(packet) {
  const key = `${packet.leg}.${packet.direction}`;
  const { topic, payload } = packet;
  const data = { 'data-leg': packet.leg, 'data-direction': packet.direction, 'data-type': packet.type, 'data-topic': topic };
  return h('li', { class: `packet ${packet.leg}`, ...data },
    h('div', { class: 'packet-head' },
      h('time', { datetime: new Date(packet.time).toISOString() }, clock(packet.time, true)),
      badge(packet.type, packet.type === 'PUBLISH' ? 'good' : ''),
      h('span', { class: 'way' }, t(`tap.${key}`)),
      packet.session !== undefined && h('span', { title: t('session.number') }, `#${packet.session}`), h('span', { class: 'size' }, bytes(packet.bytes))),
    topic !== undefined && h('code', { class: 'topic' }, topic),
    payload !== undefined && payload !== '' && h('code', { class: 'payload' }, payload),
    h('span', { class: 'said' }, withoutTopic(packet.text, topic)));
}

export default function view({ signal, query }) {
  const imsi = text({ label: t('imsi'), name: 'imsi', inputmode: 'numeric', value: query.imsi ?? '', help: t('tap.help'), choices: [], required: true });
  const seconds = select({ label: t('tap.seconds'), name: 'seconds', value: 300, options: SECONDS.map((value) => [value, t('seconds', { count: value })]) });
  const state = h('p', { class: 'state', role: 'status', 'data-state': 'idle' }, t('tap.idle'));
  const list = h('ol', { class: 'packets', 'aria-label': t('tap.packets') });
  const counts = h('p', { class: 'help' });
  let running = null;
  let paused = false;
  let held = [];
  let seen = 0;
  let missed = 0;

  const tell = (name, words) => {
    state.dataset.state = name;
    show(state, words);
  };
  const draw = (rows) => {
    list.append(...rows);
    while (list.childElementCount > SHOWN_MAX) list.firstElementChild.remove();
    show(counts, t('tap.counts', { seen, missed }));
  };
  const put = (row) => {
    if (!paused) return draw([row]);
    held = [...held, row].slice(-SHOWN_MAX);
  };
  const receive = (name, event) => {
    const session = `#${event.session ?? ''}`;
    if (name === 'begin') {
      const mqtt = [event.platform, event.mqttVersion && `MQTT ${event.mqttVersion}`].filter(Boolean).join(', ');
      put(h('li', { class: 'event' }, t('tap.session', { session, peer: event.peer ?? '–', upstream: event.upstream ?? '–' }), mqtt && ` (${mqtt})`));
    } else if (name === 'ended') put(h('li', { class: 'event' }, t('tap.sessionEnded', { session, reason: reasonName(event.reason ?? '') })));
    else if (name === 'packet') {
      seen += 1;
      put(packetRow(event));
    } else if (name === 'gap') {
      missed += event.dropped;
      put(h('li', { class: 'event warn' }, t('tap.gap', { count: event.dropped })));
    } else if (name === 'end') tell('ended', t('tap.ended', { reason: event.reason ?? '' }));
  };

  const stop = () => {
    running?.abort();
    running = null;
    arrange();
  };
  const begin = async () => {
    imsi.refuse(imsi.value.trim() === '' ? t('required') : null);
    if (imsi.value.trim() === '') return imsi.control.focus();
    running?.abort();
    const own = new AbortController();
    running = own;
    signal.addEventListener('abort', () => own.abort());
    history.replaceState(null, '', `#/tap?imsi=${encodeURIComponent(imsi.value.trim())}`);
    tell('on', t('tap.on', { imsi: imsi.value.trim() }));
    arrange();
    try {
      await events('/ringbeam/v1/tap', { imsi: imsi.value.trim(), seconds: seconds.value, packets: PACKETS }, own.signal, receive);
      if (state.dataset.state === 'on') tell('ended', t('tap.ended', { reason: '' }));
    } catch (error) {
      if (error.name === 'AbortError') {
        if (running === null) tell('ended', t('tap.stopped'));
        return;
      }
      tell('failed', describe(error));
    }
    if (running === own) running = null;
    arrange();
  };

  const start = button(t('tap.start'), null, { kind: 'primary', type: 'submit' });
  const end = button(t('tap.stop'), stop);
  const pause = button(t('pause'), () => {
    paused = !paused;
    show(pause, t(paused ? 'resume' : 'pause'));
    pause.setAttribute('aria-pressed', String(paused));
    if (!paused) draw(held.splice(0));
  }, { 'aria-pressed': 'false' });
  const clear = button(t('clear'), () => {
    held = [];
    seen = 0;
    missed = 0;
    show(list);
    show(counts);
  });
  const arrange = () => {
    start.disabled = running !== null;
    end.disabled = running === null;
  };
  const look = debounce(300, () => findSims(imsi.value, {}, signal).then((sims) => imsi.offer(simChoices(sims)), () => {}));
  imsi.control.addEventListener('input', look);
  look();
  arrange();
  const form = h('form', { class: 'filters', novalidate: true, onsubmit: (event) => {
    event.preventDefault();
    begin();
  } }, imsi, seconds, h('div', { class: 'actions' }, start, end, pause, clear));
  return [
    h('h1', {}, t('menu.tap')), h('p', { class: 'lead' }, t('tap.lead')), note(t('tap.private'), 'warn'), form,
    h('div', { class: 'tap-state' }, state, counts),
    h('div', { class: 'card legs' },
      h('div', { class: 'leg-heads', 'aria-hidden': 'true' }, h('h2', {}, t('tap.device')), h('h2', {}, t('tap.upstream'))), list),
  ];
}
