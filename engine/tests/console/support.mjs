// What the journey stands on: options, a browser, a broker, devices, and steps that say how they went.

import { spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { chromium } from 'playwright-core';

/** How long anything may take to happen. Nothing waits this long when all is well. */
export const PATIENCE_MS = 20_000;
const NEEDED = ['url', 'email', 'password', 'mqtt-port'];
const FLAGS = ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
  '--disable-component-update', '--disable-sync', '--disable-dev-shm-usage'];

export function options() {
  const { values } = parseArgs({ options: {
    url: { type: 'string' }, email: { type: 'string' }, password: { type: 'string' }, 'mqtt-port': { type: 'string' },
    'key-id': { type: 'string' }, key: { type: 'string' }, 'device-address': { type: 'string', default: '127.77.0.9' }, network: { type: 'string', default: 'default' },
    chromium: { type: 'string', default: '/usr/bin/chromium' }, screenshots: { type: 'string' },
  } });
  const missing = NEEDED.filter((name) => !values[name]);
  if (missing.length > 0) {
    console.error(`console.mjs needs ${missing.map((name) => `--${name}`).join(', ')}`);
    process.exit(2);
  }
  if (values.screenshots) mkdirSync(values.screenshots, { recursive: true });
  return { ...values, url: values.url.replace(/\/$/, '') };
}

/** A browser that knows nothing yet. */
export const launch = (executablePath) => chromium.launch({ executablePath, headless: true, args: FLAGS });

/** Notes what a page complains of. `expect` names failures that a step means to cause. */
export function complaints(page) {
  const noted = [];
  const expected = [];
  page.on('pageerror', (error) => noted.push(`exception: ${error.stack ?? error}`));
  page.on('console', (message) => {
    if (!['error', 'warning'].includes(message.type())) return;
    const text = message.text();
    if (expected.some((pattern) => pattern.test(text))) return;
    noted.push(`${message.type()}: ${text} (${message.location().url})`);
  });
  return { noted, expect: (pattern) => expected.push(pattern) };
}

export async function freePort() {
  const server = createServer();
  await new Promise((listening) => server.listen(0, '127.0.0.1', listening));
  const { port } = server.address();
  await new Promise((closed) => server.close(closed));
  return port;
}

/** Tries until it works out; answers what `attempt` did. */
export async function eventually(what, attempt) {
  const end = Date.now() + PATIENCE_MS;
  for (;;) {
    const found = await attempt();
    if (found) return found;
    if (Date.now() > end) throw new Error(`waited in vain for ${what}`);
    await new Promise((resume) => setTimeout(resume, 100));
  }
}

const listens = (port) => new Promise((answer) => {
  const socket = connect(port, '127.0.0.1', () => {
    socket.destroy();
    answer(true);
  });
  socket.on('error', () => answer(false));
});

/** A broker as upstream: `{port, stop}`. */
export async function broker() {
  const folder = mkdtempSync(join(tmpdir(), 'console-broker-'));
  const port = await freePort();
  const file = join(folder, 'mosquitto.conf');
  writeFileSync(file, `listener ${port} 127.0.0.1\nallow_anonymous true\n`);
  const child = spawn('mosquitto', ['-c', file], { stdio: 'ignore', env: { ...process.env, PATH: `${process.env.PATH}:/usr/sbin` } });
  child.on('error', (error) => { throw new Error(`mosquitto: ${error.message}`); });
  await eventually('mosquitto to listen', () => listens(port));
  return { port, stop: () => {
    child.kill();
    rmSync(folder, { recursive: true, force: true });
  } };
}

/** What arrives at the broker, a line for each message: topic, space, payload. */
export function subscriber(port) {
  const lines = [];
  const child = spawn('mosquitto_sub', ['-h', '127.0.0.1', '-p', String(port), '-t', '#', '-v'], { stdio: ['ignore', 'pipe', 'inherit'] });
  child.stdout.on('data', (text) => lines.push(...String(text).split('\n').filter(Boolean)));
  return { lines, stop: () => child.kill() };
}

/** A device that publishes ten messages a second until it is stopped. */
export function device({ address, port, topic, payload }) {
  const child = spawn('mosquitto_pub', ['-A', address, '-h', '127.0.0.1', '-p', port, '-q', '1', '-t', topic, '-l'],
    { stdio: ['pipe', 'inherit', 'inherit'] });
  child.stdin.on('error', () => {});
  const timer = setInterval(() => child.stdin.write(`${payload}\n`), 100);
  return { stop: () => {
    clearInterval(timer);
    child.kill();
  } };
}

/** Runs steps in order and says how each went; a failure ends the journey with a picture of it. */
export function journey(page, folder) {
  let count = 0;
  const shot = (name, whole = false) => (folder ? page.screenshot({ path: join(folder, `${name}.png`), fullPage: whole }) : null);
  const step = async (name, act) => {
    count += 1;
    const start = Date.now();
    try {
      await act();
    } catch (error) {
      await shot('failed')?.catch(() => {});
      throw new Error(`${name}: ${error.message}`, { cause: error });
    }
    console.log(`ok ${count} ${name} (${Date.now() - start} ms)`);
  };
  return { step, shot };
}

export function check(condition, message) {
  if (!condition) throw new Error(message);
}

export function equal(found, expected, what) {
  const [left, right] = [JSON.stringify(found), JSON.stringify(expected)];
  check(left === right, `${what}: found ${left}, expected ${right}`);
}

/** Takes away what a journey that ended early has left behind. */
export async function tidy({ url, email, password }, paths) {
  const auth = await fetch(`${url}/v1/auth`, { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify({ email, password }) });
  const { apiKey, token } = await auth.json();
  for (const path of paths) await fetch(url + path, { method: 'DELETE', headers: { 'X-Soracom-API-Key': apiKey, 'X-Soracom-Token': token } });
}
