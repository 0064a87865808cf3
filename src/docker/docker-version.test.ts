import assert from 'node:assert/strict';
import { test } from 'node:test';
import { negotiate } from '#src/docker/docker-version.ts';
import { messageOf } from '#src/lib/errors.ts';

test('the lower of the engine’s latest version and ours', () => {
  const chosen = (ApiVersion: string, MinAPIVersion?: string) => negotiate({ ApiVersion, MinAPIVersion });
  assert.equal(chosen('1.41', '1.12'), '1.41');
  assert.equal(chosen('1.40'), '1.40');
  assert.equal(chosen('1.47', '1.24'), '1.47');
  assert.equal(chosen('1.56', '1.40'), '1.47');
  assert.equal(chosen('2.0', '1.40'), '1.47');
});

test('no version that both speak is an error', () => {
  const error = (answer: unknown): string => {
    try {
      return negotiate(answer);
    } catch (thrown) {
      return messageOf(thrown);
    }
  };
  assert.equal(
    error({ Version: '18.09', ApiVersion: '1.39', MinAPIVersion: '1.12' }),
    'Docker 18.09 speaks its API in the versions 1.12 to 1.39, and weft in 1.40 to 1.47; use Docker 19.03 or later',
  );
  assert.match(error({ Version: '40', ApiVersion: '1.70', MinAPIVersion: '1.48' }), /; use a later weft$/);
  for (const answer of [null, [], {}, { ApiVersion: 1.4 }, { ApiVersion: 'x' }])
    assert.match(error(answer), /^could not learn Docker's version/);
});
