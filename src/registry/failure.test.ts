import assert from 'node:assert/strict';
import { test } from 'node:test';
import { messageOf } from '#src/lib/errors.ts';
import { parseEndpoints } from '#src/registry/endpoints.ts';
import { describeSocketError, type Failure, registryError } from '#src/registry/failure.ts';

const [first, second] = parseEndpoints('http://a:1,http://b:2', { tls: false });
const failure = (endpoint: typeof first, reason: Failure['reason'], why: string): Failure => {
  assert.ok(endpoint);
  return { endpoint, reason, why };
};

test('the line tells what every endpoint said, and the remedy fits the most telling of them', () => {
  const error = registryError('list the leases', [
    failure(first, 'unreachable', 'connection refused'),
    failure(second, 'unauthenticated', 'wrong user or password'),
  ]);
  assert.equal(error.reason, 'unauthenticated');
  assert.equal(
    messageOf(error),
    'cannot list the leases: http://a:1: connection refused; http://b:2: wrong user or password; ' +
      'check --etcd-username and --etcd-password',
  );
});

const SOCKET_CASES: readonly [string, string, Failure['reason'], RegExp][] = [
  ['ECONNREFUSED', 'connect ECONNREFUSED 127.0.0.1:1', 'unreachable', /^connection refused$/],
  ['', 'connect ECONNREFUSED ::1:1', 'unreachable', /^connection refused$/],
  ['', 'EPIPE This socket has been ended by the other party', 'unreachable', /^connection closed$/],
  ['ENOTFOUND', 'getaddrinfo ENOTFOUND etcd', 'unreachable', /^no such host name$/],
  ['CERT_HAS_EXPIRED', 'certificate has expired', 'tls', /^TLS: certificate has expired$/],
  [
    'ERR_SSL_TLSV13_ALERT_CERTIFICATE_REQUIRED',
    '40:error:0A00045C:SSL routines:ssl3_read_bytes:tlsv13 alert certificate required:../deps/x.c:918:SSL alert number 116',
    'tls',
    /wants one \(alert: certificate required\)$/,
  ],
  [
    'EPROTO',
    '40:error:0A00010B:SSL routines:tls_validate_record_header:wrong version number:../deps/x.c:78:',
    'tls',
    /^TLS: the server answers without TLS; its address may be http, not https$/,
  ],
  ['EWHAT', 'two\n lines', 'unreachable', /^two lines$/],
];

for (const [code, text, reason, why] of SOCKET_CASES) {
  test(`a socket's "${text.slice(0, 40)}" is ${reason}`, () => {
    const described = describeSocketError(code, text);
    assert.equal(described.reason, reason);
    assert.match(described.why, why);
  });
}
