import assert from 'node:assert/strict';
import { test } from 'node:test';
import { DEFAULT_DOCKER_FWMARK, formatDockerFwmark, parseDockerFwmark } from '#src/docker/docker-fwmark.ts';

const GOOD: Readonly<Record<string, number>> = {
  [DEFAULT_DOCKER_FWMARK]: 0x2000,
  '0x2000/0x2000': 0x2000,
  '0X2000': 0x2000,
  '8192': 0x2000,
  '1': 1,
  '0x80000000': 0x8000_0000,
  '': 0,
  '0': 0,
  '0x0': 0,
  '0/0xff': 0,
};

const BAD: Readonly<Record<string, RegExp>> = {
  '0x3000': /one single bit/,
  '0x2000/0xffff': /one single bit/,
  '0x100000000': /a number/,
  '4294967296': /one single bit/,
  '0x4000': /kube-proxy/,
  '0x8000/0x8000': /kube-proxy/,
  '32768': /kube-proxy/,
  '0x2000/0x2000/0x2000': /a number/,
  '0x2000/': /a number/,
  '-1': /a number/,
  '1.5': /a number/,
  ' 0x2000': /a number/,
  on: /a number/,
};

for (const [text, mark] of Object.entries(GOOD)) {
  test(`"${text}" is the mark ${mark}`, () => assert.deepEqual(parseDockerFwmark(text), { mark }));
}

for (const [text, problem] of Object.entries(BAD)) {
  test(`"${text}" is no mark`, () => {
    const read = parseDockerFwmark(text);
    assert.ok('problem' in read);
    assert.match(read.problem, problem);
  });
}

test('a written mark reads back the same', () => {
  for (const mark of [1, 0x2000, 0x8000_0000]) {
    assert.deepEqual(parseDockerFwmark(formatDockerFwmark(mark)), { mark });
  }
});
