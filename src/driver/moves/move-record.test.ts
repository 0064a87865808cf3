import assert from 'node:assert/strict';
import { test } from 'node:test';
import { formatMove, type MoveRecord, parseMove } from '#src/driver/moves/move-record.ts';

const MOVE: MoveRecord = {
  id: 'm1',
  from: 'host1',
  to: 'host2',
  state: 'failed',
  reason: 'no room',
  container: {
    name: 'web',
    image: 'shop:1',
    imageId: 'sha256:ab',
    layers: ['sha256:01'],
    anyImage: false,
    config: { Env: ['A=b'] },
    hostConfig: { Memory: 64 },
    networks: [
      { tenant: 'blue', ipv4: '10.5.0.7', ipv6: '', aliases: ['shop'] },
      { tenant: undefined, ipv4: '', ipv6: '', aliases: [] },
    ],
    ports: [{ ip: '', port: 8080, protocol: 'tcp' }],
    checkpoint: '/shared/weft-m1',
  },
};

test('what was written is read', () => {
  assert.deepEqual(parseMove('m1', formatMove(MOVE)), { ok: true, value: MOVE });
});

test('what can’t be used is refused with the reason', () => {
  const broken = (change: (value: Record<string, unknown>) => void): string => {
    const value = JSON.parse(formatMove(MOVE));
    change(value);
    const read = parseMove('m1', JSON.stringify(value));
    assert.ok(!read.ok);
    return read.reason;
  };
  const container = (fields: object) => broken((value) => Object.assign(value.container as object, fields));
  assert.match(
    broken((value) => (value.state = 'lost')),
    /its state must be one of asked, /,
  );
  assert.match(
    broken((value) => (value.to = '../x')),
    /its to must be the identity of a host/,
  );
  assert.match(
    broken((value) => delete value.container),
    /it has no container/,
  );
  assert.match(container({ name: '-f' }), /its container\.name must be the name of a container/);
  assert.match(container({ config: [] }), /its container\.config must be an object/);
  assert.match(container({ ports: [{ ip: '', port: 0, protocol: 'tcp' }] }), /its port must be a port/);
  assert.match(container({ networks: ['blue'] }), /its container\.networks must be a list of networks/);
  assert.ok(!parseMove('m1', 'junk').ok);
  assert.ok(!parseMove('m1', ' '.repeat(600_000)).ok);
});
