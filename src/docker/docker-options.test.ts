import assert from 'node:assert/strict';
import { test } from 'node:test';
import { formatDockerOptions, oversizedMtus } from '#src/docker/docker-options.ts';

const SUBNET_ENV = { FLANNEL_SUBNET: '10.5.26.1/24', FLANNEL_MTU: '1450', FLANNEL_IPMASQ: 'true' };
const BOTH = { individual: true, combined: 'DOCKER_OPTS', ipMasq: true };

test('individual and combined options, as flannel’s script prints them', () => {
  assert.equal(
    formatDockerOptions(SUBNET_ENV, BOTH),
    'DOCKER_OPT_BIP="--bip=10.5.26.1/24"\n' +
      'DOCKER_OPT_IPMASQ="--ip-masq=false"\n' +
      'DOCKER_OPT_MTU="--mtu=1450"\n' +
      'DOCKER_OPTS=" --bip=10.5.26.1/24 --ip-masq=false --mtu=1450"\n',
  );
});

test('dockerd masquerades when flanneld does not, and gets no option for it with -m', () => {
  const combined = { ...BOTH, individual: false };
  assert.match(formatDockerOptions({ ...SUBNET_ENV, FLANNEL_IPMASQ: 'false' }, combined), / --ip-masq=true /);
  assert.equal(
    formatDockerOptions(SUBNET_ENV, { ...combined, ipMasq: false }),
    'DOCKER_OPTS=" --bip=10.5.26.1/24 --mtu=1450"\n',
  );
  assert.throws(() => formatDockerOptions({ ...SUBNET_ENV, FLANNEL_IPMASQ: 'yes' }, BOTH), {
    code: 'docker-options',
    message: 'Invalid value of FLANNEL_IPMASQ: yes',
  });
  assert.doesNotThrow(() =>
    formatDockerOptions({ ...SUBNET_ENV, FLANNEL_IPMASQ: 'yes' }, { ...BOTH, ipMasq: false }),
  );
});

test('variables of the environment are kept', () => {
  const environment = {
    ...SUBNET_ENV,
    DOCKER_OPTS: '--log-level=debug',
    DOCKER_OPT_DNS: '--dns=10.0.0.2',
    MY_DOCKER_OPT_X: '--not-ours',
  };
  assert.equal(
    formatDockerOptions(environment, { ...BOTH, individual: false }),
    'DOCKER_OPTS="--log-level=debug  --bip=10.5.26.1/24 --dns=10.0.0.2 --ip-masq=false --mtu=1450"\n',
  );
});

test('without a subnet.env the combined variable is empty', () => {
  assert.equal(formatDockerOptions({}, BOTH), 'DOCKER_OPTS=""\n');
});

test('quotes and dollars in a value of the environment do not break the file', () => {
  assert.equal(
    formatDockerOptions({ DOCKER_OPTS: '--label="$HOME `id` \\ x"' }, { ...BOTH, individual: false }),
    'DOCKER_OPTS="--label=\\"\\$HOME \\`id\\` \\\\ x\\" "\n',
  );
});

test('a hand-written MTU above the overlay’s is noticed, in any spelling', () => {
  const found = (environment: Record<string, string>) => oversizedMtus(environment, 'DOCKER_OPTS', '1450');
  assert.deepEqual(found({ DOCKER_OPTS: '--mtu=1500 --dns=10.0.0.2' }), [1500]);
  assert.deepEqual(found({ DOCKER_OPTS: '-H fd:// -mtu 9000', DOCKER_OPT_Z: '--mtu="1451"' }), [9000, 1451]);
  assert.deepEqual(found({ DOCKER_OPTS: '--mtu=1450', OTHER: '--mtu=1500' }), []);
  assert.deepEqual(oversizedMtus({ DOCKER_OPTS: '--mtu=1500' }, 'DOCKER_OPTS', undefined), []);
});

test('further options come in their place by the alphabet, whatever family the subnet is of', () => {
  const further = {
    DOCKER_OPT_IPV6: '--ipv6',
    DOCKER_OPT_FIXED_CIDR_V6: '--fixed-cidr-v6=fd00:10:5:7::/64',
  };
  const combined = { individual: false, combined: 'O', ipMasq: true, further };
  assert.equal(
    formatDockerOptions(SUBNET_ENV, combined),
    'O=" --bip=10.5.26.1/24 --fixed-cidr-v6=fd00:10:5:7::/64 --ip-masq=false --ipv6 --mtu=1450"\n',
  );
  const { FLANNEL_SUBNET: _, ...onlyV6 } = SUBNET_ENV;
  assert.equal(
    formatDockerOptions(onlyV6, combined),
    'O=" --fixed-cidr-v6=fd00:10:5:7::/64 --ip-masq=false --ipv6 --mtu=1450"\n',
  );
});
