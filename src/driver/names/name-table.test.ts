import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { NameTable } from '#src/driver/names/name-table.ts';
import { formatIp, type Ip, parseIp } from '#src/lib/ip.ts';
import type { AddressRecord, AddressState } from '#src/tenant/tenant.ts';

const ipOf = (text: string): Ip => {
  const ip = parseIp(text);
  assert.ok(ip !== undefined);
  return ip;
};

function record(ip: string, names: readonly string[], state: AddressState = 'published'): AddressRecord {
  return { ip: ipOf(ip), state, host: 'h1', vtep: ipOf('192.0.2.1'), names, keep: false, since: 0 };
}

const find = (table: NameTable, name: string, family: 4 | 6 = 4): string[] | undefined =>
  table.addresses(name, family)?.map(formatIp);

test('a container has its name and its aliases, in any case', () => {
  const table = new NameTable();
  table.set(record('10.5.0.11', ['Blue_Web.1', 'web', 'WEB']));
  assert.deepEqual(find(table, 'blue_web.1'), ['10.5.0.11']);
  assert.deepEqual(find(table, 'web'), ['10.5.0.11']);
  assert.equal(find(table, 'db'), undefined);
  assert.equal(table.nameOf(ipOf('10.5.0.11')), 'Blue_Web.1');
});

test('only a published address has names', () => {
  const table = new NameTable();
  for (const state of ['reserved', 'released', 'kept'] as const) {
    table.set(record('10.5.0.11', ['web'], state));
    assert.equal(find(table, 'web'), undefined);
  }
  table.set(record('10.5.0.11', ['web']));
  assert.deepEqual(find(table, 'web'), ['10.5.0.11']);
  table.set(record('10.5.0.11', ['web'], 'released'));
  assert.equal(find(table, 'web'), undefined);
  assert.equal(table.nameOf(ipOf('10.5.0.11')), undefined);
});

test('a name whose holder lacks the family is there, without addresses', () => {
  const table = new NameTable();
  table.set(record('10.5.0.11', ['web']));
  assert.deepEqual(find(table, 'web', 6), []);
  table.set(record('fd00::b', ['web']));
  assert.deepEqual(find(table, 'web', 6), ['fd00::b']);
});

test('each question begins with another holder, also where both families are asked for in turn', () => {
  const table = new NameTable();
  for (const host of ['11', '12']) {
    table.set(record(`10.5.0.${host}`, ['web']));
    table.set(record(`fd00::${host}`, ['web']));
  }
  const firsts = (family: 4 | 6) => () => find(table, 'web', family)?.[0];
  const both = Array.from({ length: 4 }, () => [firsts(4)(), firsts(6)()]);
  assert.deepEqual(new Set(both.map(([v4]) => v4)).size, 2);
  assert.deepEqual(new Set(both.map(([, v6]) => v6)).size, 2);
});

test('kept record by record, it is what a table made from the last records is', () => {
  const change = fc.record({
    ip: fc.integer({ min: 1, max: 5 }).map((host) => `10.5.0.${host}`),
    names: fc.option(fc.array(fc.constantFrom('a', 'B', 'b', 'c'), { maxLength: 3 })),
    state: fc.constantFrom<AddressState>('published', 'published', 'released'),
  });
  fc.assert(
    fc.property(fc.array(change, { maxLength: 30 }), (changes) => {
      const table = new NameTable();
      const last = new Map<string, AddressRecord>();
      for (const { ip, names, state } of changes) {
        if (names === null) {
          table.remove(ipOf(ip));
          last.delete(ip);
        } else {
          table.set(record(ip, names, state));
          last.set(ip, record(ip, names, state));
        }
      }
      const published = [...last.values()].filter(({ state }) => state === 'published');
      for (const name of ['a', 'b', 'c']) {
        const holders = published.filter(({ names }) => names.some((held) => held.toLowerCase() === name));
        assert.deepEqual(find(table, name)?.sort() ?? [], holders.map(({ ip }) => formatIp(ip)).sort());
      }
      for (const { ip, names } of last.values()) {
        const wanted = published.some((other) => other.ip === ip) ? names[0] : undefined;
        assert.equal(table.nameOf(ip), wanted);
      }
    }),
  );
});
