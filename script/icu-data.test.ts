import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { dynamicSymbol } from './elf-file.ts';
import { icuSymbol, readIcuData, trimIcuData } from './icu-data.ts';

const node = readFileSync(process.execPath);
const { offset, bytes } = dynamicSymbol(node, icuSymbol());
const data = node.subarray(offset, offset + bytes);

test('all of it, written again, is the same', () => {
  assert.ok(trimIcuData(data, () => true).equals(data));
});

test('English, time zones and collation stay, with their bytes', () => {
  const before = new Map(readIcuData(data).items.map(({ name, bytes }) => [name, bytes]));
  const { items, folder } = readIcuData(trimIcuData(data));
  assert.match(folder, /^icudt\d+l$/);
  const names = items.map(({ name }) => name);
  const needed =
    'root.res pool.res res_index.res en.res en_GB.res zoneinfo64.res metaZones.res supplementalData.res uts46.nrm coll/root.res coll/ucadata.icu brkitr/word.brk zone/en.res';
  for (const name of needed.split(' ')) assert.ok(names.includes(name), name);
  for (const { name, bytes } of items) {
    // The last item of the package ends where the symbol ends.
    assert.ok(before.get(name)?.subarray(0, bytes.length).equals(bytes), name);
  }
  assert.deepEqual(names, [...names].sort(), 'ICU looks for a name by halves');
});

test('other languages, character sets and transliteration go', () => {
  const names = readIcuData(trimIcuData(data)).items.map(({ name }) => name);
  assert.deepEqual(
    names.filter((name) => /^(\w+\/)?(de|fr|zh|zh_Hant|kok_Latn)\.res$|\.cnv$|^translit\//.test(name)),
    [],
  );
  assert.ok(trimIcuData(data).length < 4e6);
});
