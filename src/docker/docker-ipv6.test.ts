import assert from 'node:assert/strict';
import { test } from 'node:test';
import { readDockerdConfig } from '#src/docker/docker-doors.ts';
import { ipv6Faults, ipv6Options } from '#src/docker/docker-ipv6.ts';

const SUBNET = 'fd00:10:5:7::1/64';
const options = (words: string, json?: string, subnet: string | undefined = SUBNET) =>
  Object.values(ipv6Options(subnet, readDockerdConfig(words, json)));
const faults = (words: string, json?: string) => ipv6Faults(SUBNET, readDockerdConfig(words, json));

test('dockerd gets the subnet with its host bits cleared', () => {
  assert.deepEqual(ipv6Options(SUBNET, readDockerdConfig('', undefined)), {
    DOCKER_OPT_IPV6: '--ipv6',
    DOCKER_OPT_FIXED_CIDR_V6: '--fixed-cidr-v6=fd00:10:5:7::/64',
  });
  assert.deepEqual(ipv6Options(undefined, readDockerdConfig('', undefined)), {});
  assert.deepEqual(ipv6Options('10.5.7.1/24', readDockerdConfig('', undefined)), {});
});

test('what dockerd has already is left out, in any spelling', () => {
  const cidr = '--fixed-cidr-v6=fd00:10:5:7::/64';
  for (const words of ['--ipv6', '-H fd:// -ipv6 --mtu=1450', '--ipv6=true', '--ipv6="1"'])
    assert.deepEqual(options(words), [cidr], words);
  assert.deepEqual(options('--ipv6tables=false --no-ipv6'), ['--ipv6', cidr]);
  assert.deepEqual(options('--fixed-cidr-v6 fd00:10:5:7:8::/80'), ['--ipv6']);
  assert.deepEqual(options('', '{"ipv6": true, "fixed-cidr-v6": "fd00:10:5:7::/64"}'), []);
});

test('what keeps containers out of the overlay is a fault', () => {
  assert.deepEqual(faults('--ipv6 --fixed-cidr-v6=fd00:10:5:7:8::/80'), []);
  assert.match(faults('', '{"ipv6": false}').join(), /^dockerd has ipv6=false already, .*remove it$/);
  assert.match(faults('--ipv6=false').join(), /ipv6=false/);
  assert.match(
    faults('', '{"fixed-cidr-v6": "2001:db8::/64"}').join(),
    /fixed-cidr-v6=2001:db8::\/64 already, .* fd00:10:5:7::\/64/,
  );
  assert.match(faults('--fixed-cidr-v6=junk').join(), /fixed-cidr-v6=junk/);
});
