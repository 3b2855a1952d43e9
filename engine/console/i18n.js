// Language: texts by key, and numbers, dates and durations as the language writes them.

import en from './text/en.js';
import entryEn from './text/entry-en.js';
import entryJa from './text/entry-ja.js';
import ja from './text/ja.js';

export const languages = { en: 'English', ja: '日本語' };
const texts = { en: { ...en, ...entryEn }, ja: { ...ja, ...entryJa } };
const KEY = 'ringbeam.language';

function initial() {
  const kept = localStorage.getItem(KEY);
  if (kept in languages) return kept;
  const wanted = navigator.languages ?? [navigator.language];
  return wanted.map((tag) => tag.slice(0, 2).toLowerCase()).find((tag) => tag in languages) ?? 'en';
}

let language = initial();
document.documentElement.lang = language;

export const currentLanguage = () => language;

export function setLanguage(next) {
  language = next;
  localStorage.setItem(KEY, next);
  document.documentElement.lang = next;
}

/** A text, `{name}` in it replaced. Where a count decides the form, `key.one` stands beside `key`. */
export function t(key, values = {}) {
  const one = values.count === 1 ? texts[language][`${key}.one`] : undefined;
  const text = one ?? texts[language][key] ?? texts.en[key] ?? key;
  return text.replace(/\{(\w+)\}/g, (whole, name) => {
    const value = values[name];
    if (value === undefined) return whole;
    return typeof value === 'number' ? number(value) : String(value);
  });
}

/** Whether there is a text of this key. */
const has = (key) => key in texts.en;

/** What an end or a refusal is called; a reason that has no name yet says its own. */
export const reasonName = (reason) => (has(`reason.${reason}`) ? t(`reason.${reason}`) : String(reason).replaceAll('_', ' '));

const made = new Map();
function format(kind, options) {
  const key = JSON.stringify([language, kind.name, options]);
  if (!made.has(key)) made.set(key, new kind(language, options));
  return made.get(key);
}

// What is nearly nothing, or less than nothing by rounding, is 0 and not -0.
export const number = (value, digits = 0) =>
  format(Intl.NumberFormat, { maximumFractionDigits: digits, signDisplay: 'negative' }).format(value);

/** A number that has to fit where little room is: 12.3K. */
export const short = (value) =>
  format(Intl.NumberFormat, { notation: 'compact', maximumFractionDigits: 1 }).format(value);

/** A rate: whole numbers as they come, small ones with their fraction. */
export const rate = (value) => number(value, value < 10 ? 1 : 0);

export const bytes = (value) =>
  format(Intl.NumberFormat, { style: 'unit', unit: 'byte', unitDisplay: 'narrow' }).format(value);

/** Milliseconds since 1970 as a date with its time. */
export const moment = (milliseconds) =>
  milliseconds ? format(Intl.DateTimeFormat, { dateStyle: 'medium', timeStyle: 'medium' }).format(new Date(Number(milliseconds))) : '–';

export const clock = (milliseconds, fraction = false) =>
  format(Intl.DateTimeFormat, { hour: '2-digit', minute: '2-digit', second: '2-digit', hourCycle: 'h23', fractionalSecondDigits: fraction ? 3 : undefined })
    .format(new Date(milliseconds));

/** The start of a bucket of figures. */
export function bucket(seconds, period) {
  const options = { month: { year: 'numeric', month: 'long' }, day: { dateStyle: 'medium' } }[period]
    ?? { month: 'short', day: 'numeric', hour: '2-digit', minute: '2-digit', hourCycle: 'h23' };
  return format(Intl.DateTimeFormat, options).format(new Date(seconds * 1000));
}

/** How long ago, in the largest unit that says something. */
export function ago(milliseconds) {
  if (!milliseconds) return '–';
  const seconds = Math.round((Number(milliseconds) - Date.now()) / 1000);
  const units = [['day', 86_400], ['hour', 3600], ['minute', 60], ['second', 1]];
  const [unit, size] = units.find(([, size]) => Math.abs(seconds) >= size) ?? units[3];
  return format(Intl.RelativeTimeFormat, { numeric: 'auto' }).format(Math.trunc(seconds / size), unit);
}
