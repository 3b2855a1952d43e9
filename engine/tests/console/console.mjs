// The console in a real browser, against a running ringbeam: a new group, its entry point and a SIM, made by hand
// as an operator would, then a message through, seen in the figures and in the tap; in both languages, on a phone,
// with the keyboard alone. It makes what it needs and takes it away again.
//
//   node console.mjs --url http://127.0.0.1:8080 --email E --password P --mqtt-port 1883 [--screenshots DIR]
//                    [--key-id keyId-… --key secret-…] [--device-address 127.77.0.9] [--network default] [--chromium PATH]
//
// Exit status: 0 when all went well, 1 with the step that did not, 2 for options that cannot be.

import { accessible, narrow, structured, tabTo } from './accessibility.mjs';
import { PATIENCE_MS, broker, check, complaints, device, equal, eventually, journey, launch, options, subscriber, tidy } from './support.mjs';
import { textsAgree } from './texts.mjs';

const given = options();
const mark = String(Date.now()).slice(-9);
const GROUP = `console ${mark}`;
const SIM = { simId: `8981109999${mark}`, imsi: `440109${mark}`, name: `console sim ${mark}` };
const TOPIC = 'sensors/{{imsi}}/temp';
const REWRITTEN = `sensors/${SIM.imsi}/temp/${SIM.imsi}`;
/** An address that the SIM is lent for a while. */
const LENT = '127.77.0.250';
/** A payload that would show itself if text were ever taken for markup. */
const HOSTILE = '<img src=x onerror="document.title=\'owned\'">21.5';
const SECRET = `secret-${mark}`;
const VIEWS = ['live', 'groups', 'sims', 'credentials', 'usage', 'tap', 'node'];

const upstream = await broker();
const heard = subscriber(upstream.port);
const browser = await launch(given.chromium);
const context = await browser.newContext({ locale: 'en-US', viewport: { width: 1280, height: 900 }, acceptDownloads: true });
const page = await context.newPage();
page.setDefaultTimeout(PATIENCE_MS);
const { noted, expect } = complaints(page);
const { step, shot } = journey(page, given.screenshots);
const running = [];
/** What is there only until the end. */
const left = [];

const go = async (hash) => {
  await page.goto(`${given.url}/#/${hash}`);
  await page.locator('main h1').waitFor();
  await settled();
};
/** Nothing on the page is still being read, and nothing could not be. */
const settled = async () => {
  await page.waitForFunction(() => !document.querySelector('main [aria-busy="true"]'));
  const failed = await page.locator('main .loading > .note.failed').allTextContents();
  equal(failed, [], 'parts of the page that could not be read');
};
const said = (text) => page.locator('.messages .message', { hasText: text }).first().waitFor();
const data = async (chart, key) => Number(await page.locator(`[data-chart="${chart}"]`).getAttribute(`data-${key}`));
const confirm = () => page.locator('dialog[open] button[type="submit"]').click();
const dialogClosed = () => page.locator('dialog').waitFor({ state: 'detached' });

