// Charts: lines over the last minutes, and bars over periods. The legend holds the figures as text, so that a
// chart is no riddle to those who cannot see it; arrow keys move through time as the pointer does.

import { h, s, show } from './dom.js';
import { clock, rate, short, t } from './i18n.js';

const HEIGHT = 170;
const LEFT = 44;
const BOTTOM = 22;
const TOP = 8;
/** Seconds that a chart shows at least. */
const SPAN_MIN = 60;
/** Colours that stay apart for every kind of sight; more lines than this share the last one. */
const COLOURS = 6;

/** The end of a scale: 1, 2 or 5 times a power of ten. */
export function niceEnd(value) {
  if (!(value > 0)) return 1;
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 5, 10].map((step) => step * power).find((end) => end >= value);
}

const colour = (index) => `series-${Math.min(index, COLOURS - 1) + 1}`;

/** Where a width is known late: draws when it is there, and when it changes. */
function whenSized(figure, place, draw) {
  let width = 0;
  const watch = new ResizeObserver(([entry]) => {
    const now = Math.floor(entry.contentRect.width);
    if (now === width || now === 0) return;
    width = now;
    draw();
  });
  watch.observe(place);
  return () => width || 600;
}

/** Lines. `points` grow by `add({time, values})`, where `values` are numbers by series; only those of the last
 * `seconds` are kept. `name` may be found by tests, who read the figures from the element's data. */
export function lineChart({ title, name, seconds, series = [], label = (key) => key }) {
  let points = [];
  let keys = [...series];
  let looked = null;
  let span = SPAN_MIN;
  const svg = s('svg', { 'aria-hidden': 'true', height: HEIGHT, focusable: 'false' });
  const place = h('div', { class: 'plot' }, svg);
  const legend = h('ul', { class: 'legend' });
  const when = h('span', { class: 'when' });
  const figure = h('div', { class: 'chart', tabindex: 0, role: 'group', 'aria-label': title, 'data-chart': name, 'data-points': 0 },
    h('div', { class: 'chart-head' }, h('p', { class: 'chart-title' }, title), when), place, legend);

  const at = () => (looked === null ? points.at(-1) : points[looked]);
  const drawLegend = () => {
    const point = at();
    show(when, looked === null || !point ? t('chart.now') : clock(point.time));
    show(legend, keys.map((key, index) => h('li', { class: colour(index) },
      h('span', { class: 'swatch', 'aria-hidden': 'true' }), h('span', {}, label(key)), ' ', h('b', {}, point ? rate(point.values[key] ?? 0) : '–'))));
  };
  const draw = () => {
    const width = size();
    const end = points.at(-1)?.time ?? Date.now();
    // A chart that has just begun shows a minute, and grows from there.
    span = Math.min(seconds, Math.max(SPAN_MIN, (end - (points[0]?.time ?? end)) / 1000));
    const start = end - span * 1000;
    const top = niceEnd(Math.max(0, ...points.flatMap((point) => keys.map((key) => point.values[key] ?? 0))));
    const x = (time) => LEFT + ((time - start) / (end - start)) * (width - LEFT - 4);
    const y = (value) => TOP + (1 - value / top) * (HEIGHT - TOP - BOTTOM);
    const line = (key) => points.map((point, index) => `${index ? 'L' : 'M'}${x(point.time).toFixed(1)} ${y(point.values[key] ?? 0).toFixed(1)}`).join('');
    const levels = [0, 0.5, 1].map((share) => [
      s('line', { class: 'grid', x1: LEFT, x2: width - 4, y1: y(top * share), y2: y(top * share) }),
      s('text', { class: 'tick', x: LEFT - 6, y: y(top * share) + 4, 'text-anchor': 'end' }, short(top * share)),
    ]);
    const times = [0, 0.5, 1].map((share) => s('text', { class: 'tick', x: LEFT + share * (width - LEFT - 4), y: HEIGHT - 6,
      'text-anchor': ['start', 'middle', 'end'][share * 2] }, clock(start + share * (end - start))));
    const point = looked === null ? null : points[looked];
    svg.setAttribute('width', width);
    svg.setAttribute('viewBox', `0 0 ${width} ${HEIGHT}`);
    show(svg, levels, times, keys.map((key, index) => s('path', { class: `line ${colour(index)}`, d: line(key) })).reverse(),
      point && s('line', { class: 'look', x1: x(point.time), x2: x(point.time), y1: TOP, y2: HEIGHT - BOTTOM }));
    drawLegend();
  };
  const size = whenSized(figure, place, draw);

  const look = (index) => {
    looked = index === null || points.length === 0 ? null : Math.max(0, Math.min(points.length - 1, index));
    draw();
  };
  place.addEventListener('pointermove', (event) => {
    const box = place.getBoundingClientRect();
    const share = (event.clientX - box.left - LEFT) / (box.width - LEFT - 4);
    const end = points.at(-1)?.time ?? 0;
    const time = end - (1 - share) * span * 1000;
    const near = points.findIndex((point) => point.time >= time);
    look(near < 0 ? points.length - 1 : near);
  });
  place.addEventListener('pointerleave', () => look(null));
  figure.addEventListener('blur', () => look(null));
  figure.addEventListener('keydown', (event) => {
    const step = { ArrowLeft: -1, ArrowRight: 1, PageUp: -30, PageDown: 30 }[event.key];
    if (event.key === 'Escape') look(null);
    if (!step) return;
    event.preventDefault();
    look((looked ?? points.length - 1) + step);
  });

  const sum = (point) => keys.reduce((total, key) => total + (point.values[key] ?? 0), 0);
  figure.add = (point) => {
    const count = points.length;
    points = [...points, point].filter((held) => held.time > point.time - seconds * 1000);
    if (looked !== null) looked = Math.max(0, looked - (count + 1 - points.length));
    const seen = new Set(points.flatMap((held) => Object.keys(held.values)));
    keys = [...series, ...[...seen].filter((key) => !series.includes(key)).sort()];
    figure.dataset.points = points.length;
    figure.dataset.last = sum(point);
    figure.dataset.peak = Math.max(...points.map(sum));
    draw();
  };
  return figure;
}

