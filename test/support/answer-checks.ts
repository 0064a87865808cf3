import { Ajv2020 } from 'ajv/dist/2020.js';
import { SCHEMAS } from '#src/observe/openapi-schemas.ts';

/** How a value differs from a schema of the OpenAPI document, one line each; nothing when it is as described. */
export type CheckAnswer = (schema: string, value: unknown) => string[];

const ISO = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/;

export function answerChecks(): CheckAnswer {
  const ajv = new Ajv2020({ allErrors: true, formats: { 'date-time': ISO } });
  ajv.addKeyword('components');
  ajv.addSchema({ $id: 'api', components: { schemas: SCHEMAS } });
  return (schema, value) => {
    const isRight = ajv.validate({ $ref: `api#/components/schemas/${schema}` }, value);
    if (isRight) return [];
    return (ajv.errors ?? []).map(({ instancePath, message }) => `${schema}${instancePath} ${message}`);
  };
}
