// Whether a page can be used by those who do not see it, do not point at it, or hold it in one hand.

import { createRequire } from 'node:module';
import { readFileSync } from 'node:fs';
import { check, equal } from './support.mjs';

const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');

/** The rules of WCAG 2.2 at level AA that a machine can judge. */
export async function accessible(page, where) {
  await page.evaluate(axe);
  const found = await page.evaluate(async () => {
    const { violations } = await window.axe.run(document, { runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'] });
    return violations.map(({ id, nodes }) => `${id}: ${nodes.slice(0, 3).map((node) => `${node.html.slice(0, 160)} (${node.failureSummary})`).join('; ')}`);
  });
  equal(found, [], `${where}: accessibility`);
}

/** Labels, headings and landmarks, said without the help of a library. */
export async function structured(page, where) {
  const found = await page.evaluate(() => {
    const name = (control) => control.labels?.[0]?.textContent.trim() || control.getAttribute('aria-label')?.trim();
    const shown = (element) => element.checkVisibility();
    return {
      unlabelled: [...document.querySelectorAll('input, select, textarea')].filter((control) => shown(control) && !name(control)).map((control) => control.outerHTML),
      headings: [...document.querySelectorAll('h1')].filter(shown).length,
      landmarks: ['header', 'main'].filter((tag) => document.querySelectorAll(tag).length !== 1),
      columns: [...document.querySelectorAll('thead th:not([scope]), tbody th:not([scope])')].length,
      language: document.documentElement.lang,
    };
  });
  equal(found.unlabelled, [], `${where}: fields without a label`);
  equal(found.headings, 1, `${where}: main headings`);
  equal(found.landmarks, [], `${where}: landmarks that are not there once`);
  equal(found.columns, 0, `${where}: table headings without a scope`);
  check(['en', 'ja'].includes(found.language), `${where}: the page does not say its language`);
}

/** Nothing is wider than the window. */
export async function narrow(page, where) {
  const found = await page.evaluate(() => ({
    over: document.documentElement.scrollWidth - innerWidth,
    widest: [...document.querySelectorAll('main *, header *')].filter((element) => element.getBoundingClientRect().right > innerWidth + 1)
      .slice(0, 4).map((element) => `${element.tagName}.${element.className}`),
  }));
  check(found.over <= 0, `${where}: ${found.over} pixels wider than the window, among them ${found.widest.join(', ')}`);
}

/** Moves by Tab until the control of this name has the focus, which must be seen. */
export async function tabTo(page, name, most = 40) {
  for (let count = 0; count < most; count += 1) {
    await page.keyboard.press('Tab');
    const focus = await page.evaluate(() => {
      const { outlineStyle, outlineWidth } = getComputedStyle(document.activeElement);
      return { name: document.activeElement.getAttribute('name'), seen: outlineStyle !== 'none' && parseFloat(outlineWidth) >= 1 };
    });
    if (focus.name !== name) continue;
    check(focus.seen, `the focus on ${name} is not seen`);
    return;
  }
  throw new Error(`Tab does not reach ${name}`);
}