/** Bars, one for each period, of one colour for each series, stacked. `rows`: `{title, values}`. */
export function barChart({ title, name, rows, series, label = (key) => key }) {
  const svg = s('svg', { 'aria-hidden': 'true', height: HEIGHT, focusable: 'false' });
  const place = h('div', { class: 'plot' }, svg);
  const totals = series.map((key) => rows.reduce((sum, row) => sum + (row.values[key] ?? 0), 0));
  const figure = h('div', { class: 'chart', role: 'group', 'aria-label': title, 'data-chart': name },
    h('p', { class: 'chart-title' }, title), place,
    h('ul', { class: 'legend' }, series.map((key, index) => h('li', { class: colour(index) },
      h('span', { class: 'swatch', 'aria-hidden': 'true' }), h('span', {}, label(key)), ' ', h('b', {}, rate(totals[index]))))));
  const draw = () => {
    const width = size();
    const top = niceEnd(Math.max(0, ...rows.map((row) => series.reduce((sum, key) => sum + (row.values[key] ?? 0), 0))));
    const step = (width - LEFT - 4) / Math.max(1, rows.length);
    const y = (value) => TOP + (1 - value / top) * (HEIGHT - TOP - BOTTOM);
    const wide = Math.max(1, Math.min(48, step * 0.76));
    const bars = rows.map((row, index) => {
      let base = 0;
      return series.map((key, place) => {
        const value = row.values[key] ?? 0;
        const bar = s('rect', { class: `bar ${colour(place)}`, x: LEFT + (index + 0.5) * step - wide / 2, width: wide,
          y: y(base + value), height: Math.max(0, y(base) - y(base + value)) }, s('title', {}, `${row.title} · ${label(key)}: ${rate(value)}`));
        base += value;
        return bar;
      });
    });
    const levels = [0, 0.5, 1].map((share) => [
      s('line', { class: 'grid', x1: LEFT, x2: width - 4, y1: y(top * share), y2: y(top * share) }),
      s('text', { class: 'tick', x: LEFT - 6, y: y(top * share) + 4, 'text-anchor': 'end' }, short(top * share)),
    ]);
    const ends = rows.length === 0 ? [] : [
      rows.length === 1
        ? s('text', { class: 'tick', x: LEFT + step / 2, y: HEIGHT - 6, 'text-anchor': 'middle' }, rows[0].title)
        : s('text', { class: 'tick', x: LEFT, y: HEIGHT - 6 }, rows[0].title),
      rows.length > 1 && s('text', { class: 'tick', x: width - 4, y: HEIGHT - 6, 'text-anchor': 'end' }, rows.at(-1).title),
    ].filter(Boolean);
    svg.setAttribute('width', width);
    svg.setAttribute('viewBox', `0 0 ${width} ${HEIGHT}`);
    show(svg, levels, ends, bars);
  };
  const size = whenSized(figure, place, draw);
  draw();
  return figure;
}