async function journeyOfAnOperator() {
  await step('the texts of both languages agree', textsAgree);

  await step('a wrong password is refused, and says so', async () => {
    expect(/status of 401/);
    await page.goto(given.url);
    await page.fill('[name="email"]', given.email);
    await page.fill('[name="password"]', `${given.password}!`);
    await page.click('form [type="submit"]');
    await page.locator('.refusal .note').waitFor();
    await structured(page, 'sign in');
    await accessible(page, 'sign in');
    await shot('sign-in');
  });

  await step('signing in takes a keyboard and nothing else', async () => {
    await page.goto('about:blank');
    await page.goto(given.url);
    await tabTo(page, 'email');
    await page.keyboard.type(given.email);
    await tabTo(page, 'password');
    await page.keyboard.type(given.password);
    await page.keyboard.press('Enter');
    await page.locator('nav.menu').waitFor();
    equal(await page.evaluate(() => document.activeElement.tagName), 'H1', 'what has the focus then');
    await page.keyboard.press('Shift+Tab');
    const kept = await page.evaluate(() => [Object.keys(localStorage), Object.keys(sessionStorage)]);
    check(!kept[0].includes('ringbeam.session') && kept[1].includes('ringbeam.session'), 'the token is not kept for this tab alone');
  });

  await step('a group is made', async () => {
    await go('groups');
    await page.click('.title button.primary');
    await page.fill('dialog [name="name"]', GROUP);
    await confirm();
    await page.waitForURL(/#\/groups\/.+/);
    await page.locator('main h1', { hasText: GROUP }).waitFor();
  });
  const group = page.url().split('/').pop();
  left.push(`/v1/groups/${group}`);

  await step('what the engine would refuse is shown at its field before it is saved', async () => {
    expect(/status of 400/);
    await page.fill('[name="host"]', 'http://not.mqtt/');
    await page.locator('[name="host"][aria-invalid="true"]').waitFor();
    await page.locator('.preview .outcome .problems li').first().waitFor();
    check(await page.locator('.preview button.primary').isDisabled(), 'what is refused can be saved');
    await shot('entry-point-refused', true);
  });

  await step('an entry point is saved after its changes were seen (B-CFG-2)', async () => {
    await page.fill('[name="host"]', `mqtt://127.0.0.1:${upstream.port}`);
    equal(await page.inputValue('[name="port"]'), String(upstream.port), 'the port of an address that was pasted');
    await page.fill('[name="name"]', 'made in a browser');
    await page.check('[name="addSubscriberHeader"]');
    await page.check('[name="replaceTopic"]');
    const changes = page.locator('.preview tbody tr');
    await page.locator('.preview tr[data-key="destination"]').waitFor();
    await page.locator('.preview tr[data-key="replaceTopic"] .after', { hasText: 'true' }).waitFor();
    check(await changes.count() >= 4, 'the preview leaves changes out');
    check(await page.locator('[name="host"]:not([aria-invalid])').count() === 1, 'a problem outlives its cause');
    await shot('entry-point', true);
    await page.click('.preview button.primary:not([disabled])');
    await said('The entry point is saved');
    await page.locator('.badge.good').first().waitFor();
    await go('groups');
    await page.fill('[name="search"]', GROUP);
    await page.click(`main table a:has-text("${GROUP}")`);
    await page.locator('.preview .outcome[data-changes="0"]').waitFor();
    equal(await page.locator('.preview tbody tr').count(), 0, 'changes of what was just saved');
    equal(await page.inputValue('[name="name"]'), 'made in a browser', 'the label that was saved');
  });

  await step('a key that nobody knows can be written, and is kept (B-CFG-1)', async () => {
    await page.locator('main button', { hasText: 'Edit as JSON' }).click();
    const object = JSON.parse(await page.inputValue('[name="json"]'));
    await page.fill('[name="json"]', '{ "enabled": ');
    await page.locator('.preview .note.failed').waitFor();
    await page.fill('[name="json"]', JSON.stringify({ ...object, ofSomebodyElse: { deep: [1, 2] } }));
    await page.click('.preview button.primary:not([disabled])');
    await page.locator('[name="host"]').waitFor();
    await page.fill('[name="name"]', 'made in a browser, twice');
    await page.locator('.preview tr[data-key="name"]').waitFor();
    await page.click('.preview button.primary:not([disabled])');
    await page.locator('.preview .outcome[data-changes="0"]').waitFor();
    await page.locator('main button', { hasText: 'Edit as JSON' }).click();
    equal(JSON.parse(await page.inputValue('[name="json"]')).ofSomebodyElse, { deep: [1, 2] }, 'the key after the form was saved');
    await go('live');
    await go(`groups/${group}`);
  });

  await step('a group gets another name while its form is being filled in', async () => {
    await page.fill('[name="name"]', 'being filled in');
    await page.locator('main .actions button', { hasText: 'Name and tags' }).click();
    await page.locator('dialog .tag-row input').nth(1).fill(`${GROUP} renamed`);
    await confirm();
    await page.locator('main h1', { hasText: 'renamed' }).waitFor();
    equal(await page.inputValue('[name="name"]'), 'being filled in', 'the form beside it');
  });

  await step('unsaved changes are not lost by accident', async () => {
    await page.fill('[name="name"]', 'half done');
    await page.click('nav.menu a[href="#/sims"]');
    await page.locator('dialog[open]').waitFor();
    await page.keyboard.press('Escape');
    await dialogClosed();
    equal(await page.inputValue('[name="name"]'), 'half done', 'the field after staying');
    await page.click('nav.menu a[href="#/sims"]');
    await confirm();
    await page.waitForURL(/#\/sims/);
  });

  await step('a SIM is made, and put into the group', async () => {
    await go('sims');
    await page.click('.title button.primary');
    await page.fill('dialog [name="simId"]', SIM.simId);
    await page.fill('dialog [name="imsi"]', SIM.imsi);
    await page.fill('dialog [name="network"]', given.network);
    await page.fill('dialog [name="ips"]', given['device-address']);
    await page.locator('dialog .tag-row input').nth(1).fill(SIM.name);
    await confirm();
    await page.waitForURL(new RegExp(`#/sims/${SIM.simId}`));
    left.unshift(`/ringbeam/v1/sims/${SIM.simId}`);
    await settled();
    await page.locator('main .actions button', { hasText: 'Change group' }).click();
    await page.selectOption('dialog [name="group"]', group);
    await confirm();
    await page.locator(`main dd a[href="#/groups/${group}"]`).waitFor();
    await settled();
    await go('sims');
    for (const [field, text] of [['imsi', SIM.imsi], ['sim_id', SIM.simId], ['name', SIM.name.slice(8)], ['group', GROUP], ['any', SIM.name]]) {
      await page.selectOption('[name="by"]', field);
      await page.fill('[name="search"]', text);
      await page.click('form[role="search"] [type="submit"]');
      await page.locator(`tr[data-key="${SIM.simId}"]`).waitFor();
      await settled();
      equal(await page.locator('main tbody tr').count(), 1, `SIMs found by ${field}`);
    }
    await shot('sims');
  });

  await step('the preview explains what a CONNECT of the SIM would lead to', async () => {
    await go(`groups/${group}`);
    await page.fill('.preview [name="imsi"]', SIM.imsi);
    await page.locator('.preview pre', { hasText: SIM.imsi }).waitFor();
  });

  await step('messages move the chart', async () => {
    await go('live');
    await page.locator('.state[data-state="on"]').waitFor();
    await eventually('a first figure', async () => await data('messages', 'points') > 0);
    running.push(device({ address: given['device-address'], port: given['mqtt-port'], topic: TOPIC, payload: HOSTILE }));
    await eventually('messages in the chart', async () => await data('messages', 'peak') > 0);
    await eventually('a session in the chart', async () => await data('connections', 'last') > 0);
    await eventually('the rewritten topic at the broker', () => heard.lines.includes(`${REWRITTEN} ${HOSTILE}`));
    await page.focus('[data-chart="messages"]');
    await page.keyboard.press('ArrowLeft');
    await shot('live');
  });

  await step('the tap shows both legs, and what became of the topic', async () => {
    await go('tap');
    await page.fill('[name="imsi"]', SIM.imsi);
    await page.click('form [type="submit"]');
    const packet = (leg, direction, topic) => page.locator(`li[data-leg="${leg}"][data-direction="${direction}"][data-type="PUBLISH"][data-topic="${topic}"]`).first();
    await page.locator('.packets .event', { hasText: given['device-address'] }).first().waitFor();
    await packet('device', 'received', TOPIC).waitFor();
    await packet('upstream', 'sent', REWRITTEN).waitFor();
    equal(await page.locator('main .packets img').count(), 0, 'elements that a payload made');
    check(!(await page.title()).includes('owned'), 'a payload ran');
    await shot('tap');
    await page.locator('button', { hasText: 'Pause' }).click();
    const count = await page.locator('.packets li').count();
    await page.waitForTimeout(500);
    equal(await page.locator('.packets li').count(), count, 'packets shown while paused');
    await page.locator('button', { hasText: 'Clear' }).click();
    equal(await page.locator('.packets li').count(), 0, 'packets after clearing');
    await page.locator('button', { hasText: 'Stop' }).click();
    await page.locator('.state[data-state="ended"]').waitFor();
  });

  await step('a SIM shows its connections, traffic, events, log and explanation', async () => {
    for (const part of ['traffic', 'events', 'logs', 'explain', 'connections']) {
      await go(`sims/${SIM.simId}/${part}`);
      await shot(`sim-${part}`);
    }
    await eventually('its connection', async () => {
      await page.locator('main button', { hasText: 'Read again' }).click();
      await settled();
      return await page.locator('main tbody tr').count() > 0;
    });
    running.splice(0).forEach((one) => one.stop());
    await eventually('the connection to be gone', async () => {
      await page.locator('main button', { hasText: 'Read again' }).click();
      await settled();
      return await page.locator('main tbody tr').count() === 0;
    });
  });

  await step('a connection is closed by hand', async () => {
    running.push(device({ address: given['device-address'], port: given['mqtt-port'], topic: TOPIC, payload: '1' }));
    await eventually('its connection', async () => {
      await page.locator('main button', { hasText: 'Read again' }).click();
      await settled();
      return await page.locator('main tbody tr').count() > 0;
    });
    await page.locator('main tbody button.danger').first().click();
    await confirm();
    await said('The connection is closed.');
    running.splice(0).forEach((one) => one.stop());
  });

  await step('a SIM is lent another address, and loses it', async () => {
    await go(`sims/${SIM.simId}/events`);
    await page.locator('main .actions button', { hasText: 'Lend it an address' }).click();
    await page.fill('dialog [name="network"]', given.network);
    await page.fill('dialog [name="ip"]', LENT);
    await confirm();
    await page.locator('main dd', { hasText: LENT }).waitFor();
    await settled();
    await page.locator('main td', { hasText: 'Session began' }).first().waitFor();
    await page.locator('main .actions button', { hasText: 'Take its address' }).click();
    await confirm();
    await page.locator('main dd', { hasText: given['device-address'] }).waitFor();
    await settled();
  });

  await step('a SIM gets another name, and keeps its address', async () => {
    await page.locator('main .actions button', { hasText: 'Edit SIM' }).click();
    await page.locator('dialog .tag-row input').nth(1).fill(`${SIM.name} renamed`);
    await confirm();
    await page.locator('main h1', { hasText: 'renamed' }).waitFor();
    await page.locator('main dd', { hasText: given['device-address'] }).waitFor();
    await settled();
  });

  await step('a SIM is put to rest, and woken', async () => {
    await page.locator('main .actions button', { hasText: 'Deactivate' }).click();
    await confirm();
    await page.locator('main dd', { hasText: 'Inactive' }).waitFor();
    await settled();
    await page.locator('main .actions button', { hasText: 'Activate' }).click();
    await page.locator('main dd', { hasText: /^Active$/ }).waitFor();
    await settled();
  });

  await step('a credential goes in and its secret does not come out', async () => {
    await go('credentials');
    await page.click('.title button.primary');
    await page.fill('dialog [name="credentialsId"]', `console-${mark}`);
    await page.selectOption('dialog [name="type"]', 'username-password-credentials');
    await page.fill('dialog [name="username"]', 'somebody');
    await page.fill('dialog [name="password"]', SECRET);
    await confirm();
    const row = page.locator('main tr', { hasText: `console-${mark}` });
    await row.waitFor();
    await row.locator('button').first().click();
    const fields = await page.locator('dialog input').evaluateAll((inputs) => inputs.map((input) => input.value));
    check(!fields.includes(SECRET) && !(await page.content()).includes(SECRET), 'the secret is in the page');
    await page.keyboard.press('Escape');
    await dialogClosed();
    await row.locator('button.danger').click();
    await confirm();
    await row.waitFor({ state: 'detached' });
  });

  await step('a dialog keeps the focus, and gives it back', async () => {
    await page.focus('.title button.primary');
    await page.keyboard.press('Enter');
    await page.locator('dialog[open]').waitFor();
    for (let count = 0; count < 20; count += 1) {
      await page.keyboard.press('Tab');
      const inside = await page.evaluate(() => document.activeElement === document.body || document.activeElement.closest('dialog') !== null);
      check(inside, 'Tab leaves the dialog');
    }
    await accessible(page, 'a dialog');
    await page.keyboard.press('Escape');
    await dialogClosed();
    check(await page.evaluate(() => document.activeElement.matches('.title button.primary')), 'the focus does not come back');
  });

  await step('usage is shown, and saved as a file', async () => {
    await go('usage');
    await page.locator('[data-usage]').waitFor();
    const [file] = await Promise.all([page.waitForEvent('download'), page.locator('button', { hasText: 'CSV' }).click()]);
    check(/^ringbeam-.*\.csv$/.test(file.suggestedFilename()), `a file named ${file.suggestedFilename()}`);
    await shot('usage');
  });

  await step('the node shows its shards, configuration and who did what', async () => {
    await go('node');
    check(await page.locator('main .halves tbody tr').count() >= 1, 'no shard is shown');
    await page.locator('summary', { hasText: 'Configuration' }).click();
    check(await page.locator('main details tbody tr').count() >= 3, 'no configuration is shown');
    await page.locator('section', { hasText: 'Audit log' }).locator('tbody tr').first().waitFor();
    await page.locator('main button', { hasText: 'Reload' }).click();
    await said('Reloaded');
    await shot('node', true);
  });

  await step('every view is accessible in both languages, in dark and light', async () => {
    for (const [language, colorScheme] of [['en', 'light'], ['ja', 'dark'], ['ja', 'light'], ['en', 'dark']]) {
      await page.emulateMedia({ colorScheme });
      await go('live');
      await page.locator('.account select').first().selectOption(language);
      equal(await page.evaluate(() => document.documentElement.lang), language, 'the language of the page');
      for (const view of [...VIEWS, `groups/${group}`, `sims/${SIM.simId}`]) {
        await go(view);
        await structured(page, `${view} ${language}`);
        await accessible(page, `${view} ${language} ${colorScheme}`);
        if (language === 'ja') await shot(`${view.split('/').slice(0, 2).length > 1 ? `${view.split('/')[0]}-one` : view}-${language}-${colorScheme}`);
      }
    }
    check((await page.title()).length > 0, 'a page without a title');
  });

  await step('every view fits a phone, in both languages', async () => {
    await page.setViewportSize({ width: 360, height: 740 });
    for (const language of ['en', 'ja']) {
      await go('live');
      const opener = page.locator('.menu-opener');
      await opener.click();
      equal(await opener.getAttribute('aria-expanded'), 'true', 'the menu of a phone');
      await page.locator('.account select').first().selectOption(language);
      for (const view of [...VIEWS, `groups/${group}`, `sims/${SIM.simId}`]) {
        await go(view);
        await narrow(page, `${view} ${language} at 360 pixels`);
        await shot(`phone-${view.split('/')[0]}${view.includes('/') ? '-one' : ''}-${language}`, true);
      }
    }
    await page.setViewportSize({ width: 1280, height: 900 });
    await page.emulateMedia({ colorScheme: 'light' });
    await page.locator('.account select').first().selectOption('en');
  });

  await step('SIM and group are deleted after a question', async () => {
    await go(`sims/${SIM.simId}`);
    await page.locator('main button.danger', { hasText: 'Delete SIM' }).click();
    await confirm();
    await page.waitForURL(/#\/sims$/);
    await go(`groups/${group}`);
    await page.locator('main button.danger', { hasText: 'Delete group' }).click();
    await page.locator('dialog[open]').waitFor();
    equal(await page.evaluate(() => document.activeElement.textContent), 'Cancel', 'what Enter would do first');
    await confirm();
    await page.waitForURL(/#\/groups$/);
    await settled();
    equal(await page.locator('main table a', { hasText: GROUP }).count(), 0, 'groups of that name');
    left.length = 0;
  });

  await step('an expired token leads back to signing in, with a word', async () => {
    await page.evaluate(async () => {
      const held = JSON.parse(sessionStorage.getItem('ringbeam.session'));
      await fetch('/v1/auth/logout', { method: 'POST', headers: { 'X-Soracom-API-Key': held.apiKey, 'X-Soracom-Token': held.token } });
    });
    await page.click('nav.menu a[href="#/credentials"]');
    await said('expired');
    await page.locator('[name="email"]').waitFor();
    await page.fill('[name="email"]', given.email);
    await page.fill('[name="password"]', given.password);
    await page.click('form [type="submit"]');
    await page.locator('nav.menu a[aria-current][href="#/credentials"]').waitFor();
    await settled();
  });

  await step('a list is shown again from its beginning by the menu', async () => {
    await go('sims');
    await page.fill('[name="search"]', 'no SIM is called this');
    await page.click('form[role="search"] [type="submit"]');
    await page.locator('main .empty').waitFor();
    await page.click('nav.menu a[href="#/sims"]');
    await page.waitForFunction(() => document.querySelector('[name="search"]')?.value === '');
    await settled();
  });

  await step('signing out forgets', async () => {
    await page.locator('.account button').click();
    await page.locator('[name="email"]').waitFor();
    equal(await page.evaluate(() => sessionStorage.length), 0, 'what the tab still holds');
  });

  if (given['key-id']) {
    await step('signing in with a key', async () => {
      await page.check('input[value="key"]');
      await page.fill('[name="authKeyId"]', given['key-id']);
      await page.fill('[name="authKey"]', given.key);
      await page.click('form [type="submit"]');
      await page.locator('nav.menu').waitFor();
      await settled();
    });
  }

  await step('the browser had nothing to complain of', async () => equal(noted, [], 'errors, warnings and violations of the policy'));
}

let status = 0;
try {
  await journeyOfAnOperator();
} catch (error) {
  status = 1;
  console.error(`FAILED ${error.message}`);
  noted.forEach((line) => console.error(`  the browser says: ${line}`));
} finally {
  running.forEach((one) => one.stop());
  if (left.length > 0) await tidy(given, left).catch((error) => console.error(`left behind: ${left.join(', ')} (${error.message})`));
  heard.stop();
  await browser.close();
  upstream.stop();
}
process.exit(status);
