import assert from 'node:assert/strict';
import { test } from 'node:test';
import { messageOf } from '#src/lib/errors.ts';
import { EndpointRing, parseEndpoints } from '#src/registry/endpoints.ts';

const urls = (text: string, tls = false) => parseEndpoints(text, { tls }).map(({ url }) => url);
const complaint = (text: string): string => {
  try {
    parseEndpoints(text, { tls: false });
  } catch (error) {
    return messageOf(error);
  }
  return '';
};

test('flannel’s default list is read, in order', () => {
  assert.deepEqual(urls('http://127.0.0.1:4001,http://127.0.0.1:2379'), [
    'http://127.0.0.1:4001',
    'http://127.0.0.1:2379',
  ]);
});

test('blanks, a trailing comma, a trailing slash and a repetition do no harm', () => {
  assert.deepEqual(urls(' http://a:1 , https://b:2/,http://a:1/, '), ['http://a:1', 'https://b:2']);
});

test('a port that is left out is the scheme’s', () => {
  assert.deepEqual(urls('http://a,https://b'), ['http://a:80', 'https://b:443']);
});

test('a host and port without a scheme follow the TLS files', () => {
  assert.deepEqual(urls('10.0.0.1:2379'), ['http://10.0.0.1:2379']);
  assert.deepEqual(urls('etcd-1:2379', true), ['https://etcd-1:2379']);
});

test('an IPv6 host loses its brackets in the host, not in the URL', () => {
  const [endpoint] = parseEndpoints('https://[fd00::1]:2379', { tls: true });
  assert.deepEqual(endpoint, { url: 'https://[fd00::1]:2379', secure: true, host: 'fd00::1', port: 2379 });
});

test('what is no endpoint is reported in one line, without the password', () => {
  assert.equal(complaint(' , '), '--etcd-endpoints is empty; write for example http://10.0.0.1:2379');
  assert.match(complaint('http://a:1,http://b:99999'), /"http:\/\/b:99999" is not a URL/);
  assert.match(complaint('unix:///run/etcd.sock'), /is neither http nor https/);
  assert.match(complaint('http://a:2379/v2/keys'), /has more than a host and a port/);
  const credentials = complaint('http://root:s3cret@a:2379');
  assert.match(credentials, /carries credentials; give them with the flags for user and password$/);
  assert.doesNotMatch(credentials, /s3cret/);
});

test('a complaint names the flag that the endpoints came from', () => {
  assert.throws(() => parseEndpoints('', { tls: false, flag: '--to' }), /^WeftError: --to is empty/);
});

test('the ring starts anywhere, stays with what works, and moves on once for one failure', () => {
  const endpoints = parseEndpoints('http://a:1,http://b:2,http://c:3', { tls: false });
  const ring = new EndpointRing(endpoints, () => 0.99);
  const failed = ring.current;
  assert.equal(failed.url, 'http://c:3');
  ring.failed(failed);
  ring.failed(failed);
  assert.equal(ring.current.url, 'http://a:1');
});
