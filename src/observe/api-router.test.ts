import assert from 'node:assert/strict';
import { test } from 'node:test';
import { answerWith, type Handlers } from '#src/observe/api-router.ts';
import { valueReply } from '#src/observe/reply.ts';

const HANDLERS: Handlers = {
  '/v1/one': ({ query, accept }) => valueReply({ after: query.get('after'), accept }),
  '/v1/broken': () => {
    throw new Error('the disk is full');
  },
  '/v1/late': async () => valueReply('late'),
};
const ask = (method: string, url: string) => answerWith(HANDLERS, { method, url, accept: 'text/x' });
const refused = (status: number, error: string) => ({ kind: 'value', status, value: { error } });

test('a question goes to the handler of its path', async () => {
  const one = { kind: 'value', value: { after: '7', accept: 'text/x' } };
  assert.deepEqual(await ask('GET', '/v1/one?after=7'), one);
  assert.deepEqual(await ask('GET', '/v1/one?after=7&after=8'), one);
  assert.deepEqual(await ask('GET', '/v1/late'), { kind: 'value', value: 'late' });
});

test('what is not there, not to be done, or fails is a refusal in one line', async () => {
  const paths = 'there are /v1/one, /v1/broken, /v1/late';
  const missing = (path: string) =>
    refused(404, `could not answer "${path}": there is no such path; ${paths}`);
  assert.deepEqual(await ask('GET', '/v1/two'), missing('/v1/two'));
  assert.deepEqual(await ask('GET', '/v1/one/'), missing('/v1/one/'));
  assert.deepEqual(await ask('GET', '/toString'), missing('/toString'));
  assert.deepEqual(await ask('GET', 'toString'), missing('toString'));
  assert.deepEqual(
    await ask('POST', '/v1/one'),
    refused(405, 'could not answer "POST" /v1/one: it is only read; use GET'),
  );
  assert.deepEqual(
    await ask('HEAD', '/v1/one'),
    refused(405, 'could not answer "HEAD" /v1/one: it is only read; use GET'),
  );
  assert.deepEqual(
    await ask('GET', '/v1/broken'),
    refused(500, 'could not answer /v1/broken: the disk is full'),
  );
});
