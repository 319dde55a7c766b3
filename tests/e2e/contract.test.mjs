// The method table, as rpc.discover gives it, against docs/protocol.md: what the page names exists, with these parameters.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import test from 'node:test';
import { startDaemon } from './lib/daemon.mjs';

const page = readFileSync(new URL('../../docs/protocol.md', import.meta.url), 'utf8');

/** The first {...} behind `name` in the page, as the names of its members. */
function documentedParams(section, name) {
  const at = section.search(new RegExp('`' + name.replace('.', '\\.') + '`[^{]*`\\{'));
  assert.notEqual(at, -1, `docs/protocol.md does not describe ${name}`);
  const from = section.indexOf('{', at);
  let depth = 0;
  let to = from;
  do {
    depth += section[to] === '{' ? 1 : section[to] === '}' ? -1 : 0;
    to++;
  } while (depth > 0);
  const names = [];
  depth = 0;
  const text = section.slice(from, to);
  for (const m of text.matchAll(/[{[]|[}\]]|"(\w+)"(\??)(?=[,:}\s])/g)) {
    if (m[1] !== undefined) {
      if (depth === 1) names.push([m[1], m[2] !== '?']);
    } else {
      depth += '{['.includes(m[0]) ? 1 : -1;
    }
  }
  return names;
}

const sections = page.split(/^## /m);
const session = sections.find((s) => s.startsWith('2.'));
const app = sections.find((s) => s.startsWith('3.'));
const admin = sections.find((s) => s.startsWith('4.'));
// values that stand where a member's name could: {"protocol":[1], "client":"name/version"}
const values = new Set(['name/version']);

test('every method that rpc.discover gives is on the page, with its parameters', async (t) => {
  const d = await startDaemon();
  t.after(() => d.stop());
  const a = await d.admin();
  const { token } = await a.call('createApp', { appId: 'contract' });
  const c = await d.app('contract', token);
  let seen = 0;
  for (const [client, sectionsOf] of [[c, [session, app, admin]], [a, [session, admin]]]) {
    const doc = await client.call('rpc.discover');
    assert.match(doc.openrpc, /^1\./);
    for (const m of doc.methods) {
      const where = sectionsOf.find((s) => s.includes('`' + m.name + '`'));
      assert.ok(where, `docs/protocol.md does not name ${m.name}`);
      const want = documentedParams(where, m.name).filter(([n]) => !values.has(n)).map(([n]) => n).sort();
      const got = m.params.map((p) => p.name).sort();
      assert.deepEqual(got, want, m.name);
      seen++;
    }
  }
  assert.ok(seen > 25);
  const names = new Set((await a.call('rpc.discover')).methods.map((m) => m.name));
  for (const m of admin.matchAll(/^\| `([\w.]+)` \|/gm)) assert.ok(names.has(m[1]), `${m[1]} is on the page and not in the table`);
});
