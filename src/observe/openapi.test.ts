import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { API_PATHS, openApiDocument, openApiText, withPathTable } from '#src/observe/openapi.ts';
import { SCHEMAS } from '#src/observe/openapi-schemas.ts';
import { answerChecks } from '../../test/support/answer-checks.ts';

const page = (name: string): string =>
  readFileSync(new URL(`../../docs/reference/${name}`, import.meta.url), 'utf8');

test('docs/reference/openapi.json and local-api.md are what the table says', () => {
  assert.equal(page('openapi.json'), openApiText(), 'run script/generate-docs');
  assert.equal(page('local-api.md'), withPathTable(page('local-api.md')), 'run script/generate-docs');
  for (const path of Object.keys(API_PATHS))
    assert.ok(page('local-api.md').includes(`| \`${path}\` |`), path);
});

test('each schema is used, and each that is referred to is there', () => {
  const text = openApiText();
  const used = new Set(text.match(/(?<=#\/components\/schemas\/)\w+/g));
  assert.deepEqual([...used].sort(), Object.keys(SCHEMAS).sort());
  assert.equal(openApiDocument().openapi, '3.1.0');
});

test('a check finds a field that is missing, one too many, and one of another type', () => {
  const check = answerChecks();
  assert.deepEqual(check('Refusal', { error: 'no' }), []);
  assert.deepEqual(check('Refusal', {}), ["Refusal must have required property 'error'"]);
  assert.deepEqual(check('Refusal', { error: 'no', more: 1 }), [
    'Refusal must NOT have additional properties',
  ]);
  assert.deepEqual(check('Refusal', { error: 1 }), ['Refusal/error must be string']);
  assert.deepEqual(check('Events', { events: [{}], forgotten: 0 }).length, 8);
});
