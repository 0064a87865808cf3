import assert from 'node:assert/strict';
import { test } from 'node:test';
import { DOCKER_HOST, parseDockerHost } from '#src/docker/docker-host.ts';

test('a unix socket by its path', () => {
  assert.equal(parseDockerHost(DOCKER_HOST), '/var/run/docker.sock');
  assert.equal(parseDockerHost('unix:///run/a b.sock'), '/run/a b.sock');
});

test('all others are refused in one line', () => {
  for (const text of [
    '',
    '/run/docker.sock',
    'unix://',
    'unix:///',
    'unix://run/x',
    'tcp://1.2.3.4:2375',
    'fd://',
  ])
    assert.throws(() => parseDockerHost(text), {
      code: 'docker-host',
      message: `--docker-host=${text} is no unix socket of this host`,
    });
});
