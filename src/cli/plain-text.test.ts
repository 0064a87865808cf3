import assert from 'node:assert/strict';
import { test } from 'node:test';
import { plainText } from '#src/cli/plain-text.ts';

test('what would move the cursor, change colours or turn the writing is shown as a mark', () => {
  assert.equal(plainText('\x1b[31mred\x1b[0m\r\n\t\x9b2J'), '�[31mred�[0m����2J');
  assert.equal(plainText('a\u202eb\u2066c\u200bd\ufeff'), 'a�b�c�d�');
});

test('other text stays as it is', () => {
  assert.equal(plainText('its subnet 10.0.65.0/24 … Grüße, 容器'), 'its subnet 10.0.65.0/24 … Grüße, 容器');
});
