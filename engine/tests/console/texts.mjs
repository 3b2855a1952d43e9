// Texts: both languages say the same things, and everything that is asked for is there.

import { readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { equal } from './support.mjs';

const folder = new URL('../../console/', import.meta.url);

const load = async (name) => (await import(new URL(`text/${name}.js`, folder))).default;

function sources(where) {
  return readdirSync(where, { withFileTypes: true }).flatMap((entry) => {
    const path = join(where, entry.name);
    if (entry.isDirectory()) return entry.name === 'text' ? [] : sources(path);
    return entry.name.endsWith('.js') ? [readFileSync(path, 'utf8')] : [];
  });
}

const placeholders = (text) => [...new Set([...text.matchAll(/\{(\w+)\}/g)].map(([, name]) => name))].sort();

export async function textsAgree() {
  const english = { ...await load('en'), ...await load('entry-en') };
  const japanese = { ...await load('ja'), ...await load('entry-ja') };
  // Japanese has one form for one and many.
  const needed = Object.keys(english).filter((key) => !key.endsWith('.one')).sort();
  equal(Object.keys(japanese).sort(), needed, 'keys of the Japanese texts');
  const differing = needed.filter((key) => String(placeholders(english[key])) !== String(placeholders(japanese[key])));
  equal(differing, [], 'texts whose placeholders differ');
  const code = sources(folder.pathname);
  const asked = new Set(code.flatMap((text) => [...text.matchAll(/\bt\('([\w.-]+)'/g)].map(([, key]) => key)));
  equal([...asked].filter((key) => !(key in english)), [], 'texts that are asked for and not there');
  const markup = code.filter((text) => /innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function/.test(text));
  equal(markup.length, 0, 'files that make elements of text');
}
